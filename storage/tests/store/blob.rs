//! Blobs: reached through a repository only, kept once, read within their bounds.

use std::fs;
use std::sync::Barrier;

use bytes::Bytes;
use oci::Algorithm;
use storage::StorageError;

use crate::support::{
    account, blob_path, directory, files, image, open, open_files, pull, push, repo, sha256,
};

#[test]
fn two_threads_that_push_one_digest_at_once_both_succeed() {
    let home = directory();
    let store = open(home.path());
    for round in 0..10 {
        let content = format!("round {round}").repeat(1000);
        let (digest, start) = (sha256(content.as_bytes()), Barrier::new(2));
        std::thread::scope(|scope| {
            for name in ["first", "second"] {
                let (store, content, start) = (&store, &content, &start);
                scope.spawn(move || {
                    let (name, user) = (repo(name), account(name));
                    let id = store.create_upload(&name, &user, Algorithm::Sha256).unwrap();
                    let writer = store.open_upload(&name, &user, id).unwrap();
                    writer.append(&[Bytes::copy_from_slice(content.as_bytes())]).unwrap();
                    start.wait();
                    store.commit_upload(&writer, &digest).unwrap();
                });
            }
        });
        for name in ["first", "second"] {
            assert_eq!(pull(&store, &repo(name), &digest).unwrap(), content.as_bytes());
        }
        assert_eq!(files(home.path(), "blobs").len(), round + 1);
    }
    assert!(open_files(home.path()).is_empty());
    assert_eq!(store.counts().unwrap().blobs, 10);
}

#[test]
fn a_blob_whose_file_is_lost_is_absent_until_it_is_pushed_again() {
    let home = directory();
    let store = open(home.path());
    let (name, content) = (repo("a"), b"content");
    let digest = push(&store, &name, content);
    let path = blob_path(home.path(), &digest);
    let losses: [fn(&std::path::Path); 2] =
        [|path| fs::remove_file(path).unwrap(), |path| fs::write(path, "cont").unwrap()];
    for lose in losses {
        lose(&path);
        let lost = StorageError::BlobLost(digest);
        assert_eq!(store.open_blob(&name, &digest).map(drop), Err(lost));
        // A client that hears the blob is there never pushes it again.
        assert_eq!(store.blob_size(&name, &digest), Ok(None));
        for from in [Some(&name), None] {
            assert_eq!(store.mount_blob(from, &repo("b"), &digest), Ok(false));
        }
        assert_eq!(push(&store, &name, content), digest);
        assert_eq!(pull(&store, &name, &digest).unwrap(), content);
        assert_eq!(store.blob_size(&name, &digest), Ok(Some(7)));
    }
}

#[test]
fn reading_stays_within_the_blob() {
    let home = directory();
    let store = open(home.path());
    let digest = push(&store, &repo("a"), b"0123456789");
    let reader = store.open_blob(&repo("a"), &digest).unwrap().unwrap();
    assert_eq!(reader.size(), 10);
    for (offset, length, expected) in [
        (0, 10, "0123456789"),
        (0, 4, "0123"),
        (6, 4, "6789"),
        (6, 100, "6789"),
        (9, 1, "9"),
        (10, 1, ""),
        (11, 5, ""),
        (u64::MAX, usize::MAX, ""),
        (3, 0, ""),
    ] {
        assert_eq!(reader.read_at(offset, length).unwrap(), expected.as_bytes(), "{offset}");
    }
}

#[test]
fn an_open_blob_outlives_its_file() {
    let home = directory();
    let store = open(home.path());
    let digest = push(&store, &repo("a"), b"content");
    let reader = store.open_blob(&repo("a"), &digest).unwrap().unwrap();
    assert_eq!(store.delete_blob(&repo("a"), &digest), Ok(true));
    fs::remove_file(blob_path(home.path(), &digest)).unwrap();
    assert_eq!(reader.read_at(0, 7).unwrap(), b"content");
}

