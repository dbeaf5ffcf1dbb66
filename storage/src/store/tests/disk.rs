//! The disk holds other bytes than the connections to the database have in memory.

use std::os::unix::fs::FileExt;

use oci::Hasher;

use super::*;
use crate::verify::{Finding, Verification};

/// Writes `after` in the place of `before` on the disk, below the database, in whose file that
/// stands once.
fn change_below(store: &Store, before: &[u8], after: &[u8]) {
    store.database.empty_log().unwrap();
    let path = store.layout().database();
    let bytes = fs::read(&path).unwrap();
    let places: Vec<usize> = bytes
        .windows(before.len())
        .enumerate()
        .filter_map(|(at, window)| (window == before).then_some(at))
        .collect();
    assert_eq!(places.len(), 1, "{places:?}");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(after, places[0] as u64).unwrap();
}

/// An index that names nothing and is found by its mark, of so many bytes.
fn marked(mark: &str, length: usize) -> Manifest {
    index(&format!("{}{mark}", "-".repeat(length)))
}

fn get(store: &Store, name: &str, manifest: &Manifest) -> Result<bool, StorageError> {
    let found = store.manifest(&repo(name), &Reference::Digest(*manifest.digest()))?;
    Ok(found.is_some_and(|found| found.bytes == *manifest.bytes()))
}

fn push_manifest(store: &Store, name: &str, manifest: &Manifest) {
    store.push_manifest(&repo(name), manifest.clone(), Vec::new(), None).unwrap();
}

#[test]
fn a_push_leaves_the_right_bytes_of_a_manifest_whoever_holds_it_or_held_it() {
    type Between = fn(&Store, &Manifest);
    let betweens: [(&str, Between); 4] = [
        ("a", |_, _| {}),
        ("b", |_, _| {}),
        ("a", |store, manifest| {
            assert!(store.delete_manifest(&repo("a"), manifest.digest(), None).unwrap());
        }),
        ("b", |store, manifest| {
            assert!(store.delete_manifest(&repo("a"), manifest.digest(), None).unwrap());
        }),
    ];
    // Within a page of the database, and on pages of its own.
    for length in [0, 20_000] {
        for (number, (name, between)) in betweens.into_iter().enumerate() {
            let (_home, store) = open();
            let manifest = marked("the mark", length);
            push_manifest(&store, "a", &manifest);
            change_below(&store, b"the mark", b"the MARK");
            between(&store, &manifest);
            push_manifest(&store, name, &manifest);
            assert_eq!(get(&store, name, &manifest), Ok(true), "{number}, {length}");
            // Not from memory.
            store.database.empty_log().unwrap();
            let bytes = fs::read(store.layout().database()).unwrap();
            assert!(!bytes.windows(8).any(|window| window == b"the MARK"), "{number}, {length}");
            assert_eq!(store.lost(), Ok(Lost::default()));
        }
    }
}

#[test]
fn what_is_restored_has_the_right_bytes_on_the_disk_too() {
    let (_home, store) = open();
    let manifest = marked("the mark", 0);
    put(&store, "a", &manifest, "t");
    store.delete_manifest(&repo("a"), manifest.digest(), None).unwrap();
    change_below(&store, b"the mark", b"the MARK");
    let point = RestorePoint::LastChange;
    store.restore_tag(&repo("a"), &"t".parse().unwrap(), point, None).unwrap();
    assert_eq!(get(&store, "a", &manifest), Ok(true));
    store.database.empty_log().unwrap();
    assert_eq!(get(&store, "a", &manifest), Ok(true));
    // Where memory holds them no more, it is refused by what is true of it.
    store.delete_manifest(&repo("a"), manifest.digest(), None).unwrap();
    change_below(&store, b"the mark", b"the MARK");
    store.database.write(|transaction| transaction.forget_memory()).unwrap();
    let lost =
        StorageError::ManifestLost { manifest: *manifest.digest(), lost: *manifest.digest() };
    assert_eq!(store.restore_manifest(&repo("a"), manifest.digest()), Err(lost));
}

