//! A full disk: refused with a name, nothing acknowledged is lost, and all goes on when there is
//! space again.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use oci::{Algorithm, Reference};
use storage::StorageError;

use crate::again;
use crate::support::{
    account, directory, files, index, open, parse, pull, push, repo, sha256, tag, try_open,
    try_push,
};

const FILE_SYSTEM_BYTES: &str = "48m";

/// Runs the rest of the test on a small file system that only its process sees and that goes
/// with it; `None` in the process that started that.
pub(crate) fn on_a_small_disk(test: &str) -> Option<PathBuf> {
    if let Some(mount) = again::handed_over() {
        return Some(PathBuf::from(mount));
    }
    let home = directory();
    let path = home.path().to_str().unwrap();
    let options = format!("size={FILE_SYSTEM_BYTES}");
    let mount = ["unshare", "--mount", "mount", "-t", "tmpfs", "-o", &options, "none", path];
    let can_mount = Command::new(mount[0]).args(&mount[1..]).output();
    if !can_mount.as_ref().is_ok_and(|output| output.status.success()) {
        // CI skips nothing.
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no tmpfs: {can_mount:?}");
        eprintln!("skipped: {test} needs the right to mount a tmpfs: {can_mount:?}");
        return None;
    }
    let script = "mount -t tmpfs -o \"$1\" none \"$2\" && shift 2 && exec \"$@\"";
    let before = ["unshare", "--mount", "sh", "-c", script, "sh", &options, path];
    again::run(&before, test, path);
    None
}

/// Takes all the space that is left, but for `spare` bytes, until it is dropped.
pub(crate) struct Ballast(PathBuf);

