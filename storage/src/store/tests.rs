//! What no public verb can bring about: somebody comes between two steps of one, and time passes.

use std::fs;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use oci::{Algorithm, Digest, Manifest, MediaType, Reference, RepoName};
use tempfile::TempDir;

use super::*;
use crate::account::{Account, UserId};
use crate::collect::Keep;
use crate::content::BlobContent;
use crate::db::lost::Lost;
use crate::db::manifest::StoredManifest;
use crate::db::restore::RestorePoint;

mod disk;
mod wall;

fn fatal(error: &StorageError) -> ! {
    panic!("the database ended the process: {error}")
}

fn open() -> (TempDir, Store) {
    let home = tempfile::tempdir().unwrap();
    let options = OpenOptions {
        may_create: true,
        uploads_per_user: 1,
        reserve_bytes: 0,
        read_pause_time: std::time::Duration::from_millis(100),
        idle_connections: 4,
        hot_manifest_bytes: 1 << 20,
        on_held: &|_| OnHeld::GiveUp,
        allow_network_fs: false,
        on_fatal: fatal,
        on_trouble: |_| {},
    };
    let store = Store::open(home.path(), &options).unwrap();
    store.finish_creation().unwrap();
    (home, store)
}

fn repo(name: &str) -> RepoName {
    name.parse().unwrap()
}

fn push(store: &Store, name: &str, content: &'static [u8]) -> Digest {
    let user = Account { name: "pusher".parse().unwrap(), id: UserId::default() };
    let name = repo(name);
    let digest = Digest::of(Algorithm::Sha256, content);
    let id = store.create_upload(&name, &user, Algorithm::Sha256).unwrap();
    let writer = store.open_upload(&name, &user, id).unwrap();
    writer.append(&[Bytes::from_static(content)]).unwrap();
    store.commit_upload(&writer, &digest).unwrap();
    digest
}

