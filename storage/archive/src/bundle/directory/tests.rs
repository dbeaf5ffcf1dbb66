use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::os::unix::fs::symlink;

use oci::{Algorithm, Digest};

use super::*;
use crate::bundle::{
    BlobFault, BundleDocument, BundleNumber, DOCUMENT, Draft, SIGNATURE, checksum_of, write_tar,
};

const CONTENT: &[u8] = b"the bytes of a blob";

fn blob() -> Blob {
    Blob { digest: Digest::of(Algorithm::Sha256, CONTENT), size: CONTENT.len() as u64 }
}

fn volume() -> Volume {
    let (blobs, sizes) = ([blob()], BTreeMap::from([(blob().digest, blob().size)]));
    let about = BundleDocument {
        bundle: BundleNumber::of(1),
        registry: "0a".parse().unwrap(),
        key: format!("{}=", "k".repeat(43)).parse().unwrap(),
        made: 0,
        volume: 1,
        volumes: 1,
        checksum: checksum_of(&sizes),
        bases: Vec::new(),
        files: BTreeMap::new(),
        manifests: BTreeMap::new(),
        blobs: BTreeMap::new(),
    };
    Draft::new(about, "today", &blobs, &HashSet::new(), &[]).unwrap().signed([7; 64])
}

/// Writes the volume where its blob is read as this.
fn write(root: &Path, read: &Result<&'static [u8], BlobFault>) -> Result<u64, WriteError> {
    let mut count = 0;
    let mut open = |_: &Digest| match read {
        Ok(bytes) => Ok(Box::new(Cursor::new(*bytes)) as Box<dyn Read>),
        Err(fault) => Err(fault.clone()),
    };
    write_directory(root, &volume(), &mut open, &mut |bytes| count += bytes)?;
    Ok(count)
}

fn path(root: &Path) -> PathBuf {
    root.join(blob_path(&blob().digest))
}

#[test]
fn a_directory_is_written_and_what_is_there_already_is_not_read_again_from_its_source() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    assert_eq!(write(root, &Ok(CONTENT)), Ok(CONTENT.len() as u64));
    let document = BundleDocument::parse(&fs::read(root.join(DOCUMENT)).unwrap()).unwrap();
    assert_eq!(document.blobs, BTreeMap::from([(blob().digest, blob().size)]));
    for (name, sum) in &document.files {
        let bytes = fs::read(root.join(name)).unwrap();
        assert_eq!(&crate::bundle::FileSum::of(&bytes), sum, "{name}");
    }
    assert_eq!(fs::read(root.join(SIGNATURE)).unwrap(), [7; 64]);
    fs::write(part_of(&path(root)), "half").unwrap();
    assert_eq!(write(root, &Err(BlobFault::Gone)), Ok(CONTENT.len() as u64));
    assert_eq!(fs::read_dir(path(root).parent().unwrap()).unwrap().count(), 1);
    // What is there and wrong is written anew.
    for wrong in [&b"the bytes of a blOb"[..], b"", b"the bytes of a blob and more"] {
        fs::write(path(root), wrong).unwrap();
        assert_eq!(write(root, &Ok(CONTENT)), Ok(CONTENT.len() as u64));
        assert_eq!(fs::read(path(root)).unwrap(), CONTENT);
    }
}

#[test]
fn a_blob_that_is_not_what_its_digest_names_gets_no_name_and_the_directory_no_signature() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root, &Ok(CONTENT)).unwrap();
    let longer: &[u8] = b"the bytes of a blob and more";
    let unreadable = BlobFault::Unreadable("a bad disk".to_owned());
    for (read, fault) in [
        (Ok(longer), BlobFault::Wrong),
        (Ok(&CONTENT[1..]), BlobFault::Wrong),
        (Ok(&b"the bytes of a blOb"[..]), BlobFault::Wrong),
        (Err(BlobFault::Gone), BlobFault::Gone),
        (Err(unreadable.clone()), unreadable),
    ] {
        let _ = fs::remove_file(path(root));
        let expected = WriteError::Blob { digest: blob().digest, fault };
        assert_eq!(write(root, &read), Err(expected));
        assert_eq!(fs::read_dir(path(root).parent().unwrap()).unwrap().count(), 0);
        assert!(!root.join(SIGNATURE).exists() && !root.join(DOCUMENT).exists());
    }
    // An archive has no more bytes of it than its header says.
    let mut out = Vec::new();
    let mut open = |_: &Digest| Ok(Box::new(Cursor::new(longer)) as Box<dyn Read>);
    let found = write_tar(&mut out, root, &volume(), &mut open, &mut |_| {});
    let expected = WriteError::Blob { digest: blob().digest, fault: BlobFault::Wrong };
    assert_eq!(found, Err(expected));
    assert_eq!(out.len() % 512, 0);
}

#[test]
fn a_link_in_the_place_of_a_directory_leads_nowhere() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(other.path(), root.path().join("blobs")).unwrap();
    let error = write(root.path(), &Ok(CONTENT)).unwrap_err();
    assert!(matches!(error, WriteError::Io(IoError { action: "use", .. })), "{error}");
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
    // And one in the place of a blob is replaced.
    fs::remove_file(root.path().join("blobs")).unwrap();
    write(root.path(), &Ok(CONTENT)).unwrap();
    fs::remove_file(path(root.path())).unwrap();
    let target = other.path().join("file");
    fs::write(&target, CONTENT).unwrap();
    symlink(&target, path(root.path())).unwrap();
    write(root.path(), &Ok(CONTENT)).unwrap();
    assert!(path(root.path()).symlink_metadata().unwrap().is_file());
}