#[test]
fn a_manifest_that_went_bad_on_the_disk_is_noted_as_lost_by_whoever_meets_it_first() {
    let (_home, store) = open();
    let manifest = marked("the mark", 0);
    push_manifest(&store, "a", &manifest);
    change_below(&store, b"the mark", b"the MARK");
    let lost =
        StorageError::ManifestLost { manifest: *manifest.digest(), lost: *manifest.digest() };
    for _ in 0..2 {
        assert_eq!(get(&store, "a", &manifest), Err(lost.clone()));
        assert_eq!(store.lost(), Ok(Lost { blobs: 0, manifests: 1 }));
    }
    push_manifest(&store, "b", &manifest);
    assert_eq!(get(&store, "a", &manifest), Ok(true));
    assert_eq!(store.lost(), Ok(Lost::default()));
}

/// A blob of 77 bytes, and its row up to where its size stands.
fn blob_of_77_bytes() -> (&'static [u8], Vec<u8>) {
    const CONTENT: [u8; 77] = [7; 77];
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(&CONTENT);
    (&CONTENT, hasher.finish().to_string().into_bytes())
}

#[test]
fn a_size_that_went_bad_on_the_disk_is_mended_by_a_push_and_by_who_asks() {
    type Mend = fn(&Store, &'static [u8]);
    let mends: [Mend; 3] = [
        |store, content| {
            push(store, "a", content);
        },
        |store, content| {
            push(store, "b", content);
        },
        |store, content| {
            let digest = Digest::of(Algorithm::Sha256, content);
            let found = store.blob(&repo("a"), &digest, 1000).unwrap();
            assert!(matches!(found, Some(BlobContent::Whole(_))));
        },
    ];
    for mend in mends {
        let (_home, store) = open();
        let (content, row) = blob_of_77_bytes();
        let digest = push(&store, "a", content);
        let with = |size: u8| [row.as_slice(), &[size]].concat();
        change_below(&store, &with(77), &with(76));
        assert_eq!(store.blob_size(&repo("a"), &digest), Ok(None), "readers see it");
        mend(&store, content);
        assert_eq!(store.blob_size(&repo("a"), &digest), Ok(Some(77)));
        assert_eq!(store.lost(), Ok(Lost::default()));
    }
}

#[test]
fn verification_mends_what_the_disk_holds_and_not_what_memory_does() {
    let (_home, store) = open();
    let subject = *index("subject").digest();
    let text = format!(
        r#"{{"schemaVersion":2,"manifests":[],"artifactType":"a/kind",
            "annotations":{{"mark":"1"}},
            "subject":{{"mediaType":"a/b","digest":"{subject}","size":1}}}}"#
    );
    let media_type = MediaType::OCI_INDEX.parse().unwrap();
    let referrer = Manifest::parse(Bytes::from(text), Some(media_type), Algorithm::Sha256).unwrap();
    push_manifest(&store, "a", &referrer);
    // What lists show of it, which stands behind its type in the row.
    change_below(&store, br#"a/kind{"mark":"1""#, br#"a/kind{"mark":"2""#);
    let shown = || -> String {
        let query = "SELECT annotations FROM repository_manifests";
        let (shown,) = store.database.read(|reader| reader.row::<(String,)>(query)).unwrap();
        shown
    };
    assert_eq!(shown(), r#"{"mark":"2"}"#);
    let how = Verification { bytes_per_second: None, is_dry_run: false };
    let run = || store.verify(&how, &mut |_| ControlFlow::Continue(())).unwrap().findings;
    assert_eq!(run(), [Finding::Record(*referrer.digest())]);
    assert_eq!(shown(), r#"{"mark":"1"}"#);
    assert_eq!(run(), []);
}