#[test]
fn a_blob_is_reached_through_a_repository_that_holds_it_only() {
    let home = directory();
    let store = open(home.path());
    let (a, b, c) = (repo("a"), repo("b"), repo("c"));
    let digest = push(&store, &a, b"content");
    assert_eq!(store.blob_size(&b, &digest), Ok(None));
    assert!(store.open_blob(&b, &digest).unwrap().is_none());
    assert_eq!(store.mount_blob(Some(&c), &b, &digest), Ok(false), "c does not hold it");
    assert_eq!(store.mount_blob(Some(&b), &b, &digest), Ok(false), "nor does b");
    assert_eq!(store.repository_exists(&b), Ok(false), "a mount that fails leaves nothing");
    assert_eq!(store.mount_blob(Some(&a), &b, &digest), Ok(true));
    assert_eq!(pull(&store, &b, &digest).unwrap(), b"content");
    assert_eq!(store.mount_blob(None, &c, &digest), Ok(true));
    assert_eq!(store.mount_blob(None, &c, &digest), Ok(true), "twice is once");
    assert_eq!(pull(&store, &c, &digest).unwrap(), b"content");
    assert_eq!(store.mount_blob(None, &c, &sha256(b"unknown")), Ok(false));
    // What one repository gives away, the others keep.
    assert_eq!(store.delete_blob(&a, &digest), Ok(true));
    assert_eq!(store.blob_size(&a, &digest), Ok(None));
    assert_eq!(store.blob_size(&b, &digest), Ok(Some(7)));
    assert_eq!(store.delete_blob(&b, &digest), Ok(true));
    assert_eq!(store.delete_blob(&c, &digest), Ok(true));
    assert_eq!(store.mount_blob(None, &a, &digest), Ok(false), "nobody holds it any more");
}

#[test]
fn a_blob_that_a_manifest_names_is_not_deleted() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    let (config, layer) = (push(&store, &name, b"{}"), push(&store, &name, b"layer"));
    assert_eq!(store.mount_blob(Some(&name), &repo("b"), &layer), Ok(true));
    let manifest = image(&config, &[layer]);
    let digest = *manifest.digest();
    store.push_manifest(&name, manifest.clone(), vec![], None).unwrap();
    for blob in [config, layer] {
        let refusal = StorageError::BlobInUse { manifest: digest };
        assert_eq!(store.delete_blob(&name, &blob), Err(refusal));
        assert!(store.open_blob(&name, &blob).unwrap().is_some());
    }
    assert_eq!(store.delete_blob(&repo("b"), &layer), Ok(true), "there no manifest names it");
    assert_eq!(store.delete_manifest(&name, &digest, None), Ok(true));
    assert_eq!(store.delete_blob(&name, &layer), Ok(true));
    assert_eq!(store.delete_blob(&name, &layer), Ok(false));
    assert_eq!(store.delete_blob(&repo("unknown"), &layer), Ok(false));
    assert_eq!(
        store.push_manifest(&name, manifest, vec![], None),
        Err(StorageError::MissingBlobs(vec![layer]))
    );
}

#[test]
fn deleting_a_blob_and_putting_its_manifest_at_once_leaves_one_of_them() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    let config = push(&store, &name, b"{}");
    for round in 0..20 {
        let layer = push(&store, &name, format!("layer {round}").as_bytes());
        let (manifest, start) = (image(&config, &[layer]), Barrier::new(2));
        let (put, deleted) = std::thread::scope(|scope| {
            let put = scope.spawn(|| {
                start.wait();
                store.push_manifest(&name, manifest.clone(), vec![], None)
            });
            start.wait();
            let deleted = store.delete_blob(&name, &layer);
            (put.join().unwrap(), deleted)
        });
        let manifest = *manifest.digest();
        match (put, deleted) {
            (Ok(_), Err(StorageError::BlobInUse { manifest: named })) => {
                assert_eq!(named, manifest);
            }
            (Err(StorageError::MissingBlobs(missing)), Ok(true)) => assert_eq!(missing, [layer]),
            both => panic!("{both:?}"),
        }
    }
}
