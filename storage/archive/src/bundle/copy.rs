//! Copying one blob, and hashing it on the way.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use durable::At;
use oci::{Digest, Hasher};

use super::error::{BlobFault, WriteError};

/// Opens a blob.
pub type OpenBlob<'a> = &'a mut dyn FnMut(&Digest) -> Result<Box<dyn Read>, BlobFault>;

/// Copies a blob of `size` bytes. Not one byte more than that is written, whatever is read.
/// `on_bytes` hears of the bytes as they are written.
pub(super) fn copy_blob(
    digest: &Digest,
    size: u64,
    open: OpenBlob<'_>,
    to: (&mut dyn Write, &Path),
    on_bytes: &mut dyn FnMut(u64),
) -> Result<(), WriteError> {
    let wrong = |fault| WriteError::Blob { digest: *digest, fault };
    let (to, path) = to;
    let mut from = open(digest).map_err(wrong)?;
    let mut hasher = Hasher::new(digest.algorithm());
    let (mut piece, mut left) = (vec![0; PIECE_BYTES], size);
    loop {
        let count = match from.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(wrong(BlobFault::Unreadable(error.to_string()))),
            Ok(0) => break,
            Ok(count) => count,
        };
        left = left.checked_sub(count as u64).ok_or_else(|| wrong(BlobFault::Wrong))?;
        hasher.update(&piece[..count]);
        to.write_all(&piece[..count]).at("write", path)?;
        on_bytes(count as u64);
    }
    match left == 0 && hasher.finish() == *digest {
        true => Ok(()),
        false => Err(wrong(BlobFault::Wrong)),
    }
}

/// Whether a file holds just this blob.
pub(super) fn is_blob(file: &mut File, digest: &Digest, size: u64) -> io::Result<bool> {
    if file.metadata()?.len() != size {
        return Ok(false);
    }
    let mut hasher = Hasher::new(digest.algorithm());
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(0) => return Ok(hasher.finish() == *digest),
            Ok(count) => hasher.update(&piece[..count]),
        }
    }
}

/// A file that is synced while it is written. A slow medium would else take in minutes what then
/// waits for an hour in memory, and nobody could tell how far it is.
#[derive(Debug)]
pub struct SyncedFile {
    file: File,
    unsynced: u64,
}

impl SyncedFile {
    /// Writes to this file.
    pub fn new(file: File) -> Self {
        Self { file, unsynced: 0 }
    }

    /// Syncs what is left.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn sync(self) -> io::Result<()> {
        self.file.sync_all()
    }
}

impl Write for SyncedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.unsynced = self.unsynced.saturating_add(count as u64);
        if self.unsynced >= SYNC_BYTES {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What is read and written at once, in bytes.
const PIECE_BYTES: usize = 1024 * 1024;
/// What may wait to be written to the medium, in bytes: a stick takes a few seconds for it.
const SYNC_BYTES: u64 = 64 * 1024 * 1024;
