//! Bytes as an archive, once as they lie and once as they come: both must come to the same.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use archive::{Contents, Inventory, Opened, ScanError, Source, Stream};
use oci::Digest;

/// Reads an archive in both ways. How many images it has.
pub fn read(bytes: &[u8]) -> usize {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join(NAME);
    fs::write(&path, bytes).expect("a file");
    let comes = stream(bytes);
    let (lies, comes) = match (lying(&path), comes) {
        (Some(Ok(lies)), Ok(comes)) => (lies, comes),
        (Some(Err(lies)), Err(comes)) => {
            assert_eq!(lies, comes);
            return 0;
        }
        (Some(Err(lies)), Ok(_)) => panic!("it comes, and as it lies it is refused: {lies:?}"),
        (Some(Ok(_)), Err(comes)) => panic!("it lies, and as it comes it is refused: {comes:?}"),
        (None, Ok((contents, _))) => return check(&contents),
        (None, Err(_)) => return 0,
    };
    let ((lies, source), (comes, blobs)) = (lies, comes);
    assert_eq!(lies.sources(), comes.sources());
    assert_eq!(lies.images(), comes.images());
    assert_eq!(lies.blobs(), comes.blobs());
    assert_eq!(lies.missing(), comes.missing());
    assert_eq!(lies.absent_revisions(), comes.absent_revisions());
    assert_eq!(lies.unusable(), comes.unusable());
    assert_eq!(lies.ambiguous(), comes.ambiguous());
    for (digest, content) in blobs {
        let mut blob = source.blob(&digest).expect("a blob that came").expect("an open file");
        let mut lying = Vec::new();
        blob.read_to_end(&mut lying).expect("a blob that came whole");
        assert_eq!(lying, content);
    }
    check(&lies)
}

/// Reads a directory. How many images it has.
pub fn read_directory(path: &Path) -> usize {
    match lying(path) {
        Some(Ok((contents, _))) => check(&contents),
        Some(Err(_)) | None => 0,
    }
}

/// Reads what can only be read from its beginning to its end, and holds no more than that.
pub fn read_stream(bytes: &[u8]) -> usize {
    stream(bytes).map_or(0, |(contents, _)| check(&contents))
}

/// What can be read in any order; none if it is packed.
fn lying(path: &Path) -> Option<Result<(Contents, Source), ScanError>> {
    let Ok(Opened::Source(mut source)) = archive::open(path) else { return None };
    let mut inventory = Inventory::new();
    Some(source.scan(&mut inventory).map(|()| (inventory.contents(), source)))
}

/// What comes, and each blob that comes whole.
fn stream(bytes: &[u8]) -> Result<(Contents, BTreeMap<Digest, Vec<u8>>), ScanError> {
    let (mut inventory, mut blobs) = (Inventory::new(), BTreeMap::new());
    let stem = Some(NAME.parse().expect("a repository"));
    let mut stream = Stream::new(bytes, stem, &mut inventory)?;
    while let Some(mut blob) = stream.next_blob()? {
        let (mut content, digest) = (Vec::new(), *blob.digest());
        let most = blob.len().min(MOST_BLOB_BYTES);
        if blob.by_ref().take(most).read_to_end(&mut content).is_ok() && most == blob.len() {
            assert_eq!(content.len() as u64, blob.len());
            blobs.insert(digest, content);
        }
    }
    stream.finish()?;
    Ok((inventory.contents(), blobs))
}

/// Checks that each image is whole or hurt, and that what is whole has all its parts.
fn check(contents: &Contents) -> usize {
    for (number, image) in contents.images().iter().enumerate() {
        let is_hurt = contents.missing().iter().any(|it| it.images.contains(&number))
            || contents.unusable().iter().any(|it| it.images.contains(&number));
        assert_eq!(contents.is_whole(&image.digest), !is_hurt, "{image:?}");
        let parts = contents.parts(&image.digest);
        let all = parts.blobs.iter().chain(&parts.manifests);
        assert!(all.into_iter().all(|part| contents.blobs().contains_key(part)), "{parts:?}");
        assert!(is_hurt || parts.manifests.last() == Some(&image.digest), "{parts:?}");
    }
    contents.images().len()
}

/// The name of the archive, and so the repository of what has none.
const NAME: &str = "some";
/// The longest blob that is kept, in bytes.
const MOST_BLOB_BYTES: u64 = 1 << 20;
