//! A tar or a directory whose blobs can be read in any order.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::bytes::Bytes;
use durable::{At, Links, ReadError, open_regular};
use oci::{Algorithm, Digest, RepoName, Tag};

use crate::damage::Damage;
use crate::error::{OpenSourceError, ScanError};
use crate::findings::{Findings, Want, may_be_manifest};
use crate::inventory::Inventory;
use crate::names;
use crate::packing::Packing;
use crate::role::{QUAY_DATABASE, QUAY_STORAGE};
use crate::tar::{EntryKind, Input, Tar, TarError};

mod bytes;
mod directory;
mod positioned;

pub use bytes::BlobBytes;

use positioned::Positioned;

/// What a path leads to.
#[derive(Debug)]
pub enum Opened {
    /// A tar or a directory: headers are read first, and blobs in any order.
    Source(Source),
    /// A compressed file or a pipe, which can only be read from its beginning to its end: for
    /// [`crate::Stream::new`].
    Compressed {
        /// The file, at its beginning.
        file: File,
        /// The repository that the file gives its name to.
        stem: Option<RepoName>,
    },
}

/// Opens a source. What it is says its content, and its name nothing.
///
/// # Errors
/// Every [`OpenSourceError`].
pub fn open(path: &Path) -> Result<Opened, OpenSourceError> {
    // `.` has no name of its own.
    let named = fs::canonicalize(path);
    let named = named.as_deref().unwrap_or(path).file_name().unwrap_or_default().to_string_lossy();
    let stem = names::stem(&named);
    if path.is_dir() {
        let source = Source::new(Place::Directory(path.to_owned()), stem);
        return Ok(Opened::Source(Source { database: database_in(path), ..source }));
    }
    if fs::metadata(path).is_ok_and(|it| it.file_type().is_fifo()) {
        let file = File::open(path).at("open", path)?;
        return Ok(Opened::Compressed { file, stem: None });
    }
    let Some(mut file) = open_regular(path, Links::Follow)? else {
        return Err(OpenSourceError::NotThere(path.to_owned()));
    };
    let mut beginning = Vec::new();
    file.by_ref().take(Packing::BEGINNING_BYTES).read_to_end(&mut beginning).at("read", path)?;
    match Packing::of(&beginning) {
        Packing::None => {
            let place = Place::Tar(Arc::new(file), path.to_owned());
            Ok(Opened::Source(Source::new(place, stem)))
        }
        Packing::Zstd => {
            file.rewind().at("read", path)?;
            Ok(Opened::Compressed { file, stem })
        }
        Packing::Unread(format) => {
            Err(OpenSourceError::Compressed { path: path.to_owned(), format })
        }
    }
}

/// A tar or a directory.
#[derive(Debug)]
pub struct Source {
    place: Place,
    stem: Option<RepoName>,
    database: Option<PathBuf>,
    /// What stands in the database, once that was read.
    named: Option<Vec<(RepoName, Tag, Digest)>>,
    /// Manifests that lie in the database.
    manifests: BTreeMap<Digest, Bytes>,
    held: HashMap<Digest, Location>,
}

#[derive(Debug)]
enum Place {
    Tar(Arc<File>, PathBuf),
    Directory(PathBuf),
}

/// Where a blob lies.
#[derive(Debug)]
enum Location {
    /// In an archive.
    Part { archive: Arc<File>, offset: u64, size: u64 },
    /// A file of its own.
    File { path: PathBuf, size: u64 },
    /// In a database, out of which it was read.
    Memory(Bytes),
}

impl Source {
    fn new(place: Place, stem: Option<RepoName>) -> Self {
        let (manifests, held) = (BTreeMap::new(), HashMap::new());
        Self { place, stem, database: None, named: None, manifests, held }
    }

    /// The database that has the names of its images, if this is the store of a Quay. Who can read
    /// it gives them to [`Source::name`] before the scan.
    pub fn database(&self) -> Option<&Path> {
        self.database.as_deref()
    }

    /// Whether the store of a Quay has a file for a blob.
    pub fn has_file(&self, digest: &Digest) -> bool {
        let hex = digest.hex();
        let Some(beginning) = hex.get(..2) else { return false };
        let file = self.path().join(QUAY_STORAGE).join(beginning).join(&hex);
        digest.algorithm() == Algorithm::Sha256
            && fs::symlink_metadata(file).is_ok_and(|it| it.is_file())
    }

    /// Takes what stands in its database: each tag once, and what it names; and the manifests that
    /// no file has.
    pub fn name(
        &mut self,
        named: Vec<(RepoName, Tag, Digest)>,
        manifests: BTreeMap<Digest, Bytes>,
    ) {
        self.named = Some(named);
        self.manifests = manifests;
    }

    /// The file or the directory.
    pub fn path(&self) -> &Path {
        match &self.place {
            Place::Tar(_, path) | Place::Directory(path) => path,
        }
    }

