//! Publishing over what is there: a push always leaves the right bytes, and no failure takes away
//! what a row names.

use std::fs;
use std::os::unix::fs::MetadataExt;

use bytes::Bytes;
use durable::IoError;
use oci::Algorithm;
use storage::{StorageError, Trouble, Verification};

use crate::full::{Ballast, on_a_small_disk};
use crate::support::{
    account, blob_path, directory, files, index, open, open_files, pull, push, repo, sha256,
};

#[test]
fn a_push_puts_right_bytes_over_wrong_ones_that_nobody_has_noticed() {
    let home = directory();
    let store = open(home.path());
    let content = b"content";
    for name in ["a", "b"] {
        let digest = push(&store, &repo("a"), content);
        let path = blob_path(home.path(), &digest);
        fs::write(&path, "conteNt").unwrap();
        let reader = store.open_blob(&repo("a"), &digest).unwrap().unwrap();
        push(&store, &repo(name), content);
        assert_eq!(pull(&store, &repo("a"), &digest).unwrap(), content);
        assert_eq!(pull(&store, &repo(name), &digest).unwrap(), content);
        // Who was reading goes on with what was there.
        assert_eq!(reader.read_at(0, 100).unwrap(), b"conteNt");
        assert_eq!(files(home.path(), "blobs"), [path]);
    }
    let how = Verification { bytes_per_second: None, is_dry_run: false };
    let verified = store.verify(&how, &mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    assert!(verified.is_done && verified.findings.is_empty(), "{verified:?}");
    assert!(open_files(home.path()).is_empty());
}

#[test]
fn what_is_published_has_one_name() {
    let home = directory();
    let store = open(home.path());
    for name in ["a", "a", "b"] {
        let digest = push(&store, &repo(name), b"content");
        assert_eq!(fs::metadata(blob_path(home.path(), &digest)).unwrap().nlink(), 1);
    }
    let counts = store.counts().unwrap();
    assert_eq!((counts.blobs, counts.blob_bytes), (1, 7));
}

#[test]
fn a_name_that_cannot_be_given_leaves_the_upload_to_be_tried_again() {
    let home = directory();
    let store = open(home.path());
    let (name, pusher, digest) = (repo("b"), account("pusher"), sha256(b"content"));
    push(&store, &repo("a"), b"content");
    let path = blob_path(home.path(), &digest);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let id = store.create_upload(&name, &pusher, Algorithm::Sha256).unwrap();
    let writer = store.open_upload(&name, &pusher, id).unwrap();
    writer.append(&[Bytes::from_static(b"content")]).unwrap();
    for _ in 0..2 {
        let outcome = store.commit_upload(&writer, &digest);
        assert!(
            matches!(
                outcome,
                Err(StorageError::Failed(Trouble::Io(IoError { action: "rename", .. })))
            ),
            "{outcome:?}"
        );
        assert_eq!(store.upload_offset(&name, &pusher, id), Ok(7));
        assert!(path.is_dir());
    }
    fs::remove_dir(&path).unwrap();
    store.commit_upload(&writer, &digest).unwrap();
    for name in ["a", "b"] {
        assert_eq!(pull(&store, &repo(name), &digest).unwrap(), b"content");
    }
}

#[test]
fn a_row_that_does_not_fit_takes_no_file_away_that_another_row_names() {
    let test = "publish::a_row_that_does_not_fit_takes_no_file_away_that_another_row_names";
    let Some(disk) = on_a_small_disk(test) else { return };
    let root = disk.join("data");
    let store = open(&root);
    let (name, other, pusher) = (repo("a"), repo("b"), account("pusher"));
    let digest = push(&store, &name, b"content");
    let (path, lost) = (blob_path(&root, &digest), push(&store, &name, b"was lost"));
    let begin = |content: &'static [u8]| {
        let id = store.create_upload(&other, &pusher, Algorithm::Sha256).unwrap();
        let writer = store.open_upload(&other, &pusher, id).unwrap();
        writer.append(&[Bytes::from_static(content)]).unwrap();
        (id, writer)
    };
    let uploads = [begin(b"content"), begin(b"was lost")];
    fs::write(blob_path(&root, &lost), "is wrong").unwrap();
    let how = Verification { bytes_per_second: None, is_dry_run: false };
    store.verify(&how, &mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    fs::write(&path, "conteNt").unwrap();

    let ballast = Ballast::fill(&disk, 0);
    // The log may have room for some rows.
    (0..).find(|n| store.push_manifest(&name, index(&n.to_string()), vec![], None).is_err());
    for ((id, writer), digest) in uploads.iter().zip([digest, lost]) {
        for _ in 0..2 {
            assert_eq!(store.commit_upload(writer, &digest), Err(StorageError::Full));
            assert!(store.upload_offset(&other, &pusher, *id).is_ok(), "the session ended");
            assert_eq!(store.blob_size(&other, &digest), Ok(None));
        }
    }
    assert!(path.exists());
    drop(ballast);
    for ((_, writer), digest) in uploads.iter().zip([digest, lost]) {
        store.commit_upload(writer, &digest).unwrap();
    }
    for name in [&name, &other] {
        assert_eq!(pull(&store, name, &digest).unwrap(), b"content");
        assert_eq!(pull(&store, name, &lost).unwrap(), b"was lost");
    }
}
