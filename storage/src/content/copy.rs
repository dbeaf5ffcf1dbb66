//! Copying a blob into a directory: hashed on the way, whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;

use durable::{At, IoError, create_private, remove, sync_directory};
use oci::{Algorithm, Digest};
use rustix::fs::{Advice, fadvise};

use super::Content;
use super::hash_file::hash_while_reading;
use crate::error::StorageError;

/// What became of a blob that was to be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyOutcome {
    /// It is there, so many bytes of it.
    Whole(u64),
    /// Its bytes are not those that its digest names, or cannot be read, so it was left.
    Wrong,
}

/// Why a copy was not made to its end.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// Whoever asked wants it no more.
    Stopped,
    /// Trouble with the disk.
    Storage(StorageError),
}

/// Why no more of a file is read.
enum Break {
    /// It is longer than was announced.
    TooLong,
    Stopped,
    /// The copy cannot be written.
    NotWritten(IoError),
}

impl Content {
    /// Removes what a copy left that was cut short.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub(crate) fn remove_part(&self) -> Result<(), StorageError> {
        remove(&self.layout.part())?;
        Ok(())
    }

    /// Copies a blob of `size` bytes here. `on_bytes` hears of each piece, and says whether to go
    /// on. A file that is longer is wrong, and no more of it is read: there is room for what was
    /// announced.
    ///
    /// Crash argument: the bytes are synced under another name before they get theirs, so a blob
    /// that has its name is whole; the names of a directory are synced with
    /// [`Content::sync_shard`], before anything relies on them.
    pub(crate) fn copy_in(
        &self,
        digest: &Digest,
        size: u64,
        from: &File,
        on_bytes: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<CopyOutcome, CopyError> {
        let (part, to) = (self.layout.part(), self.layout.blob(digest));
        // Only a hint: reading works without it.
        let _ = fadvise(from, 0, None, Advice::Sequential);
        remove(&part)?;
        let mut file = create_private(&part)?;
        let read = hash_while_reading(from, digest.algorithm(), u64::MAX, |offset, piece| {
            let end = offset + piece.len() as u64;
            if end > size {
                return ControlFlow::Break(Break::TooLong);
            }
            if let Err(error) = file.write_all(piece).at("write", &part) {
                return ControlFlow::Break(Break::NotWritten(error));
            }
            on_bytes(piece.len() as u64).map_break(|()| Break::Stopped)
        });
        let is_whole = match read {
            Ok(ControlFlow::Continue(hashed)) => {
                hashed.length == size && hashed.hasher.finish() == *digest
            }
            Ok(ControlFlow::Break(Break::TooLong)) => false,
            Ok(ControlFlow::Break(Break::Stopped)) => return Err(CopyError::Stopped),
            Ok(ControlFlow::Break(Break::NotWritten(error))) => return Err(error.into()),
            // As good as wrong: whoever owns the blob is told, and the others are copied.
            Err(_) => false,
        };
        if !is_whole {
            remove(&part)?;
            return Ok(CopyOutcome::Wrong);
        }
        file.sync_all().at("sync", &part)?;
        fs::rename(&part, &to).at("rename", &part)?;
        Ok(CopyOutcome::Whole(size))
    }

    /// Makes the names of blobs in one directory durable.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub(crate) fn sync_shard(&self, algorithm: Algorithm, prefix: u8) -> Result<(), StorageError> {
        Ok(sync_directory(&self.layout.shard(algorithm, prefix))?)
    }
}

impl From<IoError> for CopyError {
    fn from(error: IoError) -> Self {
        Self::Storage(error.into())
    }
}
