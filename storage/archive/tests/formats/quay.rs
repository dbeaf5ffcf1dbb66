//! The store of a Quay, whose names come from elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use archive::{Contents, Format, Inventory, Opened, ScanError, Source};
use oci::{Digest, RepoName, Tag};

use crate::support::{check_blobs, fixture, open, stream, tell};

/// What its database says.
const NAMES: [(&str, &str, &str); 4] = [
    (
        "fuse7/fuse-apicurito",
        "1.2",
        "759180b3debc05786b8ebfe1595c40affe048e898bec9145539a8a381a65af67",
    ),
    (
        "fuse7/fuse-apicurito",
        "latest",
        "30bff82b8e9d46335b16e65087ea496da3767ae898201ae0a224d9eb40e8ebf9",
    ),
    (
        "synthetic/tiny-docker",
        "1.0",
        "090c2d49b3aeee0b602b9a0069c09374e9b9322a9252a2e16f60f5f200e5677c",
    ),
    (
        "synthetic/tiny-oci",
        "1.0",
        "49fa985eee8a29f6253db7d15d25559d0f2f52f570fe65b3a3b2f5090fbbe618",
    ),
];

fn names() -> Vec<(RepoName, Tag, Digest)> {
    let name = |(repository, tag, hex): (&str, &str, &str)| {
        let digest = format!("sha256:{hex}").parse().unwrap();
        (repository.parse().unwrap(), tag.parse().unwrap(), digest)
    };
    NAMES.map(name).into()
}

/// The store, unpacked: the directory above it, and itself.
fn unpacked() -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(fixture("quay-go-data.tar.gz")).arg("-C").arg(place.path());
    assert!(tar.status().unwrap().success());
    let store = place.path().join("quay-go");
    (place, store)
}

fn scan(source: &mut Source) -> Result<Contents, ScanError> {
    let mut inventory = Inventory::new();
    source.scan(&mut inventory)?;
    Ok(inventory.contents())
}

#[test]
fn its_images_are_those_that_the_database_names() {
    let (_place, store) = unpacked();
    let mut source = open(&store);
    assert_eq!(source.database(), Some(store.join("quay.db").as_path()));
    source.name(names(), BTreeMap::new());
    let contents = scan(&mut source).unwrap();
    let images: Vec<String> = contents.images().iter().map(tell).collect();
    let expected = NAMES.map(|(repository, tag, hex)| format!("{repository}:{tag} sha256:{hex}"));
    assert_eq!(images, expected);
    assert!(contents.images().iter().all(|image| contents.is_whole(&image.digest)));
    assert_eq!(contents.sources()[0].formats, BTreeSet::from([Format::Quay]));
    assert_eq!(contents.sources()[0].damage, []);
    assert_eq!(contents.blobs().len(), 26);
    check_blobs(&source, &contents);
}

#[test]
fn manifests_that_lie_in_the_database_are_held_like_files() {
    let (_place, store) = unpacked();
    let mut source = open(&store);
    let mut manifests = BTreeMap::new();
    for (_, _, digest) in names() {
        let file = store.join(format!("storage/sha256/{}/{}", &digest.hex()[..2], digest.hex()));
        assert!(source.has_file(&digest));
        manifests.insert(digest, fs::read(&file).unwrap().into());
        fs::remove_file(file).unwrap();
        assert!(!source.has_file(&digest));
    }
    source.name(names(), manifests);
    let contents = scan(&mut source).unwrap();
    assert_eq!(contents.images().len(), NAMES.len());
    assert!(contents.images().iter().all(|image| contents.is_whole(&image.digest)));
    assert_eq!(contents.blobs().len(), 26);
    check_blobs(&source, &contents);
}

#[test]
fn what_its_storage_lacks_hurts_the_images_that_need_it() {
    let (_place, store) = unpacked();
    let cut =
        |hex: &str| fs::remove_file(store.join(format!("storage/sha256/{}/{hex}", &hex[..2])));
    // A layer of one image of a list, and the manifest of another image.
    let layer = "01a2cd7902b0517aeb4d3e247dfe086830d9d1144c6579b171357ba9e77b7b9f";
    let manifest = NAMES[0].2;
    cut(layer).unwrap();
    cut(manifest).unwrap();
    let mut source = open(&store);
    source.name(names(), BTreeMap::new());
    let contents = scan(&mut source).unwrap();
    let missing = contents.missing().iter().map(|it| {
        let images: Vec<&str> = it.images.iter().map(|number| NAMES[*number].0).collect();
        (it.digest.hex().to_owned(), it.is_manifest, images)
    });
    let expected = [
        (layer.to_owned(), false, vec!["synthetic/tiny-oci"]),
        (manifest.to_owned(), true, vec!["fuse7/fuse-apicurito"]),
    ];
    assert_eq!(missing.collect::<Vec<_>>(), expected);
}

#[test]
fn without_what_the_database_says_it_is_refused() {
    let (place, store) = unpacked();
    let refused = |path: &Path| {
        let mut source = open(path);
        assert_eq!(scan(&mut source).unwrap_err(), ScanError::NamesInDatabase, "{path:?}");
        source
    };
    refused(&store);
    assert_eq!(refused(place.path()).database(), None);
    let tar = place.path().join("quay.tar");
    let status = Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&store).arg(".").status();
    assert!(status.unwrap().success());
    assert_eq!(refused(&tar).database(), None);
    let streamed = stream(fs::File::open(&tar).unwrap());
    assert_eq!(streamed.unwrap_err(), ScanError::NamesInDatabase);
    // Neither what is called so alone, nor with a link in its place, is such a store.
    fs::rename(store.join("storage"), store.join("elsewhere")).unwrap();
    assert_eq!(open(&store).database(), None);
    fs::rename(store.join("elsewhere"), store.join("storage")).unwrap();
    fs::rename(store.join("quay.db"), store.join("other.db")).unwrap();
    std::os::unix::fs::symlink("other.db", store.join("quay.db")).unwrap();
    assert!(matches!(archive::open(&store), Ok(Opened::Source(it)) if it.database().is_none()));
}
