//! What the tests share: the archives that tools wrote, and how what was found is told.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use archive::{Contents, Inventory, NamedImage, Opened, ScanError, Source, Stream};
use oci::{Digest, Hasher};

mod packed;

pub(crate) use packed::{Packed, blob_path, entries, with_sum};

/// The path of an archive that a tool wrote. One that is missing fails the test.
pub(crate) fn fixture(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/archives");
    let path = root.join(name);
    assert!(path.exists(), "{} is missing", path.display());
    path
}

/// The tars that tools wrote.
pub(crate) const TARS: [&str; 14] = [
    "oc-mirror-a-operators/mirror_000001.tar",
    "oc-mirror-b-release-graph/mirror_000001.tar",
    "oc-mirror-c-operators-increment/mirror_000001.tar",
    "oc-mirror-d-platforms-sparse/mirror_000001.tar",
    "oc-mirror-v2-mirror_000001.tar",
    "oc-adm-release-mirror-to-dir.tar",
    "distribution3-data.tar",
    "crane-layout.tar",
    "crane-layout-annotated.tar",
    "oras-backup.tar",
    "oras-backup-docker.tar",
    "podman-oci-archive.tar",
    "regctl-layout.tar",
    "skopeo-oci-archive.tar",
];

/// Opens what can be read in any order.
pub(crate) fn open(path: &Path) -> Source {
    match archive::open(path).unwrap() {
        Opened::Source(source) => source,
        Opened::Compressed { .. } => panic!("{} is compressed", path.display()),
    }
}

/// Scans sources together.
pub(crate) fn scan(paths: &[PathBuf]) -> Contents {
    let mut inventory = Inventory::new();
    for path in paths {
        open(path).scan(&mut inventory).unwrap();
    }
    inventory.contents()
}

/// Scans a tar that lies in memory only.
pub(crate) fn scan_bytes(bytes: &[u8]) -> Result<Contents, ScanError> {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("some.tar");
    fs::write(&path, bytes).unwrap();
    let mut inventory = Inventory::new();
    open(&path).scan(&mut inventory)?;
    Ok(inventory.contents())
}

/// What came of a stream: its contents, and each blob with its bytes.
pub(crate) type Streamed = (Contents, Vec<(Digest, Vec<u8>)>);

/// Reads a tar as it comes through a pipe, each blob with its content.
pub(crate) fn stream(bytes: impl Read) -> Result<Streamed, ScanError> {
    let (mut inventory, mut blobs) = (Inventory::new(), Vec::new());
    let stem = Some("some".parse().unwrap());
    let mut stream = Stream::new(bytes, stem, &mut inventory)?;
    while let Some(mut blob) = stream.next_blob()? {
        let mut content = Vec::new();
        let is_whole = blob.read_to_end(&mut content).is_ok();
        let digest = *blob.digest();
        assert!(!is_whole || content.len() as u64 == blob.len());
        blobs.extend(is_whole.then_some((digest, content)));
    }
    stream.finish()?;
    Ok((inventory.contents(), blobs))
}

/// The images as `mirror-after.txt` has them: repository, tag and digest.
pub(crate) fn told(images: &[NamedImage]) -> BTreeSet<String> {
    images.iter().map(tell).collect()
}

pub(crate) fn tell(image: &NamedImage) -> String {
    let repository = image.repository.as_ref().map_or("-", |it| it.as_str());
    let tag = image.tag.as_ref().map_or("-", |it| it.as_str());
    format!("{repository}:{tag} {}", image.digest)
}

/// Reads each blob that a source should hold, and hashes it.
pub(crate) fn check_blobs(source: &Source, contents: &Contents) {
    for (digest, size) in contents.blobs() {
        let mut blob = source.blob(digest).expect("a blob").unwrap();
        let mut content = Vec::new();
        assert_eq!(blob.len(), *size);
        blob.read_to_end(&mut content).unwrap();
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&content);
        assert_eq!((hasher.finish(), content.len() as u64), (*digest, *size));
    }
}

/// A stream that never ends.
pub(crate) struct Endless {
    block: Vec<u8>,
    at: usize,
}

impl Endless {
    /// Repeats these bytes.
    pub(crate) fn new(block: Vec<u8>) -> Self {
        Self { block, at: 0 }
    }
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.block.len() - self.at);
        buffer[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at = (self.at + count) % self.block.len();
        Ok(count)
    }
}
