//! Writing to an upload session: pieces, digests, take-over, and what a restart leaves of it.

use std::fs::{self, OpenOptions};
use std::io::Write;

use bytes::Bytes;
use oci::{Algorithm, RepoName};
use storage::{Account, StorageError, Store, UploadId};

use crate::support::{account, directory, files, open, open_files, pull, repo, sha256, sha512};

fn begin(store: &Store, algorithm: Algorithm) -> (RepoName, Account, UploadId) {
    let (name, pusher) = (repo("a/b"), account("pusher"));
    let id = store.create_upload(&name, &pusher, algorithm).unwrap();
    (name, pusher, id)
}

fn append(
    store: &Store,
    (name, user, id): &(RepoName, Account, UploadId),
    pieces: &[&'static str],
) -> u64 {
    let writer = store.open_upload(name, user, *id).unwrap();
    let pieces: Vec<Bytes> =
        pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect();
    writer.append(&pieces).unwrap()
}

#[test]
fn pieces_add_up_to_a_blob_and_the_session_is_over() {
    let home = directory();
    let store = open(home.path());
    let session = begin(&store, Algorithm::Sha256);
    let (name, user, id) = &session;
    assert_eq!(store.upload_offset(name, user, *id), Ok(0));
    assert_eq!(append(&store, &session, &["one ", "", "two "]), 8);
    assert_eq!(append(&store, &session, &[]), 8);
    assert_eq!(append(&store, &session, &["three"]), 13);
    assert_eq!(store.upload_offset(name, user, *id), Ok(13));
    let digest = sha256(b"one two three");
    assert_eq!(store.blob_size(name, &digest), Ok(None), "visible before its commit");
    let writer = store.open_upload(name, user, *id).unwrap();
    assert_eq!(writer.offset(), Ok(13));
    store.commit_upload(&writer, &digest).unwrap();
    assert_eq!(pull(&store, name, &digest).unwrap(), b"one two three");
    assert_eq!(writer.append(&[Bytes::from_static(b"more")]), Err(StorageError::UploadUnknown));
    assert_eq!(store.commit_upload(&writer, &digest), Err(StorageError::UploadUnknown));
    assert_eq!(store.upload_offset(name, user, *id), Err(StorageError::UploadUnknown));
    assert_eq!(store.open_uploads(), 0);
    assert!(open_files(home.path()).is_empty());
    assert_eq!(pull(&store, name, &digest).unwrap(), b"one two three");
}

#[test]
fn a_long_upload_is_whole_though_the_disk_begins_with_it_early() {
    const MIB: usize = 1024 * 1024;
    let home = directory();
    let store = open(home.path());
    let (name, user, id) = begin(&store, Algorithm::Sha256);
    let content = Bytes::from_iter((0..20 * MIB).map(|at| (at * 7 + at / 4096) as u8));
    // Pieces that end where the disk begins with a stretch, before it and behind it.
    let mut rest = content.clone();
    for length in [8 * MIB - 1, 1, 3 * MIB + 5, 5 * MIB, 4 * MIB - 5] {
        let writer = store.open_upload(&name, &user, id).unwrap();
        writer.append(&[rest.split_to(length)]).unwrap();
    }
    assert!(rest.is_empty());
    let (digest, writer) = (sha256(&content), store.open_upload(&name, &user, id).unwrap());
    store.commit_upload(&writer, &digest).unwrap();
    assert!(pull(&store, &name, &digest).unwrap() == content);
}

#[test]
fn a_blob_may_be_empty() {
    let home = directory();
    let store = open(home.path());
    let (name, user, id) = begin(&store, Algorithm::Sha256);
    let writer = store.open_upload(&name, &user, id).unwrap();
    store.commit_upload(&writer, &sha256(b"")).unwrap();
    assert_eq!(store.blob_size(&name, &sha256(b"")), Ok(Some(0)));
    assert_eq!(pull(&store, &name, &sha256(b"")).unwrap(), b"");
}

#[test]
fn a_wrong_digest_is_told_and_ends_the_session() {
    let home = directory();
    let store = open(home.path());
    for (wrong, actual) in
        [(sha256(b"other"), sha256(b"content")), (sha512(b"other"), sha512(b"content"))]
    {
        let session = begin(&store, Algorithm::Sha256);
        let (name, user, id) = &session;
        append(&store, &session, &["content"]);
        let writer = store.open_upload(name, user, *id).unwrap();
        let mismatch = StorageError::DigestMismatch { expected: wrong, actual };
        assert_eq!(store.commit_upload(&writer, &wrong), Err(mismatch));
        assert_eq!(store.blob_size(name, &wrong), Ok(None));
        assert_eq!(store.blob_size(name, &actual), Ok(None));
        // Bytes can only be added: it would never become what the client wants.
        let unknown = StorageError::UploadUnknown;
        assert_eq!(store.upload_offset(name, user, *id), Err(unknown.clone()));
        assert_eq!(store.commit_upload(&writer, &actual), Err(unknown.clone()));
        for digest in [wrong, actual] {
            let again = store.open_upload_to_finish(name, user, *id, &digest);
            assert_eq!(again.err(), Some(unknown.clone()));
        }
        assert!(files(home.path(), "uploads").is_empty());
    }
    assert_eq!(store.open_uploads(), 0);
}

#[test]
fn a_digest_of_the_other_algorithm_is_checked_by_reading_again() {
    let home = directory();
    let store = open(home.path());
    // More than is read at once, and no multiple of it.
    let content: Vec<u8> = (0u32..200_000).flat_map(u32::to_le_bytes).collect();
    for (begun_with, digest) in [
        (Algorithm::Sha256, sha512(&content)),
        (Algorithm::Sha512, sha512(&content)),
        (Algorithm::Sha512, sha256(&content)),
    ] {
        let (name, user, id) = begin(&store, begun_with);
        let writer = store.open_upload(&name, &user, id).unwrap();
        for piece in content.chunks(70_001) {
            writer.append(&[Bytes::copy_from_slice(piece)]).unwrap();
        }
        store.commit_upload(&writer, &digest).unwrap();
        assert_eq!(pull(&store, &name, &digest).unwrap(), content);
    }
    let stored = files(home.path(), "blobs");
    assert_eq!(stored.len(), 2, "{stored:?}");
}

#[test]
fn a_session_goes_on_after_a_restart_with_its_hash_rebuilt() {
    for (begun_with, digest) in [
        (Algorithm::Sha256, sha256(b"before and after")),
        (Algorithm::Sha512, sha512(b"before and after")),
    ] {
        let home = directory();
        let store = open(home.path());
        let session = begin(&store, begun_with);
        let (name, user, id) = &session;
        append(&store, &session, &["before "]);
        drop(store);
        let store = open(home.path());
        assert_eq!(store.open_uploads(), 0, "a session is read when it is asked for");
        assert_eq!(store.upload_offset(name, user, *id), Ok(7));
        assert_eq!(store.open_uploads(), 1);
        assert_eq!(append(&store, &session, &["and after"]), 16);
        let writer = store.open_upload(name, user, *id).unwrap();
        store.commit_upload(&writer, &digest).unwrap();
        assert_eq!(pull(&store, name, &digest).unwrap(), b"before and after");
    }
}

#[test]
fn bytes_that_a_power_cut_tore_never_become_a_blob() {
    let home = directory();
    let torn: [fn(&std::path::Path); 3] = [
        |path| OpenOptions::new().write(true).open(path).unwrap().set_len(6).unwrap(),
        |path| fs::write(path, b"cont\0\0\0").unwrap(),
        |path| {
            OpenOptions::new().append(true).open(path).unwrap().write_all(b"!").unwrap();
        },
    ];
    for tear in torn {
        let store = open(home.path());
        let session = begin(&store, Algorithm::Sha256);
        let (name, user, id) = &session;
        append(&store, &session, &["content"]);
        drop(store);
        tear(&home.path().join("uploads").join(id.to_string()));
        let store = open(home.path());
        let writer = store.open_upload(name, user, *id).unwrap();
        let outcome = store.commit_upload(&writer, &sha256(b"content"));
        assert!(matches!(outcome, Err(StorageError::DigestMismatch { .. })), "{outcome:?}");
        assert_eq!(store.blob_size(name, &sha256(b"content")), Ok(None));
        assert!(files(home.path(), "uploads").is_empty());
    }
}

#[test]
fn a_later_request_takes_the_session_over() {
    let home = directory();
    let store = open(home.path());
    let session = begin(&store, Algorithm::Sha256);
    let (name, user, id) = &session;
    let first = store.open_upload(name, user, *id).unwrap();
    first.append(&[Bytes::from_static(b"one ")]).unwrap();
    let second = store.open_upload(name, user, *id).unwrap();
    assert_eq!(first.append(&[Bytes::from_static(b"lost")]), Err(StorageError::UploadTaken));
    assert_eq!(first.offset(), Err(StorageError::UploadTaken));
    assert_eq!(store.commit_upload(&first, &sha256(b"one ")), Err(StorageError::UploadTaken));
    assert_eq!(second.offset(), Ok(4), "the session outlives the writer that lost it");
    second.append(&[Bytes::from_static(b"two")]).unwrap();
    store.commit_upload(&second, &sha256(b"one two")).unwrap();
    assert_eq!(pull(&store, name, &sha256(b"one two")).unwrap(), b"one two");
}

#[test]
fn of_many_writers_at_once_only_the_last_one_writes() {
    let home = directory();
    let store = open(home.path());
    let session = begin(&store, Algorithm::Sha256);
    let (name, user, id) = &session;
    let piece = Bytes::from(vec![b'x'; 1000]);
    let written: u64 = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let writer = store.open_upload(name, user, *id).unwrap();
                    (0..20).map_while(|_| writer.append(std::slice::from_ref(&piece)).ok()).count()
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap() as u64).sum()
    });
    // Whatever the order was, what was acknowledged is there once, and the hash is that of it.
    assert_eq!(store.upload_offset(name, user, *id), Ok(written * 1000));
    let content = vec![b'x'; usize::try_from(written).unwrap() * 1000];
    let writer = store.open_upload(name, user, *id).unwrap();
    store.commit_upload(&writer, &sha256(&content)).unwrap();
    assert_eq!(pull(&store, name, &sha256(&content)).unwrap(), content);
}

#[test]
fn a_session_whose_file_is_gone_is_unknown_and_not_kept() {
    let home = directory();
    let store = open(home.path());
    let (name, user, id) = begin(&store, Algorithm::Sha256);
    fs::remove_file(home.path().join("uploads").join(id.to_string())).unwrap();
    assert_eq!(store.open_upload(&name, &user, id).err(), Some(StorageError::UploadUnknown));
    assert_eq!(store.open_uploads(), 0);
}
