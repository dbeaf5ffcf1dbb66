//! What can be restored keeps its blobs, also those that were deleted after it.

use super::*;

/// Pushes an image of these contents as `a:v1`; the image, and its blobs.
fn pushed<const N: usize>(store: &Store, contents: [&str; N]) -> (Digest, [Digest; N]) {
    let blobs = contents.map(|content| push(store, "a", content.as_bytes()));
    (put(store, "a", &image(&blobs), &["v1"]), blobs)
}

/// Deletes a manifest, and then its blobs.
fn delete(store: &Store, manifest: &Digest, blobs: &[Digest]) {
    assert_eq!(store.delete_manifest(&repo("a"), manifest, None), Ok(true));
    for blob in blobs {
        assert_eq!(store.delete_blob(&repo("a"), blob), Ok(true));
    }
}

fn restore(store: &Store) -> Result<Option<Digest>, StorageError> {
    let restored = store.restore_tag(&repo("a"), &tags(&["v1"])[0], RestorePoint::LastChange, None);
    restored.map(|restored| restored.after)
}

#[test]
fn blobs_that_were_deleted_after_their_manifest_come_back_with_it() {
    let (_directory, store) = open();
    let (manifest, blobs) = pushed(&store, ["config", "layer"]);
    delete(&store, &manifest, &blobs);
    let keep = Keep { deleted: HOUR, ..NOTHING };
    assert_eq!(collect(&store, &keep).blobs, 0);
    let index = crate::BlobIndex::open(&store.layout.database()).unwrap();
    for blob in &blobs {
        // A backup has it.
        let shard = u8::from_str_radix(&blob.hex()[..2], 16).unwrap();
        let named = index.shard(Algorithm::Sha256, shard).unwrap();
        assert!(named.iter().any(|named| named.digest == *blob && named.is_held));
        // To everybody they are gone.
        assert!(!has(&store, "a", blob));
        assert!(store.open_blob(&repo("a"), blob).unwrap().is_none());
        assert_eq!(store.delete_blob(&repo("a"), blob), Ok(false));
        for from in [Some(&repo("a")), None] {
            assert_eq!(store.mount_blob(from, &repo("b"), blob), Ok(false));
        }
    }
    let refused = store.push_manifest(&repo("a"), image(&blobs), Vec::new(), None);
    assert_eq!(refused, Err(StorageError::MissingBlobs(blobs.to_vec())));
    assert_eq!(restore(&store), Ok(Some(manifest)));
    assert!(blobs.iter().all(|blob| has(&store, "a", blob)));
    assert_eq!(collect(&store, &NOTHING).blobs, 0);
    assert!(matches!(
        store.delete_blob(&repo("a"), &blobs[0]),
        Err(StorageError::BlobInUse { .. })
    ));
}

#[test]
fn what_nothing_can_bring_back_any_more_is_freed_and_no_other_repository_gets_it() {
    let (_directory, store) = open();
    let (manifest, blobs) = pushed(&store, ["config", "layer"]);
    // The same image elsewhere: what was deleted here stays there, and says nothing there.
    for content in ["config", "layer"] {
        push(&store, "b", content.as_bytes());
    }
    let there = put(&store, "b", &image(&blobs), &["v1"]);
    delete(&store, &manifest, &blobs);
    assert_eq!(store.delete_manifest(&repo("b"), &there, None), Ok(true));
    assert_eq!(store.delete_blob(&repo("b"), &blobs[0]), Ok(true));
    let mut on_step = |_: &Collected| ControlFlow::Continue(());
    let promised = store.collect(&NOTHING, true, &mut on_step).unwrap();
    let done = collect(&store, &NOTHING);
    assert_eq!((done.links, done.blobs), (1, 2));
    assert_eq!(promised, Collected { repositories: 0, ..done });
    assert!(sizes(&store).iter().all(|(_, size)| *size == 0), "{:?}", sizes(&store));
}

#[test]
fn a_restoration_that_lacks_one_blob_brings_back_none() {
    let (_directory, store) = open();
    let (manifest, blobs) = pushed(&store, ["config", "layer"]);
    delete(&store, &manifest, &blobs);
    let file = store.layout.blob(&blobs[1]);
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let lacking = StorageError::BlobsCollected { digest: manifest, blobs: vec![blobs[1]] };
    assert_eq!(restore(&store), Err(lacking));
    assert!(!has(&store, "a", &blobs[0]));
    fs::write(&file, bytes).unwrap();
    assert_eq!(restore(&store), Ok(Some(manifest)));
    assert!(has(&store, "a", &blobs[0]));
}
