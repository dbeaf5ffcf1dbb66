//! Filling a file of an import: hashed while it is written, or cloned and then hashed.

use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use durable::{At, create_private, remove};
use oci::{Digest, Hasher};
use rustix::fs::ioctl_ficlone;

use crate::content::CopyOutcome;
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
    is_whole: bool,
}

impl StagedFile {
    /// A new file at `path`, in the place of one that is there.
    pub(super) fn create(path: PathBuf, digest: &Digest) -> Result<Self, StorageError> {
        remove(&path)?;
        let file = create_private(&path)?;
        let hasher = Hasher::new(digest.algorithm());
        Ok(Self { path, file, digest: *digest, hasher, length: 0, is_whole: false })
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

    /// Ends it without a sync: says whether it has the bytes that its digest names. It can be read
    /// by [`crate::Store::staged_bytes`], and may not be published.
    pub fn finish_to_be_read(mut self) -> CopyOutcome {
        self.is_whole = self.hasher.clone().finish() == self.digest;
        match self.is_whole {
            true => CopyOutcome::Whole(self.length),
            false => CopyOutcome::Wrong,
        }
    }

    /// Ends it: says whether it has the bytes that its digest names, and syncs them if so.
    ///
    /// # Errors
    /// Trouble with the disk. A sync that failed is not tried again: the file is gone.
    pub fn finish(mut self) -> Result<CopyOutcome, StorageError> {
        let hasher = self.hasher.clone();
        self.conclude(hasher)
    }

    /// Takes all of it from a file on the same file system, which shares its blocks from then on
    /// and keeps its own if it is changed; and ends it as [`StagedFile::finish`] does. `on_bytes`
    /// hears of each piece that is read to be hashed. None if the file system cannot do that, and
    /// then it is as it was.
    ///
    /// # Errors
    /// As those of [`StagedFile::finish`].
    pub fn finish_as_clone(
        &mut self,
        from: &File,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<Option<CopyOutcome>, StorageError> {
        if ioctl_ficlone(&self.file, from).is_err() {
            return Ok(None);
        }
        // The clone, and not what it was made of: that may change by now.
        let read = hash_while_reading(&self.file, self.digest.algorithm(), u64::MAX, |_, piece| {
            on_bytes(piece.len() as u64);
            ControlFlow::<std::convert::Infallible>::Continue(())
        });
        let ControlFlow::Continue(hashed) = read.at("read", &self.path)?;
        self.length = hashed.length;
        self.conclude(hashed.hasher).map(Some)
    }

    fn conclude(&mut self, hasher: Hasher) -> Result<CopyOutcome, StorageError> {
        if hasher.finish() != self.digest {
            return Ok(CopyOutcome::Wrong);
        }
        self.file.sync_data().at("sync", &self.path)?;
        self.is_whole = true;
        Ok(CopyOutcome::Whole(self.length))
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.is_whole {
            let _ = fs::remove_file(&self.path);
        }
    }
}