    /// Reads headers and documents, and adds what is there to the inventory. An archive that ends
    /// in its middle counts as far as it goes, and a directory as far as it can be read; the report
    /// says so.
    ///
    /// # Errors
    /// Every [`ScanError`]; nothing is added then.
    pub fn scan(&mut self, inventory: &mut Inventory) -> Result<(), ScanError> {
        let mut findings = Findings::new(self.stem.clone());
        self.held.clear();
        match &self.place {
            Place::Tar(file, path) => {
                let size = file.metadata().at("look at", path)?.len();
                let positioned = Positioned::new(Arc::clone(file), size);
                let hold = |digest, offset, size| {
                    let archive = Arc::clone(file);
                    self.held.insert(digest, Location::Part { archive, offset, size });
                };
                scan_tar(Tar::new(positioned), &mut findings, hold)?;
            }
            Place::Directory(path) => {
                findings.is_directory = true;
                findings.has_database = self.named.is_some();
                directory::walk(path, &mut findings, |path, digest, size| {
                    self.held.insert(digest, Location::File { path: path.to_owned(), size });
                })?;
            }
        }
        for (digest, bytes) in &self.manifests {
            if !self.held.contains_key(digest) {
                findings.add_blob(*digest, bytes.len() as u64, bytes)?;
                self.held.insert(*digest, Location::Memory(bytes.clone()));
            }
        }
        for (repository, tag, digest) in self.named.iter().flatten().cloned() {
            findings.tag_of_database(repository, tag, digest)?;
        }
        findings.finish()?;
        inventory.add(findings);
        Ok(())
    }

    /// The bytes of a blob or a manifest, if this source holds it. Nobody has hashed them.
    pub fn blob(&self, digest: &Digest) -> Option<io::Result<BlobBytes>> {
        Some(match self.held.get(digest)? {
            Location::Part { archive, offset, size } => {
                Ok(BlobBytes::new(Arc::clone(archive), *offset, *size, false))
            }
            Location::File { path, size } => {
                open_file(path).map(|file| BlobBytes::new(Arc::new(file), 0, *size, true))
            }
            Location::Memory(bytes) => Ok(BlobBytes::of_memory(bytes.clone())),
        })
    }
}

/// The database of a Quay, if this directory is its store.
fn database_in(directory: &Path) -> Option<PathBuf> {
    let database = directory.join(QUAY_DATABASE);
    let is_file = fs::symlink_metadata(&database).is_ok_and(|it| it.is_file());
    (is_file && directory.join(QUAY_STORAGE).is_dir()).then_some(database)
}

fn scan_tar<I: Input>(
    mut tar: Tar<I>,
    findings: &mut Findings,
    mut hold: impl FnMut(Digest, u64, u64),
) -> Result<(), ScanError> {
    loop {
        match scan_entry(&mut tar, findings, &mut hold) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(ScanError::Tar(error)) => return findings.ended(error),
            Err(error) => return Err(error),
        }
    }
}

/// Looks at the next entry; false at the end. Where the next one is, is known even if the content
/// of this one cannot be read.
fn scan_entry<I: Input>(
    tar: &mut Tar<I>,
    findings: &mut Findings,
    hold: &mut impl FnMut(Digest, u64, u64),
) -> Result<bool, ScanError> {
    let Some(entry) = tar.next_entry()? else { return Ok(false) };
    let wanted = findings.look(&entry)?;
    let EntryKind::File { size, offset } = entry.kind else { return Ok(true) };
    let content = match &wanted {
        Want::Nothing | Want::Known => return Ok(true),
        Want::Document(_) => tar.read_whole(),
        Want::Blob(_) => tar.read_beginning(|some| may_be_manifest(size, some)),
    };
    let content = match content {
        Err(TarError::Read { message: fault, .. }) => {
            let path = entry.path.as_str().to_owned();
            findings.damaged(Damage::Document { path, fault });
            return Ok(true);
        }
        content => content?,
    };
    let digest = match wanted {
        Want::Document(role) => findings.document(&entry.path, role, &content)?,
        Want::Blob(digest) => Some(digest),
        Want::Nothing | Want::Known => None,
    };
    if let Some(digest) = digest {
        findings.add_blob(digest, size, &content)?;
        hold(digest, offset, size);
    }
    Ok(true)
}

fn open_file(path: &Path) -> io::Result<File> {
    match open_regular(path, Links::Refuse) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(ErrorKind::NotFound.into()),
        Err(ReadError::Io(error)) => Err(io::Error::new(error.kind, error)),
        Err(error) => Err(io::Error::other(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// An archive on a disk that has a bad sector.
    struct Bad {
        archive: Cursor<Vec<u8>>,
        sector: u64,
    }

    impl Read for Bad {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.archive.position() / 512 == self.sector {
                true => Err(io::Error::other("bad sector")),
                false => self.archive.read(buffer),
            }
        }
    }

    impl Input for Bad {
        fn skip(&mut self, bytes: u64) -> io::Result<()> {
            self.archive.set_position(self.archive.position() + bytes);
            Ok(())
        }

        fn may_have(&self, bytes: u64) -> bool {
            self.archive.position() + bytes <= self.archive.get_ref().len() as u64
        }
    }

    #[test]
    fn what_lies_behind_a_bad_sector_counts() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = path.join("../../tests/fixtures/archives/skopeo-oci-archive.tar");
        let archive = fs::read(path).unwrap();
        let scan = |sector| {
            let (mut findings, mut held) = (Findings::new(None), Vec::new());
            let tar = Tar::new(Bad { archive: Cursor::new(archive.clone()), sector });
            scan_tar(tar, &mut findings, |digest, _, _| held.push(digest)).unwrap();
            findings.finish().unwrap();
            (held.len(), findings.damage)
        };
        let (all, damage) = scan(u64::MAX);
        assert_eq!(damage, []);
        let name = b"index.json\0";
        let header = archive.chunks(512).position(|block| block.starts_with(name)).unwrap() as u64;
        let (held, damage) = scan(header + 1);
        let fault = "bad sector".to_owned();
        assert_eq!(damage, [Damage::Document { path: "index.json".into(), fault }]);
        assert_eq!(held, all);
        let (held, damage) = scan(header);
        assert!(matches!(damage[0], Damage::Unreadable { .. }), "{damage:?}");
        assert_eq!(held, all);
    }
}
