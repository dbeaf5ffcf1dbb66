//! Filling a file of an import: hashed while it is written, or cloned and then hashed.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use durable::{At, create_private, remove};
use oci::{Digest, Hasher};
use rustix::fs::ioctl_ficlone;

use crate::content::hash_file::hash_while_reading;
use crate::content::write_back::begin_write_back;
use crate::error::StorageError;

/// A file that is being filled with the bytes of one digest. Dropped before its end, it is removed.
pub struct StagedFile {
    path: PathBuf,
    file: File,
    digest: Digest,
    hasher: Hasher,
    length: u64,
    is_kept: bool,
}

/// A file that has the bytes of its digest, which may not last. Dropped before it is synced or
/// kept, it is removed.
pub struct CheckedFile(StagedFile);

impl StagedFile {
    /// A new file at `path`, in the place of one that is there.
    pub(super) fn create(path: PathBuf, digest: &Digest) -> Result<Self, StorageError> {
        remove(&path)?;
        let file = create_private(&path)?;
        let hasher = Hasher::new(digest.algorithm());
        Ok(Self { path, file, digest: *digest, hasher, length: 0, is_kept: false })
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// Trouble with the disk, [`StorageError::Full`] in particular.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), StorageError> {
        self.file.write_all(piece).at("write", &self.path)?;
        let start = self.length;
        self.length = start.saturating_add(piece.len() as u64);
        begin_write_back(&self.file, start, self.length);
        self.hasher.update(piece);
        Ok(())
    }

    /// Takes all of it from a file on the same file system, which shares its blocks from then on
    /// and keeps its own if it is changed. `on_bytes` hears of each piece that is read to be
    /// hashed. False if the file system cannot do that, and then it is as it was.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn fill_as_clone(
        &mut self,
        from: &File,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<bool, StorageError> {
        if ioctl_ficlone(&self.file, from).is_err() {
            return Ok(false);
        }
        // The clone, and not what it was made of: that may change by now.
        let read = hash_while_reading(&self.file, self.digest.algorithm(), u64::MAX, |_, piece| {
            on_bytes(piece.len() as u64);
            ControlFlow::<Infallible>::Continue(())
        });
        let ControlFlow::Continue(hashed) = read.at("read", &self.path)?;
        (self.length, self.hasher) = (hashed.length, hashed.hasher);
        Ok(true)
    }

    /// Ends it; none if it has other bytes than its digest names.
    pub fn checked(self) -> Option<CheckedFile> {
        (self.hasher.clone().finish() == self.digest).then(|| CheckedFile(self))
    }
}

impl CheckedFile {
    /// What it has the bytes of.
    pub fn digest(&self) -> &Digest {
        &self.0.digest
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        self.0.length
    }

    /// Syncs its bytes, so that it can be published.
    ///
    /// # Errors
    /// Trouble with the disk. A sync that failed is not tried again: the file is gone.
    pub fn sync(mut self) -> Result<(), StorageError> {
        self.0.file.sync_data().at("sync", &self.0.path)?;
        self.0.is_kept = true;
        Ok(())
    }

    /// Keeps it without a sync: it can be read by [`crate::Store::staged_bytes`], and may not be
    /// published.
    pub fn keep_to_be_read(mut self) {
        self.0.is_kept = true;
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}