fn index(mark: &str) -> Manifest {
    let text = format!(r#"{{"schemaVersion":2,"manifests":[],"annotations":{{"mark":"{mark}"}}}}"#);
    let media_type = MediaType::OCI_INDEX.parse().unwrap();
    Manifest::parse(Bytes::from(text), Some(media_type), Algorithm::Sha256).unwrap()
}

#[test]
fn what_was_pushed_since_it_was_found_bad_is_not_called_lost() {
    let (_home, store) = open();
    let digest = push(&store, "a", b"content");
    // A reader found other bytes, and by now the file is right.
    assert_eq!(store.lose_found(&digest, 7), Ok(false));
    let manifest = index("a");
    store.push_manifest(&repo("a"), manifest.clone(), Vec::new(), None).unwrap();
    let found = StoredManifest {
        digest: *manifest.digest(),
        media_type: manifest.media_type().to_string(),
        bytes: Bytes::from_static(b"other bytes"),
    };
    assert!(!store.lose_found_manifest(&found));
    assert_eq!(store.lost(), Ok(Lost::default()));
    // The file is wrong; the claim of a push that is under way is waited for, and its file counts.
    let path = store.layout().blob(&digest);
    fs::write(&path, b"CONTENT").unwrap();
    std::thread::scope(|scope| {
        let claim = store.claims.claim(&digest);
        let reader = scope.spawn(|| store.blob(&repo("a"), &digest, 1000));
        let fresh = path.with_extension("new");
        fs::write(&fresh, b"content").unwrap();
        fs::rename(&fresh, &path).unwrap();
        drop(claim);
        assert!(matches!(reader.join().unwrap(), Ok(Some(BlobContent::Whole(_)))));
    });
    assert_eq!(store.lost(), Ok(Lost::default()));
    fs::write(&path, b"CONTENT").unwrap();
    assert_eq!(store.lose_found(&digest, 7), Ok(true));
    assert_eq!(store.lost(), Ok(Lost { blobs: 1, manifests: 0 }));
}

#[test]
fn a_size_that_was_recorded_wrong_is_mended_by_whoever_asks_for_the_blob() {
    let (_home, store) = open();
    let digest = push(&store, "a", b"content");
    let spoil = "UPDATE blobs SET size = 6";
    store.database.write(move |transaction| transaction.run(spoil)).unwrap();
    assert!(matches!(store.blob(&repo("a"), &digest, 1000), Ok(Some(BlobContent::Whole(_)))));
    assert_eq!(store.blob_size(&repo("a"), &digest), Ok(Some(7)));
    assert_eq!(store.lost(), Ok(Lost::default()));
}

/// The rows that say when something was pushed last.
fn stamps(store: &Store) -> (i64, i64) {
    let query = "SELECT (SELECT max(pushed_tick) FROM repository_manifests),
                        (SELECT max(linked_at) FROM repository_blobs)";
    store.database.read(|reader| reader.row(query)).unwrap()
}

#[test]
fn pushing_again_renews_when_it_was_pushed_once_an_hour() {
    let (_home, store) = open();
    let (name, manifest) = (repo("a"), index("a"));
    let tags = vec!["t".parse().unwrap()];
    let again = || {
        push(&store, "a", b"content");
        store.push_manifest(&name, manifest.clone(), tags.clone(), None).unwrap();
    };
    again();
    let first = stamps(&store);
    store.database.clock().pass(Duration::from_secs(1800));
    again();
    assert_eq!(stamps(&store), first);
    store.database.clock().pass(Duration::from_secs(1801));
    again();
    let second = stamps(&store);
    assert!(second.0 >= first.0 + 3600 && second.1 >= first.1 + 3600, "{first:?} {second:?}");
    let changes = store.tag_history(&name, None, None, 9).unwrap().unwrap();
    assert_eq!(changes.len(), 1);
}

#[test]
fn a_manifest_without_its_blobs_is_refused_while_the_writing_thread_is_busy() {
    let (_home, store) = open();
    let digest = push(&store, "a", b"content");
    let text = format!(
        r#"{{"schemaVersion":2,"layers":[],
            "config":{{"mediaType":"a/b","digest":"{digest}","size":7}}}}"#
    );
    let media_type: MediaType = MediaType::OCI_MANIFEST.parse().unwrap();
    let image = || {
        let bytes = Bytes::from(text.clone());
        Manifest::parse(bytes, Some(media_type.clone()), Algorithm::Sha256).unwrap()
    };
    let tags = || vec!["t".parse().unwrap()];
    store.push_manifest(&repo("a"), image(), tags(), None).unwrap();
    std::thread::scope(|scope| {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let store = &store;
        let busy = scope.spawn(move || {
            store.database.write(move |_| {
                let _ = held.recv();
                Ok(())
            })
        });
        let refused = store.push_manifest(&repo("b"), image(), tags(), None);
        assert_eq!(refused, Err(StorageError::MissingBlobs(vec![digest])));
        // What changes nothing does not wait for it either.
        store.push_manifest(&repo("a"), image(), tags(), None).unwrap();
        drop(release);
        busy.join().unwrap().unwrap();
    });
}

#[test]
fn a_push_writes_the_bytes_that_readers_do_not_get_anew() {
    let (_home, store) = open();
    let (name, manifest) = (repo("a"), index("a"));
    store.push_manifest(&name, manifest.clone(), Vec::new(), None).unwrap();
    let spoil = "UPDATE manifests SET bytes = x'00'";
    store.database.write(move |transaction| transaction.run(spoil)).unwrap();
    // Nobody has met it yet, so no row says that it is lost.
    store.push_manifest(&name, manifest.clone(), Vec::new(), None).unwrap();
    let found = store.manifest(&name, &Reference::Digest(*manifest.digest())).unwrap();
    assert_eq!(found.unwrap().bytes, *manifest.bytes());
}

fn spoil(store: &Store, statements: &'static str) {
    store.database.write(move |transaction| transaction.run(statements)).unwrap();
}

fn number(store: &Store, query: &str) -> i64 {
    store.database.read(|reader| reader.number(query)).unwrap()
}

fn put(store: &Store, name: &str, manifest: &Manifest, tag: &str) {
    store.push_manifest(&repo(name), manifest.clone(), vec![tag.parse().unwrap()], None).unwrap();
}

/// What becomes of a tag that is to name again what it named before a time.
fn restored(store: &Store, tag: &str, time: i64) -> Result<Option<Digest>, StorageError> {
    let point = RestorePoint::Before(time);
    store.restore_tag(&repo("a"), &tag.parse().unwrap(), point, None).map(|restored| restored.after)
}

