//! The blobs of a directory that is filled: a backup, or a store that is being restored.

use std::fs::File;
use std::ops::ControlFlow;

use oci::{Algorithm, Digest};

use super::BackupError;
use crate::content::{Content, CopyError, CopyOutcome};
use crate::db::copy::NamedBlob;
use crate::error::StorageError;
use crate::layout::Layout;

/// The blobs of a directory that is being filled.
#[derive(Debug)]
pub struct Blobs(Content);

impl Blobs {
    /// Those of this directory, without what a copy left in it that was cut short.
    pub(super) fn of(layout: &Layout) -> Result<Self, StorageError> {
        let content = Content::new(layout);
        content.remove_part()?;
        layout.make_directories()?;
        Ok(Self(content))
    }

    /// Whether a blob is there with the size that it should have.
    pub fn has(&self, digest: &Digest, size: u64) -> bool {
        self.0.has_own_file(digest, size)
    }

    /// Reads a blob that is there, and says whether its bytes are right. What the disk does not
    /// give back is not.
    ///
    /// # Errors
    /// Trouble that is not of this file alone.
    pub fn is_right(&self, digest: &Digest, size: u64) -> Result<bool, StorageError> {
        let mut go_on = |_| ControlFlow::Continue(());
        let reread = self.0.reread(digest, size, &mut go_on)?;
        Ok(matches!(reread, ControlFlow::Continue(reread) if reread.damage.is_none()))
    }

    /// Copies a blob of `size` bytes here, hashed on the way, whole or not at all. `on_bytes` hears
    /// of each piece, and says whether to go on. Its name is durable after [`Blobs::sync_shard`].
    ///
    /// # Errors
    /// [`BackupError::Stopped`], else trouble with the disk.
    pub fn take(
        &self,
        digest: &Digest,
        size: u64,
        from: &File,
        on_bytes: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<CopyOutcome, BackupError> {
        match self.0.copy_in(digest, size, from, on_bytes) {
            Ok(outcome) => Ok(outcome),
            Err(CopyError::Stopped) => Err(BackupError::Stopped),
            Err(CopyError::Storage(error)) => Err(error.into()),
        }
    }

    /// Makes the names of blobs in one directory below `blobs/` durable.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn sync_shard(&self, algorithm: Algorithm, prefix: u8) -> Result<(), StorageError> {
        self.0.sync_shard(algorithm, prefix)
    }
}

/// The blobs that a store's database names and a repository holds, but whose files are not in its
/// directory with the size that they should have. `shard` reads the database.
pub(crate) fn missing(
    layout: &Layout,
    shard: impl Fn(Algorithm, u8) -> Result<Vec<NamedBlob>, StorageError>,
) -> Result<Vec<Digest>, StorageError> {
    let content = Content::new(layout);
    let mut missing = Vec::new();
    for (algorithm, prefix) in Layout::shards() {
        let named = shard(algorithm, prefix)?.into_iter();
        let is_missing =
            |blob: &NamedBlob| blob.is_held && !content.has_own_file(&blob.digest, blob.size);
        missing.extend(named.filter(is_missing).map(|blob| blob.digest));
    }
    Ok(missing)
}
