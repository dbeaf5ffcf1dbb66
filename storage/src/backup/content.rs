//! Copying a blob into a directory laid out like a store's: hashed on the way, whole or not at all.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::ops::ControlFlow;

use durable::{At, create_private, remove, sync_directory};
use oci::{Algorithm, Digest, Hasher};
use rustix::fs::{Advice, fadvise};

use super::BackupError;
use crate::db::copy::NamedBlob;
use crate::error::StorageError;
use crate::layout::Layout;
use crate::verify::look;

/// What became of a blob that was to be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is there, so many bytes of it.
    Whole(u64),
    /// Its bytes are not those that its digest names, or cannot be read, so it was left.
    Wrong,
}

/// The blobs of a directory that is being filled.
#[derive(Debug)]
pub struct Blobs(Layout);

impl Blobs {
    /// Those of this directory, without what a copy left in it that was cut short.
    pub(super) fn of(layout: &Layout) -> Result<Self, StorageError> {
        remove(&layout.part())?;
        layout.make_directories()?;
        Ok(Self(layout.clone()))
    }

    /// Whether a blob is there with the size that it should have.
    pub fn has(&self, digest: &Digest, size: u64) -> bool {
        let found = fs::symlink_metadata(self.0.blob(digest));
        found.is_ok_and(|found| found.is_file() && found.len() == size)
    }

    /// Reads a blob that is there, and says whether its bytes are right. What the disk does not
    /// give back is not.
    ///
    /// # Errors
    /// Trouble that is not of this file alone.
    pub fn is_right(&self, digest: &Digest, size: u64) -> Result<bool, StorageError> {
        let mut go_on = |_| ControlFlow::Continue(());
        let looked = look(&self.0.blob(digest), digest, size, &mut go_on)?;
        Ok(matches!(looked, ControlFlow::Continue(seen) if seen.damage.is_none()))
    }

    /// Copies a blob of `size` bytes here. `on_bytes` hears of each piece, and says whether to go
    /// on. A file that is longer is wrong, and no more of it is read: there is room for what was
    /// announced.
    ///
    /// Crash argument: the bytes are synced under another name before they get theirs, so a blob
    /// that has its name is whole; the names of a directory are synced with [`Blobs::sync_shard`],
    /// before anything relies on them.
    ///
    /// # Errors
    /// [`BackupError::Stopped`], else trouble with the disk.
    pub fn take(
        &self,
        digest: &Digest,
        size: u64,
        mut from: File,
        on_bytes: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Taken, BackupError> {
        let (part, to) = (self.0.part(), self.0.blob(digest));
        // Only a hint: reading works without it.
        let _ = fadvise(&from, 0, None, Advice::Sequential);
        remove(&part)?;
        let mut file = create_private(&part)?;
        let mut hasher = Hasher::new(digest.algorithm());
        let mut piece = vec![0; PIECE_BYTES];
        let mut length = 0;
        loop {
            let count = match from.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // As good as wrong: whoever owns the blob is told, and the others are copied.
                Err(_) => {
                    remove(&part)?;
                    return Ok(Taken::Wrong);
                }
            };
            length += count as u64;
            if length > size {
                break;
            }
            hasher.update(&piece[..count]);
            file.write_all(&piece[..count]).at("write", &part)?;
            if on_bytes(count as u64).is_break() {
                return Err(BackupError::Stopped);
            }
        }
        if length != size || hasher.finish() != *digest {
            remove(&part)?;
            return Ok(Taken::Wrong);
        }
        file.sync_all().at("sync", &part)?;
        fs::rename(&part, &to).at("rename", &part)?;
        Ok(Taken::Whole(length))
    }

    /// Makes the names of blobs in one directory below `blobs/` durable.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn sync_shard(&self, algorithm: Algorithm, prefix: u8) -> Result<(), StorageError> {
        Ok(sync_directory(&self.0.shard(algorithm, prefix))?)
    }
}

/// The blobs that a store's database names and a repository holds, but whose files are not in its
/// directory with the size that they should have. `shard` reads the database.
pub(crate) fn missing(
    layout: &Layout,
    shard: impl Fn(Algorithm, u8) -> Result<Vec<NamedBlob>, StorageError>,
) -> Result<Vec<Digest>, StorageError> {
    let blobs = Blobs(layout.clone());
    let mut missing = Vec::new();
    for (algorithm, prefix) in Layout::shards() {
        let named = shard(algorithm, prefix)?.into_iter();
        let is_missing = |blob: &NamedBlob| blob.is_held && !blobs.has(&blob.digest, blob.size);
        missing.extend(named.filter(is_missing).map(|blob| blob.digest));
    }
    Ok(missing)
}

/// How much of a blob is in memory.
const PIECE_BYTES: usize = 1024 * 1024;
