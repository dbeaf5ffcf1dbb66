//! Copying a blob into a directory laid out like a store's: hashed on the way, whole or not at all.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;

use rustix::fs::{Advice, fadvise};

use super::{BackupError, remove};
use crate::blob::hash_file;
use crate::digest::{Digest, Hasher};
use crate::durable::create_private;
use crate::error::{IoContext, StorageError};
use crate::layout::Layout;

/// What became of a blob that was to be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is there, so many bytes of it.
    Whole(u64),
    /// Its bytes are not those that its digest names, or cannot be read, so it was left.
    Wrong,
}

/// Copies a blob into `layout`. `on_bytes` hears of each piece, and says whether to go on.
///
/// Crash argument: the bytes are synced under another name before they get theirs, so a blob that
/// has its name is whole; the names of a directory are synced with [`sync_shard`], before anything
/// relies on them.
///
/// [`sync_shard`]: crate::layout::Layout::sync_shard
pub(super) fn take(
    layout: &Layout,
    digest: &Digest,
    mut from: File,
    on_bytes: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Taken, BackupError> {
    let (part, to) = (layout.part(), layout.blob(digest));
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
        hasher.update(&piece[..count]);
        file.write_all(&piece[..count]).at("write", &part)?;
        length += count as u64;
        if on_bytes(count as u64).is_break() {
            return Err(BackupError::Stopped);
        }
    }
    if hasher.finish() != *digest {
        remove(&part)?;
        return Ok(Taken::Wrong);
    }
    file.sync_all().at("sync", &part)?;
    fs::rename(&part, &to).at("rename", &part)?;
    Ok(Taken::Whole(length))
}

/// Whether the file of a blob has the size that it should have.
pub(super) fn has(layout: &Layout, digest: &Digest, size: u64) -> bool {
    let found = fs::symlink_metadata(layout.blob(digest));
    found.is_ok_and(|found| found.is_file() && found.len() == size)
}

/// Reads a blob and says whether its bytes are those that its digest names.
pub(super) fn is_right(layout: &Layout, digest: &Digest) -> Result<bool, StorageError> {
    let path = layout.blob(digest);
    let Some(file) = super::open_regular(&path)? else { return Ok(false) };
    let length = file.metadata().at("read the size of", &path)?.len();
    Ok(hash_file(&file, &path, digest.algorithm(), length)?.finish() == *digest)
}

/// Copies a whole file under a name of its own, durably but for its name.
pub(super) fn copy_file(mut from: &File, to: &Path) -> Result<(), StorageError> {
    remove(to)?;
    let mut file = create_private(to)?;
    std::io::copy(&mut from, &mut file).at("write", to)?;
    file.sync_all().at("sync", to)
}

/// How much of a blob is in memory.
const PIECE_BYTES: usize = 1024 * 1024;