impl Ballast {
    pub(crate) fn fill(disk: &Path, spare: usize) -> Self {
        let path = disk.join("ballast");
        let mut file = File::create(&path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        let length = file.metadata().unwrap().len() - spare as u64;
        file.set_len(length).unwrap();
        Self(path)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn a_piece_that_does_not_fit_leaves_the_session_as_it_was() {
    let test = "full::a_piece_that_does_not_fit_leaves_the_session_as_it_was";
    let Some(disk) = on_a_small_disk(test) else { return };
    let store = open(&disk.join("data"));
    let (name, pusher) = (repo("a"), account("pusher"));
    let id = store.create_upload(&name, &pusher, Algorithm::Sha256).unwrap();
    let writer = store.open_upload(&name, &pusher, id).unwrap();
    writer.append(&[Bytes::from_static(b"begun, ")]).unwrap();
    let ballast = Ballast::fill(&disk, 64 * 1024);
    // The first pieces would fit, the whole does not.
    let pieces = vec![Bytes::from(vec![b'x'; 16 * 1024]); 16];
    for _ in 0..2 {
        let outcome = writer.append(&pieces);
        let is_no_room = matches!(outcome, Err(StorageError::NoRoom { wanted_bytes: 262_144, .. }));
        assert!(is_no_room, "{outcome:?}");
        assert_eq!(writer.offset(), Ok(7));
        assert_eq!(store.upload_offset(&name, &pusher, id), Ok(7));
        let length = fs::metadata(disk.join("data/uploads").join(id.to_string())).unwrap().len();
        assert_eq!(length, 7, "what was written in vain takes no space");
    }
    drop(ballast);
    writer.append(&[Bytes::from_static(b"finished")]).unwrap();
    store.commit_upload(&writer, &sha256(b"begun, finished")).unwrap();
    assert_eq!(pull(&store, &name, &sha256(b"begun, finished")).unwrap(), b"begun, finished");
}

#[test]
fn a_session_that_cannot_begin_leaves_no_files() {
    let test = "full::a_session_that_cannot_begin_leaves_no_files";
    let Some(disk) = on_a_small_disk(test) else { return };
    let store = open(&disk.join("data"));
    let ballast = Ballast::fill(&disk, 0);
    let begun = store.create_upload(&repo("a"), &account("pusher"), Algorithm::Sha256);
    assert_eq!(begun, Err(StorageError::Full));
    assert!(files(&disk.join("data"), "uploads").is_empty());
    assert_eq!(store.open_uploads(), 0);
    drop(ballast);
    push(&store, &repo("a"), b"content");
}

#[test]
fn rows_that_do_not_fit_are_refused_and_all_others_stay() {
    let test = "full::rows_that_do_not_fit_are_refused_and_all_others_stay";
    let Some(disk) = on_a_small_disk(test) else { return };
    let root = disk.join("data");
    let store = open(&root);
    let (name, pusher) = (repo("a"), account("pusher"));
    let old = push(&store, &name, b"old");
    store.push_manifest(&name, index("old"), vec![tag("latest")], None).unwrap();
    let id = store.create_upload(&name, &pusher, Algorithm::Sha256).unwrap();
    let writer = store.open_upload(&name, &pusher, id).unwrap();
    writer.append(&[Bytes::from_static(b"new")]).unwrap();

    let ballast = Ballast::fill(&disk, 0);
    // The log may have room for some rows; it ends.
    let refused = (0..).find_map(|n| {
        store
            .push_manifest(&name, index(&n.to_string()), vec![tag(&format!("t{n}"))], None)
            .err()
            .map(|error| (n, error))
    });
    let (accepted, error) = refused.unwrap();
    assert_eq!(error, StorageError::Full);
    for _ in 0..2 {
        assert_eq!(store.commit_upload(&writer, &sha256(b"new")), Err(StorageError::Full));
        assert_eq!(store.blob_size(&name, &sha256(b"new")), Ok(None));
        assert_eq!(store.upload_offset(&name, &pusher, id), Ok(3), "the session ended");
    }
    let more = try_push(&store, &name, b"more");
    assert!(matches!(more, Err(StorageError::Full | StorageError::NoRoom { .. })), "{more:?}");
    // A manifest of many pages fails earlier, in the statement and not in the commit.
    let large = large_index(4 * 1024 * 1024 - 200);
    assert_eq!(store.push_manifest(&name, large.clone(), vec![], None), Err(StorageError::Full));

    let assert_kept = |store: &storage::Store| {
        assert_eq!(pull(store, &name, &old).unwrap(), b"old");
        let latest = store.manifest(&name, &Reference::Tag(tag("latest"))).unwrap().unwrap();
        assert_eq!(latest.digest, *index("old").digest());
        let tags = store.tags(&name, None, 10_000).unwrap().unwrap();
        assert_eq!(tags.len(), 1 + accepted, "a refused manifest left its tag, or one was lost");
        assert_eq!(store.counts().unwrap().manifests, 1 + accepted as u64);
    };
    assert_kept(&store);
    drop(ballast);
    // Nothing has to be restarted.
    assert_kept(&store);
    store.commit_upload(&writer, &sha256(b"new")).unwrap();
    assert_eq!(pull(&store, &name, &sha256(b"new")).unwrap(), b"new");
    store.push_manifest(&name, large.clone(), vec![tag("large")], None).unwrap();
    store.delete_tag(&name, &tag("large"), None).unwrap();
    store.delete_manifest(&name, large.digest(), None).unwrap();
    drop(store);
    assert_kept(&try_open(&root, false).unwrap());
}

#[test]
fn writers_that_hit_the_end_of_the_disk_together_lose_nothing_acknowledged() {
    let test = "full::writers_that_hit_the_end_of_the_disk_together_lose_nothing_acknowledged";
    let Some(disk) = on_a_small_disk(test) else { return };
    let root = disk.join("data");
    let store = open(&root);
    let name = repo("a");
    // Each of these takes some room; at some point there is none in the middle of a group.
    let mark = |thread: usize, n: usize| format!("{thread} {n} {}", "x".repeat(100 * 1024));
    let acknowledged: Vec<(usize, usize)> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|thread| {
                let (store, name) = (&store, &name);
                scope.spawn(move || {
                    let put =
                        |n: usize| store.push_manifest(name, index(&mark(thread, n)), vec![], None);
                    let count = (0..).find(|&n| {
                        let outcome = put(n);
                        assert!(matches!(outcome, Ok(_) | Err(StorageError::Full)), "{outcome:?}");
                        outcome.is_err()
                    });
                    (thread, count.unwrap())
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let total: usize = acknowledged.iter().map(|(_, count)| count).sum();
    assert!(total > 10, "the disk was full at once");
    let assert_kept = |store: &storage::Store| {
        for &(thread, count) in &acknowledged {
            for n in 0..count {
                let by_digest = Reference::Digest(*index(&mark(thread, n)).digest());
                assert!(store.manifest(&name, &by_digest).unwrap().is_some(), "{thread} {n}");
            }
        }
        assert_eq!(store.counts().unwrap().manifests, total as u64);
    };
    assert_kept(&store);
    drop(store);
    assert_kept(&try_open(&root, false).unwrap());
}

#[test]
fn a_full_disk_does_not_keep_a_store_closed() {
    let test = "full::a_full_disk_does_not_keep_a_store_closed";
    let Some(disk) = on_a_small_disk(test) else { return };
    let root = disk.join("data");
    let store = open(&root);
    let digest = push(&store, &repo("a"), b"content");
    drop(store);
    // What a crash may leave: nothing in it could be overwritten in place.
    fs::write(root.join("lock"), "").unwrap();
    let _ballast = Ballast::fill(&disk, 0);
    let store = try_open(&root, false).unwrap();
    assert_eq!(pull(&store, &repo("a"), &digest).unwrap(), b"content");
    let pushed = try_push(&store, &repo("a"), &vec![7; 2 << 20]);
    assert!(matches!(pushed, Err(StorageError::Full | StorageError::NoRoom { .. })), "{pushed:?}");
    assert_eq!(pull(&store, &repo("a"), &digest).unwrap(), b"content");
}

fn large_index(bytes: usize) -> oci::Manifest {
    let text = format!(
        r#"{{"schemaVersion":2,"manifests":[],"annotations":{{"mark":"{}"}}}}"#,
        "x".repeat(bytes)
    );
    parse(text, oci::MediaType::OCI_INDEX, Algorithm::Sha256)
}