fn nothing_to_undo(tag: &str) -> StorageError {
    StorageError::NothingToUndo { repository: repo("a"), tag: tag.parse().unwrap() }
}

#[test]
fn what_is_forgotten_of_a_tag_is_known_to_be_and_its_manifest_remembers_that_it_had_one() {
    let (_home, store) = open();
    let [first, second, third] = ["1", "2", "3"].map(index);
    for (manifest, tag) in [(&first, "t"), (&second, "t"), (&third, "other"), (&third, "t")] {
        put(&store, "a", manifest, tag);
    }
    // 256 changes of the tag, at the seconds 1 to 256.
    spoil(
        &store,
        "DELETE FROM tag_history WHERE name = 't' AND after IS NOT
             (SELECT digest FROM tags WHERE name = 't');
         INSERT INTO tag_history (repository_id, name, before, after, changed_at)
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 255)
             SELECT h.repository_id, h.name, h.after, h.before, 0 FROM n, tag_history h
             WHERE h.name = 't';
         UPDATE tag_history SET changed_at = id - (SELECT min(id) - 1 FROM tag_history h
                                                   WHERE h.name = 't')
             WHERE name = 't';
         UPDATE repository_manifests SET pushed_tick = -9;",
    );
    let count = "SELECT count(*) FROM tag_history WHERE name = 't'";
    assert_eq!(number(&store, count), 256);
    assert_eq!(restored(&store, "t", 1), Ok(Some(*second.digest())));
    assert_eq!(number(&store, count), 256);
    assert_eq!(restored(&store, "t", 1), Err(nothing_to_undo("t")));
    assert_eq!(restored(&store, "t", 2), Ok(Some(*third.digest())));
    let tagged = "SELECT count(*) FROM repository_manifests
                  WHERE was_tagged = 1 AND pushed_tick >= 0 AND digest IN
                  (SELECT after FROM tag_history WHERE name = 'other')";
    assert_eq!(number(&store, tagged), 1);
    assert_eq!(number(&store, "SELECT sum(was_tagged) FROM repository_manifests"), 2);
}

#[test]
fn changes_of_a_repository_are_bounded_by_pushes_and_by_collection() {
    const FILL: &str = "INSERT INTO tag_history (repository_id, name, after, changed_at)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100500)
         SELECT 1, 'gone' || (i % 1000), 'x', i FROM n";
    let count = "SELECT count(*) FROM tag_history";
    let (_home, store) = open();
    put(&store, "a", &index("1"), "t");
    spoil(&store, "UPDATE tag_history SET changed_at = 0");
    spoil(&store, FILL);
    put(&store, "a", &index("2"), "t");
    assert_eq!(number(&store, count), 100_502, "not with each push");
    let look = |mark: &str| {
        store.tags_pushed.store(1023, std::sync::atomic::Ordering::Relaxed);
        put(&store, "a", &index(mark), "t");
        number(&store, count)
    };
    assert_eq!(look("3"), 100_000);
    // Of this tag nothing is left, so nobody knows what it named; of the other all is.
    put(&store, "a", &index("1"), "gone999x");
    assert_eq!(restored(&store, "gone999x", 400), Err(nothing_to_undo("gone999x")));
    assert!(matches!(restored(&store, "gone999x", 600), Err(StorageError::NotThereThen { .. })));
    spoil(&store, FILL);
    // No push waits until all is gone that an older program left, but it becomes less.
    let before = number(&store, count);
    let left = look("4");
    assert!((before - 3000..before - 1024).contains(&left), "{left} of {before}");
    let keep = Keep {
        grace: Duration::ZERO,
        untagged: None,
        listed_within: Duration::ZERO,
        deleted: Duration::from_secs(7 * 24 * 3600),
        history: Duration::from_secs(7 * 24 * 3600),
        uploads: Duration::MAX,
    };
    spoil(&store, "UPDATE tag_history SET changed_tick = 1");
    let collect = |is_dry_run| {
        store.collect(&keep, is_dry_run, &mut |_| ControlFlow::Continue(())).unwrap().tag_changes
    };
    let surplus = number(&store, count) - 100_000;
    assert_eq!(
        [collect(true), collect(false), collect(false)],
        [surplus as u64, surplus as u64, 0]
    );
    assert_eq!(number(&store, count), 100_000);
}
