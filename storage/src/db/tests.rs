//! What only the inside of the database shows: query plans, settings, and readers beside a writer.

use std::collections::HashSet;
use std::sync::mpsc;

use bytes::Bytes;
use oci::{Algorithm, Digest, Manifest, MediaType, Reference, RepoName, StatedSize, Tag};
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::key::{RepoId, RowKey};
use super::*;
use crate::error::Trouble;

mod prepared;
mod work;

fn fatal(error: &StorageError) -> ! {
    panic!("the database ended the process: {error}")
}

const READING: Reading = Reading { connections: 16, most_wait: Duration::from_secs(1) };

fn open() -> (tempfile::TempDir, Database) {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::new(directory.path());
    let space = Arc::new(Space::new(&layout, 0));
    let database = Database::open(&layout, &space, true, READING, fatal, |_| {}).unwrap();
    (directory, database)
}

/// The plans of all statements that `work` runs, one line a step.
fn plans(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<(), StorageError>,
) -> Vec<String> {
    let (sender, traced) = mpsc::channel();
    let remember = move |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(statement, _) = event {
            sender.send(statement.sql().into_owned()).unwrap();
        }
    };
    connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(remember)).unwrap();
    work(&Transaction::new(connection, crate::clock::wall_seconds())).unwrap();
    connection.trace_v2(TraceEventCodes::empty(), None::<fn(TraceEvent<'_>)>).unwrap();
    let statements: Vec<String> = traced.try_iter().collect();
    assert!(!statements.is_empty(), "nothing was traced");
    let mut steps = Vec::new();
    for statement in statements {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
        // Without values, as the statement was prepared.
        let mut rows = explain.raw_query();
        while let Some(row) = rows.next().unwrap() {
            steps.push(row.get("detail").unwrap());
        }
    }
    steps
}

/// Fails if a plan walks a whole table or index, or sorts.
fn assert_indexed(what: &str, plans: &[String]) {
    for step in plans {
        let is_bad = ["SCAN", "TEMP B-TREE", "AUTOMATIC"].iter().any(|word| step.contains(word));
        let is_no_table = step == "SCAN CONSTANT ROW";
        assert!(!is_bad || is_no_table, "{what}: {plans:#?}");
    }
}

fn index(subject: &Digest, artifact_type: &str) -> Manifest {
    let text = format!(
        r#"{{"schemaVersion":2,"manifests":[],"artifactType":"{artifact_type}",
        "subject":{{"mediaType":"a/b","digest":"{subject}","size":1}}}}"#
    );
    let media_type = MediaType::OCI_INDEX.parse().unwrap();
    Manifest::parse(Bytes::from(text), Some(media_type), Algorithm::Sha256).unwrap()
}

fn digest(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

/// A database with some of everything, and a reading connection to it.
fn filled() -> (tempfile::TempDir, Database, Connection) {
    let (directory, database) = open();
    let subject = digest("subject");
    let fill = move |connection: &Transaction<'_>| {
        for n in 0..50 {
            let name: RepoName = format!("r{n}").parse().unwrap();
            let content = digest(&n.to_string());
            connection.add_blob(&name, &content, 1)?;
            connection.add_blob(&"r0".parse().unwrap(), &content, 1)?;
            let manifest = index(&subject, &format!("a/{n}"));
            let tags = [format!("t{n}").parse().unwrap()];
            connection.put_manifest(&name, &manifest, &[], &tags, None)?;
            connection.put_manifest(&"r0".parse().unwrap(), &manifest, &[], &tags, None)?;
        }
        Ok(())
    };
    database.write(fill).unwrap();
    let connection = open_to_write(&Layout::new(directory.path()).database()).unwrap();
    give_clock(&connection, database.clock()).unwrap();
    (directory, database, connection)
}

