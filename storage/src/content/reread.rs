//! Reading the file of a blob again: from the disk and not from memory.

use std::fs::{self, File, Metadata};
use std::io;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use durable::At;
use oci::Digest;
use rustix::fs::{Advice, fadvise};

use super::Content;
use super::damage::BlobDamage;
use super::hash_file::hash_while_reading;
use crate::error::StorageError;

/// Which file it was, so that another one in its place is not taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Identity {
    /// The file at a path; none if there is none that can be looked at.
    fn at(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::of(&metadata))
    }

    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// A file that was read again to see what is wrong with it.
#[derive(Debug)]
pub(crate) struct Reread {
    /// What is wrong with it, if anything.
    pub(crate) damage: Option<BlobDamage>,
    /// Which file it was; none if there was none.
    pub(crate) identity: Option<Identity>,
    /// Its size in bytes.
    pub(crate) length: u64,
    /// Open, so that its inode's number is not given to another file.
    file: Option<File>,
}

impl Reread {
    /// Whether the file may be good and could only not be read now.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self.damage, Some(BlobDamage::Unreadable(_)))
    }
}

impl Content {
    /// Which file the blob has now; none if it has none that can be looked at.
    pub(crate) fn identity(&self, digest: &Digest) -> Option<Identity> {
        Identity::at(&self.layout.blob(digest))
    }

    /// Reads the file of a blob, which should hold `size` bytes. `on_piece` hears how many bytes
    /// were read, and says whether to go on.
    ///
    /// # Errors
    /// Trouble that is not of this file alone.
    pub(crate) fn reread(
        &self,
        digest: &Digest,
        size: u64,
        on_piece: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<ControlFlow<(), Reread>, StorageError> {
        reread(&self.layout.blob(digest), digest, size, on_piece)
    }

    /// Makes the file that was read, and its name, durable; false if by now another one is in its
    /// place. The caller holds the claim on the blob.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub(crate) fn sync_reread(
        &self,
        digest: &Digest,
        reread: &Reread,
    ) -> Result<bool, StorageError> {
        let path = self.layout.blob(digest);
        let is_same = |_: &&File| Identity::at(&path) == reread.identity;
        let Some(file) = reread.file.as_ref().filter(is_same) else { return Ok(false) };
        self.sync_blob(file, &path)?;
        Ok(true)
    }
}

fn reread(
    path: &Path,
    digest: &Digest,
    size: u64,
    on_piece: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<ControlFlow<(), Reread>, StorageError> {
    let failed = |damage, identity, file| {
        Ok(ControlFlow::Continue(Reread { damage: Some(damage), identity, length: 0, file }))
    };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            return failed(
                BlobDamage::of_error(&error).ok_or(error).at("look at", path)?,
                None,
                None,
            );
        }
    };
    if !metadata.is_file() {
        return failed(BlobDamage::NoFile, Some(Identity::of(&metadata)), None);
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => {
            let damage = BlobDamage::of_error(&error).ok_or(error).at("open", path)?;
            return failed(damage, Some(Identity::of(&metadata)), None);
        }
    };
    let metadata = file.metadata().at("look at", path)?;
    let (identity, length) = (Some(Identity::of(&metadata)), metadata.len());
    match hash(&file, digest, length, on_piece) {
        Ok(ControlFlow::Break(())) => Ok(ControlFlow::Break(())),
        Ok(ControlFlow::Continue(damage)) => {
            // Right bytes have the right size, whatever is recorded of them.
            let damage = match damage {
                Some(_) if length != size => {
                    Some(BlobDamage::Size { expected: size, found: length })
                }
                damage => damage,
            };
            Ok(ControlFlow::Continue(Reread { damage, identity, length, file: Some(file) }))
        }
        Err(error) => {
            let damage = BlobDamage::of_error(&error).ok_or(error).at("read", path)?;
            failed(damage, identity, Some(file))
        }
    }
}

fn hash(
    file: &File,
    digest: &Digest,
    size: u64,
    on_piece: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> io::Result<ControlFlow<(), Option<BlobDamage>>> {
    // What is in memory says nothing about the disk; what this reads, nobody will ask for again
    // soon. Both are hints, and reading works without them.
    let forget = |offset, length| {
        let _ = fadvise(file, offset, NonZeroU64::new(length), Advice::DontNeed);
    };
    forget(0, 0);
    let hashed = hash_while_reading(file, digest.algorithm(), size, |offset, piece| {
        forget(offset, piece.len() as u64);
        on_piece(piece.len())
    })?;
    forget(0, 0);
    Ok(hashed.map_continue(|hashed| {
        if hashed.length < size {
            Some(BlobDamage::Size { expected: size, found: hashed.length })
        } else if hashed.hasher.finish() != *digest {
            Some(BlobDamage::Bytes)
        } else {
            None
        }
    }))
}
