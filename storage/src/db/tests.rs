//! What only the inside of the database shows: query plans, settings, and readers beside a writer.

use std::collections::HashSet;
use std::sync::mpsc;

use bytes::Bytes;
use oci::{Algorithm, Digest, Manifest, MediaType, Reference, RepoName, StatedSize, Tag};
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::*;

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
    work: impl FnOnce(&Connection) -> Result<(), StorageError>,
) -> Vec<String> {
    let (sender, traced) = mpsc::channel();
    let remember = move |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(statement, _) = event {
            sender.send(statement.sql().into_owned()).unwrap();
        }
    };
    connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(remember)).unwrap();
    work(connection).unwrap();
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
    let fill = move |connection: &Connection| {
        for n in 0..50 {
            let name: RepoName = format!("r{n}").parse().unwrap();
            let content = digest(&n.to_string());
            repository::add_blob(connection, &name, &content, 1)?;
            repository::add_blob(connection, &"r0".parse().unwrap(), &content, 1)?;
            let manifest = index(&subject, &format!("a/{n}"));
            let tags = [format!("t{n}").parse().unwrap()];
            manifest::put(connection, &name, &manifest, &[], &tags, None)?;
            manifest::put(connection, &"r0".parse().unwrap(), &manifest, &[], &tags, None)?;
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
    type Work<'a> = &'a dyn Fn(&Connection) -> Result<(), StorageError>;
    let reads: [(&str, Work<'_>); 27] = [
        ("catalog", &|c| list::repositories(c, None, 10.into()).map(drop)),
        ("catalog, next page", &|c| list::repositories(c, Some("r3"), 10.into()).map(drop)),
        ("tags", &|c| list::tags(c, &name, None, 10.into()).map(drop)),
        ("tags, next page", &|c| list::tags(c, &name, Some("t3"), 10.into()).map(drop)),
        ("referrers", &|c| list::referrers(c, &name, &subject, None, Some(&blob), few).map(drop)),
        ("referrers of a type", &|c| {
            list::referrers(c, &name, &subject, Some("a/7"), Some(&blob), few).map(drop)
        }),
        ("manifest by tag", &|c| manifest::long(c, &name, &by_tag, 0, |_| true).map(drop)),
        ("manifest by digest", &|c| manifest::get(c, &name, &by_digest).map(drop)),
        ("blob", &|c| repository::held_blobs(c, &name, &[blob]).map(drop)),
        ("sizes", &|c| repository::held_sizes(c, &name, &[blob]).map(drop)),
        ("type", &|c| manifest::kept_type(c, &name, &blob).map(drop)),
        ("push again", &|c| {
            let tags = ["t7".parse().unwrap()];
            let change = again::change(c, &name, &index(&subject, "a/7"), &tags)?;
            assert_eq!(change, again::Change::Nothing);
            Ok(())
        }),
        ("stored blob", &|c| repository::stored_size(c, &blob).map(drop)),
        ("blob's row", &|c| repository::blob(c, &blob).map(drop)),
        ("whether anything is lost", &|c| lost::is_anything(c).map(drop)),
        ("what is lost", &|c| lost::digests(c, 9).map(drop)),
        ("task", &|c| upkeep::last(c, "verify").map(drop)),
        ("verify: blobs", &|c| verify::blobs(c, "sha256:7").map(drop)),
        ("verify: manifests", &|c| verify::manifests(c, "sha256:7").map(drop)),
        ("verify: manifest", &|c| verify::manifest_bytes(c, &blob).map(drop)),
        ("verify: holders", &|c| verify::holders(c, &blob, 7).map(drop)),
        ("verify: holder", &|c| verify::holder(c, &blob).map(drop)),
        ("verify: sizes", &|c| {
            verify::sizes(c, &[StatedSize { child: digest("7"), size: 1 }]).map(drop)
        }),
        ("verify: edges", &|c| verify::edges(c, 1, &blob, &place_of_edge()).map(drop)),
        ("verify: naming", &|c| verify::dangling(c, verify::Naming::Manifests, &place()).map(drop)),
        ("verify: tags", &|c| verify::dangling(c, verify::Naming::Tags, &place()).map(drop)),
        ("verify: links", &|c| verify::dangling(c, verify::Naming::Links, &place()).map(drop)),
    ];
    for (what, work) in reads {
        assert_indexed(what, &plans(&mut connection, work));
    }
}

fn place() -> verify::Place {
    (1, "a".to_owned())
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
        plans(&mut connection, |c| lost::needed_by(c, 1, &manifest).map(drop)),
        plans(&mut connection, |c| lost::needs_any(c, 1, &manifest, &these).map(drop)),
        plans(&mut connection, |c| lost::hurt(c, &these, &place()).map(drop)),
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
            list::referrers(connection, &name, &subject, artifact_type, None, 9.into()).map(drop)
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
    type Work<'a> = &'a dyn Fn(&Connection) -> Result<(), StorageError>;
    let blob = digest("8");
    let writes: [(&str, Work<'_>); 16] = [
        ("add", &|c| repository::add_blob(c, &name, &digest("new"), 1)),
        ("mount", &|c| repository::mount(c, Some(&name), &other, &digest("7")).map(drop)),
        ("mount from anywhere", &|c| repository::mount(c, None, &other, &digest("8")).map(drop)),
        ("put", &|c| manifest::put(c, &name, &manifest, &[], std::slice::from_ref(&tag), None)),
        ("remove blob", &|c| repository::remove_blob(c, &name, &digest("9")).map(drop)),
        ("remove tag", &|c| tag::remove(c, &name, &tag, None).map(drop)),
        ("remove", &|c| manifest::remove(c, &name, manifest.digest(), None).map(drop)),
        ("user", &|c| user::set_password(c, &"init".parse().unwrap(), "h").map(drop)),
        ("lose blob", &|c| lost::lose_blob(c, &blob).map(drop)),
        ("regain blob", &|c| lost::regain_blob(c, &blob).map(drop)),
        ("lose manifest", &|c| lost::lose_manifest(c, manifest.digest(), b"").map(drop)),
        ("regain manifest", &|c| lost::regain_manifest(c, manifest.digest()).map(drop)),
        ("mend edges", &|c| {
            verify::mend_edges(c, 2, manifest.digest(), manifest.edges()).map(drop)
        }),
        ("mend type", &|c| verify::mend_type(c, 1, manifest.digest(), "a", "b").map(drop)),
        ("remove link", &|c| verify::remove_link(c, &place()).map(drop)),
        ("note task", &|c| upkeep::note(c, "a", "{}").and_then(|()| upkeep::forget(c, "a"))),
    ];
    for (what, work) in writes {
        assert_indexed(what, &plans(&mut connection, work));
    }
}

#[test]
fn collection_reads_and_changes_no_more_than_its_step() {
    let (_directory, _database, mut connection) = filled();
    let held = |digest| collect::Held { repository: 1, digest };
    let (after, blob) = (Some(held(digest("7"))), digest("7"));
    let manifest = held(*index(&digest("subject"), "a/7").digest());
    type Work<'a> = &'a dyn Fn(&Connection) -> Result<(), StorageError>;
    let one = std::slice::from_ref;
    let rules = [
        collect::Rule::Untagged { until: 9, since: 9 },
        collect::Rule::Unlisted { until: 9, within: 9 },
    ];
    fn look(connection: &Connection) -> kept::Look<'_> {
        kept::Look { connection, is_leaving: &|_| false, pushed_until: 9, tagged_until: 9 }
    }
    let steps: [(&str, Work<'_>); 36] = [
        ("expired", &|c| collect::expired(c, &after, 9).map(drop)),
        ("drop expired", &|c| collect::drop_expired(c, one(&manifest), 9).map(drop)),
        ("old changes", &|c| forget::count_old(c, 9).map(drop)),
        ("forget old", &|c| forget::forget_old(c, i64::MAX).map(drop)),
        ("untagged", &|c| collect::untagged(c, &after, rules[0]).map(drop)),
        ("unlisted", &|c| collect::untagged(c, &after, rules[1]).map(drop)),
        ("kept", &|c| collect::is_kept(c, &manifest, &mut None, &mut 9, &|_| false).map(drop)),
        ("due", &|c| collect::due(c, one(&manifest), rules[1]).map(drop)),
        ("retire", &|c| collect::retire(c, one(&manifest), rules[0]).map(drop)),
        ("retire unlisted", &|c| collect::retire(c, one(&manifest), rules[1]).map(drop)),
        ("links", &|c| collect::links(c, &after, 9).map(drop)),
        ("named", &|c| collect::is_named(c, &manifest, &|_| false).map(drop)),
        ("renew", &|c| collect::renew(c, &[held(blob)])),
        ("unlink", &|c| collect::unlink(c, &[held(blob)], 9).map(drop)),
        ("tags", &|c| below::tagged(c, &(0, "a".to_owned())).map(drop)),
        ("below", &|c| below::walk(c, &mut below::Below::all_of(&manifest).to_vec()).map(drop)),
        ("manifests", &|c| kept::manifests(c, &after).map(drop)),
        ("listed", &|c| look(c).listed(&manifest, Some(blob)).map(drop)),
        ("keeper", &|c| look(c).keeper(&manifest, false).map(drop)),
        ("blobs of what is kept", &|c| {
            kept::blobs(c, &manifest, Some(&("child".to_owned(), blob))).map(drop)
        }),
        ("whether they are needed", &|c| {
            kept::are_needed(c, &[(blob, 1)], &mut kept::Naming::default(), &|_| false).map(drop)
        }),
        ("deleted links", &|c| deleted_links::page(c, &after).map(drop)),
        ("release", &|c| deleted_links::release(c, &[held(blob)])),
        ("blobs", &|c| collect::blobs(c, Some(&blob)).map(drop)),
        ("drop blobs", &|c| collect::drop_blobs(c, &[blob]).map(drop)),
        ("files since", &|c| seen::since(c, &["x".to_owned()]).map(drop)),
        ("note files", &|c| seen::note(c, &["x".to_owned()])),
        ("files", &|c| seen::page(c, "w").map(drop)),
        ("forget files", &|c| seen::forget(c, &["x".to_owned()])),
        ("without rows", &|c| collect::without_rows(c, &[blob]).map(drop)),
        ("repositories", &|c| collect::repositories(c, 1).map(drop)),
        ("drop repositories", &|c| collect::drop_repositories(c, &[1]).map(drop)),
        ("surplus", &|c| forget::surplus(c, 1).map(drop)),
        ("count surplus", &|c| forget::count(c, 1, 7, 7).map(drop)),
        ("forget surplus", &|c| forget::forget_until(c, 1, 7).map(drop)),
        ("repository", &|c| forget::next_repository(c, 1).map(drop)),
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
    type Work<'a> = &'a dyn Fn(&Connection) -> Result<(), StorageError>;
    let pattern: oci::TagPattern = "t1*".parse().unwrap();
    let likewise: Vec<Tag> = vec!["t10".parse().unwrap(), "t11".parse().unwrap()];
    let works: [(&str, Work<'_>); 23] = [
        ("tags like a pattern", &|c| {
            removal::matching(c, &name, &pattern, Some(&tag), 10).map(drop)
        }),
        ("plan of tags", &|c| {
            removal::plan_tags(c, &name, &likewise, removal::Going::default()).map(drop)
        }),
        ("remove tags", &|c| removal::remove_tags(c, &name, &likewise, None).map(drop)),
        ("history", &|c| history::changes(c, &name, None, None, 10).map(drop)),
        ("history of a tag", &|c| history::changes(c, &name, Some(&tag), Some(9), 10).map(drop)),
        ("gone tags", &|c| restore::gone_tags(c, &name, &[shown], 10).map(drop)),
        ("protect", &|c| protection::protect(c, &name, &"t8".parse().unwrap()).map(drop)),
        ("protected", &|c| protection::between(c, &name, &tag, &tag).map(drop)),
        ("refusal", &|c| {
            let refusal = removal::plan(c, &name, &Reference::Tag("t8".parse().unwrap()));
            assert!(matches!(refusal, Err(StorageError::TagProtected { .. })));
            Ok(())
        }),
        ("remove beside", &|c| removal::plan(c, &name, &by_digest).map(drop)),
        ("unprotect", &|c| protection::unprotect(c, &name, &"t8".parse().unwrap()).map(drop)),
        ("plan", &|c| removal::plan(c, &name, &by_tag).map(drop)),
        ("remove", &|c| removal::remove(c, &name, &by_digest, None).map(drop)),
        ("restore", &|c| restore::restore(c, &name, &tag, last, None, &|_, _| Ok(true)).map(drop)),
        ("restore by time", &|c| {
            let refusal = restore::restore(c, &name, &tag, then, None, &|_, _| Ok(true));
            assert!(matches!(refusal, Err(StorageError::NotThereThen { .. })));
            Ok(())
        }),
        ("deleted", &|c| restore::deleted_since(c, &name, 1, Some(&shown), 10).map(drop)),
        ("restore if gone", &|c| {
            let point = restore::RestorePoint::IfGone(shown);
            restore::restore(c, &name, &tag, point, None, &|_, _| Ok(true)).map(drop)
        }),
        ("restore manifest", &|c| {
            restore::restore_manifest(c, &name, &shown, &|_, _| Ok(true)).map(drop)
        }),
        ("plan of all", &|c| removal::plan_all(c, &name).map(drop)),
        ("remove all", &|c| removal::remove_some(c, &name, None).map(drop)),
        ("space of", &|c| {
            let seen = &mut std::collections::HashSet::new();
            space::only_held_by(c, &name, &shown, &gone, seen, Some(&after)).map(drop)
        }),
        ("space in", &|c| space::held_in(c, &name, Some(&digest("0"))).map(drop)),
        ("look", &|c| inspect::info(c, &"r7".parse().unwrap(), &by_tag, 10).map(drop)),
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
        move |connection: &Connection| {
            manifest::put(connection, &name, &manifest, &[], &["t".parse().unwrap()], None)
        }
    };
    database.write(put).unwrap();
    assert_eq!(rows(&database), Ok([1, 1, 1, 1, 0]));
    database.write(move |connection| manifest::remove(connection, &name, &removed, None)).unwrap();
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
        manifest::put(connection, &name, &child, &[], &[], None)?;
        manifest::put(connection, &name, &list, &[], std::slice::from_ref(&tag), None)?;
        removal::remove(connection, &name, &Reference::Tag(tag.clone()), None)?;
        connection.execute("DELETE FROM edges", [])?;
        let last = restore::RestorePoint::LastChange;
        restore::restore(connection, &name, &tag, last, None, &|_, _| Ok(true))
    });
    assert_eq!(restored.unwrap().manifests, [list_digest, child_digest]);
}

#[test]
fn each_commit_is_synced_and_rows_hold_each_other() {
    let (_directory, database) = open();
    let setting = |name: &'static str| {
        database.write(move |connection| {
            Ok(connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0))?)
        })
    };
    assert_eq!(setting("synchronous"), Ok(2), "2 is FULL");
    assert_eq!(setting("foreign_keys"), Ok(1));
    let mode = database.write(|connection| {
        Ok(connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0))?)
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
        database.read(move |connection| repository::exists(connection, &name))
    };
    let (begun, has_begun) = mpsc::channel();
    let (end, may_end) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let database = &database;
        let writer = scope.spawn(move || {
            database.write(move |connection| {
                repository::ensure(connection, &"long".parse().unwrap())?;
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
            let mut statement = reader.prepare("SELECT name FROM sqlite_schema")?;
            let mut rows = statement.query([])?;
            rows.next()?;
            // The reader has its view of the database; writes go on beside it.
            for name in ["a", "b", "c"] {
                let name: RepoName = name.parse().unwrap();
                database.write(move |connection| repository::ensure(connection, &name))?;
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_reading_connection_cannot_write() {
    let (_directory, database) = open();
    let outcome = database.read(|connection| repository::ensure(connection, &"a".parse().unwrap()));
    assert!(matches!(outcome, Err(StorageError::Database(_))), "{outcome:?}");
}

#[test]
fn failures_of_the_disk_are_told_apart() {
    let failure = |code| {
        StorageError::from(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None))
    };
    assert_eq!(failure(ffi::SQLITE_FULL), StorageError::Full);
    assert_eq!(failure(ffi::SQLITE_IOERR_SHMSIZE), StorageError::Full);
    for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_DIR_FSYNC] {
        assert!(matches!(failure(code), StorageError::NotSynced(_)));
    }
    assert!(matches!(failure(ffi::SQLITE_IOERR_WRITE), StorageError::NotWritten(_)));
    for code in [ffi::SQLITE_IOERR_READ, ffi::SQLITE_BUSY] {
        assert!(matches!(failure(code), StorageError::Database(_)));
    }
}