#[test]
fn reads_walk_no_table_and_sort_nothing() {
    let (_directory, _database, mut connection) = filled();
    let name: RepoName = "r0".parse().unwrap();
    let (subject, blob, few) = (digest("subject"), digest("7"), 9.into());
    let by_tag = Reference::Tag("t7".parse().unwrap());
    let by_digest = Reference::Digest(*index(&subject, "a/7").digest());
    type Work<'a> = &'a dyn Fn(&Transaction<'_>) -> Result<(), StorageError>;
    let reads: [(&str, Work<'_>); 27] = [
        ("catalog", &|c| c.repositories(None, 10.into()).map(drop)),
        ("catalog, next page", &|c| c.repositories(Some("r3"), 10.into()).map(drop)),
        ("tags", &|c| c.tags(&name, None, 10.into()).map(drop)),
        ("tags, next page", &|c| c.tags(&name, Some("t3"), 10.into()).map(drop)),
        ("referrers", &|c| c.referrers(&name, &subject, None, Some(&blob), few).map(drop)),
        ("referrers of a type", &|c| {
            c.referrers(&name, &subject, Some("a/7"), Some(&blob), few).map(drop)
        }),
        ("manifest by tag", &|c| c.long_manifest(&name, &by_tag, 0, |_| true).map(drop)),
        ("manifest by digest", &|c| c.manifest(&name, &by_digest).map(drop)),
        ("blob", &|c| c.held_blobs(&name, &[blob]).map(drop)),
        ("sizes", &|c| c.held_sizes(&name, &[blob]).map(drop)),
        ("type", &|c| c.kept_media_type(&name, &blob).map(drop)),
        ("push again", &|c| {
            let tags = ["t7".parse().unwrap()];
            let change = c.change_by_push(&name, &index(&subject, "a/7"), &tags)?;
            assert_eq!(change, repeated_push::Change::Nothing);
            Ok(())
        }),
        ("stored blob", &|c| c.sound_size(&blob).map(drop)),
        ("blob's row", &|c| c.stored_blob(&blob).map(drop)),
        ("whether anything is lost", &|c| c.is_anything_lost().map(drop)),
        ("what is lost", &|c| c.lost_digests(9).map(drop)),
        ("task", &|c| c.last_upkeep("verify").map(drop)),
        ("verify: blobs", &|c| c.blobs_to_verify("sha256:7").map(drop)),
        ("verify: manifests", &|c| c.manifests_to_verify("sha256:7").map(drop)),
        ("verify: manifest", &|c| c.manifest_bytes(&blob).map(drop)),
        ("verify: holders", &|c| c.holders_of(&blob, row(7)).map(drop)),
        ("verify: holder", &|c| c.first_holder_of(&blob).map(drop)),
        ("verify: sizes", &|c| c.sizes_of(&[StatedSize { child: digest("7"), size: 1 }]).map(drop)),
        ("verify: edges", &|c| c.edges_of(row(1), &blob, &place_of_edge()).map(drop)),
        ("verify: naming", &|c| c.dangling(verify::NamingTable::Manifests, &place()).map(drop)),
        ("verify: tags", &|c| c.dangling(verify::NamingTable::Tags, &place()).map(drop)),
        ("verify: links", &|c| c.dangling(verify::NamingTable::Links, &place()).map(drop)),
    ];
    for (what, work) in reads {
        assert_indexed(what, &plans(&mut connection, work));
    }
}

fn row(number: i64) -> RepoId {
    RepoId::kept(number)
}

fn place() -> RowKey {
    (row(1), "a".to_owned())
}

fn place_of_edge() -> (String, String) {
    ("child".to_owned(), String::new())
}

#[test]
fn what_needs_a_lost_blob_is_found_along_the_edges() {
    let (_directory, _database, mut connection) = filled();
    let manifest = *index(&digest("subject"), "a/7").digest();
    let these = HashSet::from([digest("7").to_string()]);
    // The rows of the walk itself are scanned, and no table is.
    let of_the_walk = ["SCAN within", "SCAN w", "SCAN CONSTANT ROW"];
    for steps in [
        plans(&mut connection, |c| c.lost_part_of(row(1), &manifest).map(drop)),
        plans(&mut connection, |c| c.needs_any(row(1), &manifest, &these).map(drop)),
        plans(&mut connection, |c| c.hurt_manifests(&these, &place()).map(drop)),
    ] {
        let steps: Vec<String> =
            steps.into_iter().filter(|step| !of_the_walk.contains(&step.as_str())).collect();
        assert!(
            steps.iter().any(|step| step.contains("repository_id=? AND parent=?")),
            "{steps:#?}"
        );
        assert_indexed("what is needed", &steps);
    }
}

#[test]
fn referrers_are_not_looked_for_among_all_manifests_or_all_types() {
    let (_directory, _database, mut connection) = filled();
    let (name, subject) = ("r0".parse().unwrap(), digest("subject"));
    for (artifact_type, expected) in [
        (None, "INDEX referrers (repository_id=? AND subject=? AND digest>?)"),
        (
            Some("a/7"),
            "INDEX referrers_by_type \
             (repository_id=? AND subject=? AND artifact_type=? AND digest>?)",
        ),
    ] {
        let plan = plans(&mut connection, |connection| {
            connection.referrers(&name, &subject, artifact_type, None, 9.into()).map(drop)
        });
        assert!(plan.iter().any(|step| step.contains(expected)), "{plan:#?}");
    }
}

#[test]
fn writes_walk_no_table_and_sort_nothing() {
    let (_directory, _database, mut connection) = filled();
    let (name, other): (RepoName, RepoName) = ("r0".parse().unwrap(), "r1".parse().unwrap());
    let manifest = index(&digest("subject"), "a/7");
    let tag: Tag = "t7".parse().unwrap();
    type Work<'a> = &'a dyn Fn(&Transaction<'_>) -> Result<(), StorageError>;
    let blob = digest("8");
    let writes: [(&str, Work<'_>); 16] = [
        ("add", &|c| c.add_blob(&name, &digest("new"), 1)),
        ("mount", &|c| c.mount_blob(Some(&name), &other, &digest("7")).map(drop)),
        ("mount from anywhere", &|c| c.mount_blob(None, &other, &digest("8")).map(drop)),
        ("put", &|c| c.put_manifest(&name, &manifest, &[], std::slice::from_ref(&tag), None)),
        ("remove blob", &|c| c.remove_blob(&name, &digest("9")).map(drop)),
        ("remove tag", &|c| c.remove_tag(&name, &tag, None).map(drop)),
        ("remove", &|c| c.remove_manifest(&name, manifest.digest(), None).map(drop)),
        ("user", &|c| c.set_password(&"init".parse().unwrap(), "h").map(drop)),
        ("lose blob", &|c| c.lose_blob(&blob).map(drop)),
        ("regain blob", &|c| c.regain_blob(&blob).map(drop)),
        ("lose manifest", &|c| c.lose_manifest(manifest.digest(), b"").map(drop)),
        ("regain manifest", &|c| c.regain_manifest(manifest.digest()).map(drop)),
        ("mend edges", &|c| c.mend_edges(row(2), manifest.digest(), manifest.edges()).map(drop)),
        ("mend type", &|c| c.mend_type(row(1), manifest.digest(), "a", "b").map(drop)),
        ("remove link", &|c| c.remove_link(&place()).map(drop)),
        ("note task", &|c| c.note_upkeep("a", "{}").and_then(|()| c.forget_upkeep("a"))),
    ];
    for (what, work) in writes {
        assert_indexed(what, &plans(&mut connection, work));
    }
}

#[test]
fn collection_reads_and_changes_no_more_than_its_step() {
    let (_directory, _database, mut connection) = filled();
    let held = |digest| key::HeldDigest { repository: row(1), digest };
    let (after, blob) = (Some(held(digest("7"))), digest("7"));
    let manifest = held(*index(&digest("subject"), "a/7").digest());
    type Work<'a> = &'a dyn Fn(&Transaction<'_>) -> Result<(), StorageError>;
    let one = std::slice::from_ref;
    let rules = [
        collect::Rule::Untagged { until: 9, since: 9 },
        collect::Rule::Unlisted { until: 9, within: 9 },
    ];
    fn look<'a>(reader: &'a Reader<'a>) -> kept_by::Look<'a> {
        kept_by::Look { reader, is_leaving: &|_| false, pushed_until: 9, tagged_until: 9 }
    }
    let steps: [(&str, Work<'_>); 36] = [
        ("expired", &|c| c.expired(&after, 9).map(drop)),
        ("drop expired", &|c| c.drop_expired(one(&manifest), 9).map(drop)),
        ("old changes", &|c| c.count_old_changes(9).map(drop)),
        ("forget old", &|c| c.forget_old_changes(i64::MAX).map(drop)),
        ("untagged", &|c| c.untagged(&after, rules[0]).map(drop)),
        ("unlisted", &|c| c.untagged(&after, rules[1]).map(drop)),
        ("kept", &|c| c.is_kept(&manifest, &mut None, &mut 9, &|_| false).map(drop)),
        ("due", &|c| c.due(one(&manifest), rules[1]).map(drop)),
        ("retire", &|c| c.retire(one(&manifest), rules[0]).map(drop)),
        ("retire unlisted", &|c| c.retire(one(&manifest), rules[1]).map(drop)),
        ("links", &|c| c.links(&after, 9).map(drop)),
        ("named", &|c| c.is_named(&manifest, &|_| false).map(drop)),
        ("renew", &|c| c.renew_links(&[held(blob)])),
        ("unlink", &|c| c.unlink(&[held(blob)], 9).map(drop)),
        ("tags", &|c| c.tagged(&(row(0), "a".to_owned())).map(drop)),
        ("below", &|c| c.walk_below(&mut descendants::Below::all_of(&manifest).to_vec()).map(drop)),
        ("manifests", &|c| c.held_manifests(&after).map(drop)),
        ("listed", &|c| look(c).listed(&manifest, Some(blob)).map(drop)),
        ("keeper", &|c| look(c).keeper(&manifest, false).map(drop)),
        ("blobs of what is kept", &|c| {
            c.blobs_of(&manifest, Some(&("child".to_owned(), blob))).map(drop)
        }),
        ("whether they are needed", &|c| {
            c.are_needed(&[(blob, 1)], &mut kept_by::NamingCursor::default(), &|_| false).map(drop)
        }),
        ("deleted links", &|c| c.deleted_links(&after).map(drop)),
        ("release", &|c| c.release_deleted_links(&[held(blob)])),
        ("blobs", &|c| c.linked_blobs(Some(&blob)).map(drop)),
        ("drop blobs", &|c| c.drop_blobs(&[blob]).map(drop)),
        ("files since", &|c| c.files_seen_since(&["x".to_owned()]).map(drop)),
        ("note files", &|c| c.note_seen_files(&["x".to_owned()])),
        ("files", &|c| c.seen_files("w").map(drop)),
        ("forget files", &|c| c.forget_seen_files(&["x".to_owned()])),
        ("without rows", &|c| c.without_rows(&[blob]).map(drop)),
        ("repositories", &|c| c.repository_ids(row(1)).map(drop)),
        ("drop repositories", &|c| c.drop_repositories(&[row(1)]).map(drop)),
        ("surplus", &|c| c.surplus_of_history(row(1)).map(drop)),
        ("count surplus", &|c| c.count_forgettable(row(1), 7, 7).map(drop)),
        ("forget surplus", &|c| c.forget_changes_until(row(1), 7).map(drop)),
        ("repository", &|c| c.next_repository(row(1)).map(drop)),
    ];
    for (what, work) in steps {
        assert_indexed(what, &plans(&mut connection, work));
    }
}

#[test]
fn undoing_removing_and_inspecting_walk_no_table_and_sort_nothing() {
    let (_directory, _database, mut connection) = filled();
    let name: RepoName = "r0".parse().unwrap();
    let manifest = index(&digest("subject"), "a/7");
    let (shown, tag): (_, Tag) = (*manifest.digest(), "t7".parse().unwrap());
    let (by_tag, by_digest) = (Reference::Tag(tag.clone()), Reference::Digest(shown));
    let gone = std::collections::HashSet::from([shown]);
    let after = ("config".to_owned(), shown);
    let last = restore::RestorePoint::LastChange;
    let then = restore::RestorePoint::Before(0);
    type Work<'a> = &'a dyn Fn(&Transaction<'_>) -> Result<(), StorageError>;
    let pattern: oci::TagPattern = "t1*".parse().unwrap();
    let likewise: Vec<Tag> = vec!["t10".parse().unwrap(), "t11".parse().unwrap()];
    let works: [(&str, Work<'_>); 23] = [
        ("tags like a pattern", &|c| c.matching_tags(&name, &pattern, Some(&tag), 10).map(drop)),
        ("plan of tags", &|c| {
            c.plan_removal_of_tags(&name, &likewise, image_removal::PlannedRemoval::default())
                .map(drop)
        }),
        ("remove tags", &|c| c.remove_tags(&name, &likewise, None).map(drop)),
        ("history", &|c| c.tag_changes(&name, None, None, 10).map(drop)),
        ("history of a tag", &|c| c.tag_changes(&name, Some(&tag), Some(9), 10).map(drop)),
        ("gone tags", &|c| c.gone_tags(&name, &[shown], 10).map(drop)),
        ("protect", &|c| c.protect_tag(&name, &"t8".parse().unwrap()).map(drop)),
        ("protected", &|c| c.protected_between(&name, &tag, &tag).map(drop)),
        ("refusal", &|c| {
            let refusal = c.plan_removal(&name, &Reference::Tag("t8".parse().unwrap()));
            assert!(matches!(refusal, Err(StorageError::TagProtected { .. })));
            Ok(())
        }),
        ("remove beside", &|c| c.plan_removal(&name, &by_digest).map(drop)),
        ("unprotect", &|c| c.unprotect_tag(&name, &"t8".parse().unwrap()).map(drop)),
        ("plan", &|c| c.plan_removal(&name, &by_tag).map(drop)),
        ("remove", &|c| c.remove_image(&name, &by_digest, None).map(drop)),
        ("restore", &|c| c.restore_tag(&name, &tag, last, None, &|_, _| Ok(true)).map(drop)),
        ("restore by time", &|c| {
            let refusal = c.restore_tag(&name, &tag, then, None, &|_, _| Ok(true));
            assert!(matches!(refusal, Err(StorageError::NotThereThen { .. })));
            Ok(())
        }),
        ("deleted", &|c| c.deleted_since(&name, 1, Some(&shown), 10).map(drop)),
        ("restore if gone", &|c| {
            let point = restore::RestorePoint::IfGone(shown);
            c.restore_tag(&name, &tag, point, None, &|_, _| Ok(true)).map(drop)
        }),
        ("restore manifest", &|c| c.restore_manifest(&name, &shown, &|_, _| Ok(true)).map(drop)),
        ("plan of all", &|c| c.plan_removal_of_all(&name).map(drop)),
        ("remove all", &|c| c.remove_some(&name, None).map(drop)),
        ("space of", &|c| {
            let seen = &mut std::collections::HashSet::new();
            c.only_held_by(&name, &shown, &gone, seen, Some(&after)).map(drop)
        }),
        ("space in", &|c| c.held_in(&name, Some(&digest("0"))).map(drop)),
        ("look", &|c| c.manifest_info(&"r7".parse().unwrap(), &by_tag, 10).map(drop)),
    ];
    for (what, work) in works {
        assert_indexed(what, &plans(&mut connection, work));
    }
}

#[test]
fn of_a_removed_manifest_stays_what_restores_it_and_nothing_that_shows_it() {
    let (_directory, database) = open();
    let name: RepoName = "a".parse().unwrap();
    let manifest = index(&digest("subject"), "a/b");
    let removed = *manifest.digest();
    let rows = |database: &Database| {
        database.read(|connection| {
            let count = |table: &str| {
                connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
            };
            let tables =
                ["repository_manifests", "tags", "manifests", "edges", "deleted_manifests"];
            Ok(tables.map(|table| count(table).unwrap()))
        })
    };
    let put = {
        let name = name.clone();
        move |connection: &Transaction<'_>| {
            connection.put_manifest(&name, &manifest, &[], &["t".parse().unwrap()], None)
        }
    };
    database.write(put).unwrap();
    assert_eq!(rows(&database), Ok([1, 1, 1, 1, 0]));
    database.write(move |connection| connection.remove_manifest(&name, &removed, None)).unwrap();
    assert_eq!(rows(&database), Ok([0, 0, 1, 1, 1]));
}

#[test]
fn an_image_whose_edges_collection_began_to_take_comes_back_whole() {
    let (_directory, database) = open();
    let name: RepoName = "a".parse().unwrap();
    let child = index(&digest("subject"), "a/b");
    let descriptor = format!(r#"{{"mediaType":"a/b","digest":"{}","size":1}}"#, child.digest());
    let text = format!(r#"{{"schemaVersion":2,"manifests":[{descriptor}]}}"#);
    let media_type = MediaType::OCI_INDEX.parse().unwrap();
    let list = Manifest::parse(Bytes::from(text), Some(media_type), Algorithm::Sha256).unwrap();
    let (list_digest, child_digest) = (*list.digest(), *child.digest());
    let tag: Tag = "t".parse().unwrap();
    let restored = database.write(move |connection| {
        connection.put_manifest(&name, &child, &[], &[], None)?;
        connection.put_manifest(&name, &list, &[], std::slice::from_ref(&tag), None)?;
        connection.remove_image(&name, &Reference::Tag(tag.clone()), None)?;
        connection.execute("DELETE FROM edges", [])?;
        let last = restore::RestorePoint::LastChange;
        connection.restore_tag(&name, &tag, last, None, &|_, _| Ok(true))
    });
    assert_eq!(restored.unwrap().manifests, [list_digest, child_digest]);
}

#[test]
fn each_commit_is_synced_and_rows_hold_each_other() {
    let (_directory, database) = open();
    let setting =
        |name: &'static str| database.write(move |connection| Ok(connection.pragma(name)?));
    assert_eq!(setting("synchronous"), Ok(2), "2 is FULL");
    assert_eq!(setting("foreign_keys"), Ok(1));
    let mode = database.write(|connection| {
        Ok(connection.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0))?)
    });
    assert_eq!(mode.as_deref(), Ok("wal"));
    // SQLite's own checkpoint would hide a failed sync.
    assert_eq!(setting("wal_autocheckpoint"), Ok(0));
}

#[test]
fn readers_do_not_wait_for_a_write_that_takes_long() {
    let (_directory, database) = open();
    let exists = |name: &str| {
        let name = name.parse().unwrap();
        database.read(move |connection| connection.repository_exists(&name))
    };
    let (begun, has_begun) = mpsc::channel();
    let (end, may_end) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let database = &database;
        let writer = scope.spawn(move || {
            database.write(move |connection| {
                connection.ensure_repository(&"long".parse().unwrap())?;
                begun.send(()).unwrap();
                // The transaction stays open until every reader below has its answer.
                may_end.recv().unwrap();
                Ok(())
            })
        });
        has_begun.recv().unwrap();
        for _ in 0..100 {
            assert_eq!(exists("long"), Ok(false));
        }
        assert!(!writer.is_finished());
        end.send(()).unwrap();
        assert_eq!(writer.join().unwrap(), Ok(()));
    });
    assert_eq!(exists("long"), Ok(true));
}

#[test]
fn a_writer_does_not_wait_for_a_reader_that_takes_long() {
    let (_directory, database) = open();
    database
        .read(|reader| {
            let mut statement = reader.prepare_cached("SELECT name FROM sqlite_schema")?;
            let mut rows = statement.query([])?;
            rows.next()?;
            // The reader has its view of the database; writes go on beside it.
            for name in ["a", "b", "c"] {
                let name: RepoName = name.parse().unwrap();
                database.write(move |connection| connection.ensure_repository(&name))?;
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_reading_connection_cannot_write() {
    let (_directory, database) = open();
    let outcome = database.read(|reader| {
        Transaction::new(reader.connection(), 0).ensure_repository(&"a".parse().unwrap())
    });
    assert!(matches!(outcome, Err(StorageError::Failed(Trouble::Database(_)))), "{outcome:?}");
}

#[test]
fn failures_of_the_disk_are_told_apart() {
    let failure = |code| {
        StorageError::from(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None))
    };
    assert_eq!(failure(ffi::SQLITE_FULL), StorageError::Full);
    assert_eq!(failure(ffi::SQLITE_IOERR_SHMSIZE), StorageError::Full);
    for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_DIR_FSYNC] {
        assert!(matches!(failure(code), StorageError::Failed(Trouble::NotSynced(_))));
    }
    assert!(matches!(
        failure(ffi::SQLITE_IOERR_WRITE),
        StorageError::Failed(Trouble::NotWritten(_))
    ));
    for code in [ffi::SQLITE_IOERR_READ, ffi::SQLITE_BUSY] {
        assert!(matches!(failure(code), StorageError::Failed(Trouble::Database(_))));
    }
}
