//! One blob cut out of an archive: it is named, with the images that it hurts, and the others are
//! whole.

use std::collections::BTreeSet;
use std::fs;

use archive::Contents;
use oci::Digest;

use crate::support::{entries, fixture, scan_bytes};

#[test]
fn a_blob_that_was_cut_out_is_named_with_the_images_that_it_hurts() {
    for (name, kept_lists) in [
        ("oc-mirror-a-operators/mirror_000001.tar", 5),
        ("distribution3-data.tar", 4),
        ("oc-adm-release-mirror-to-dir.tar", 0),
        // Nothing in a layout says that a list was whole, so what it lacks is left away on purpose.
        ("crane-layout.tar", 4),
        // Beside the list, the index names what it lists.
        ("oras-backup.tar", 0),
    ] {
        let bytes = fs::read(fixture(name)).unwrap();
        let before = scan_bytes(&bytes).unwrap();
        let mut told_apart = 0;
        for cut in before.blobs().keys() {
            told_apart += usize::from(check(&before, &without(&bytes, cut), cut, name));
        }
        let lists = before.images().iter().map(|it| before.parts(&it.digest).manifests.len());
        assert!(lists.clone().any(|count| count > 1) || kept_lists == 0, "{name}");
        assert!(told_apart >= kept_lists, "{name}: {told_apart}");
    }
}

/// Checks what is told of an archive without one blob. Whether the images are whole without it.
fn check(before: &Contents, bytes: &[u8], cut: &Digest, name: &str) -> bool {
    let after = scan_bytes(bytes).unwrap();
    assert_eq!(after.blobs().len(), before.blobs().len() - 1, "{name} {cut}");
    let uses = |number: &usize| {
        let parts = before.parts(&before.images()[*number].digest);
        parts.blobs.contains(cut) || parts.manifests.contains(cut)
    };
    let hurt: BTreeSet<usize> = (0..before.images().len()).filter(uses).collect();
    // What a list named counts by itself without it.
    let (named, alone) = after.images().split_at(before.images().len());
    assert_eq!(named, before.images(), "{name} {cut}");
    let listed = before.parts(cut).manifests;
    assert!(alone.iter().all(|it| it.tag.is_none() && listed.contains(&it.digest)), "{name} {cut}");
    let missing = after.missing().iter().find(|it| it.digest == *cut);
    if let Some(missing) = missing {
        assert_eq!(missing.images.iter().copied().collect::<BTreeSet<_>>(), hurt, "{name} {cut}");
        assert_eq!(after.missing().len(), 1, "{name} {cut}");
    }
    for (number, image) in after.images().iter().enumerate() {
        let is_hurt = missing.is_some() && hurt.contains(&number);
        assert_eq!(after.is_whole(&image.digest), !is_hurt, "{name} {cut}");
    }
    // A manifest that a list names may be left away. The tree of a registry says that it was there,
    // and so does an index that names what the list does.
    let apart = after.absent_revisions().iter().filter(|it| it.digest == *cut);
    let apart: BTreeSet<usize> = apart.flat_map(|it| it.images.iter().copied()).collect();
    let is_manifest = before.parts(cut).manifests.contains(cut);
    assert!(hurt.is_empty() || missing.is_some() || is_manifest, "{name} {cut}");
    if !name.contains("layout") && missing.is_none() {
        assert_eq!(apart, hurt, "{name} {cut}");
    }
    missing.is_none() && !hurt.is_empty()
}

/// The archive without any entry that is the blob, or a link to it.
fn without(bytes: &[u8], digest: &Digest) -> Vec<u8> {
    let hex = digest.hex();
    let is_blob = |path: &str| path.contains("blobs/") && path.contains(&hex);
    let mut left = bytes.to_vec();
    for (path, range) in entries(bytes).into_iter().rev() {
        if is_blob(&path) && !path.starts_with("working-dir/") {
            left.drain(range);
        }
    }
    left
}
