//! Reading a blob.

use std::fs::File;
use std::io::{self, ErrorKind, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;
use durable::{At, IoError};
use oci::Digest;
use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use crate::error::{StorageError, Trouble};

/// A blob that is open for reading. It stays readable even if it is deleted meanwhile.
#[derive(Debug)]
pub struct BlobReader {
    file: File,
    path: PathBuf,
    size: u64,
}

impl BlobReader {
    /// The open file at a path, which has `size` bytes.
    pub(super) fn new(file: File, path: PathBuf, size: u64) -> Self {
        // Only a hint: reading works without it.
        let _ = fadvise(&file, 0, None, Advice::Sequential);
        Self { file, path, size }
    }

    /// The same, with what [`BlobReader::read_cached`] must not wait for behind it: the first read
    /// of a file notes its time, which may wait for a commit of the file system, and brings into
    /// memory where its bytes lie. Here somebody may wait for that.
    pub(crate) fn touched(self) -> Self {
        // What goes wrong is met by whoever reads it.
        let _ = pread(&self.file, &mut [0; 1], 0);
        self
    }

    /// The size of the blob in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads at most `length` bytes from `offset`, and fewer only at the end of the blob.
    ///
    /// # Errors
    /// Fails when the disk does, and when the file ends before its recorded size.
    pub fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, StorageError> {
        let rest = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = length.min(rest);
        // Not zeroed first: that costs a tenth of sending a blob.
        let mut piece = Vec::with_capacity(wanted);
        while piece.len() < wanted {
            let position = offset + piece.len() as u64;
            match pread(&self.file, spare_capacity(&mut piece), position) {
                Err(Errno::INTR) => {}
                Ok(0) => {
                    let error = io::Error::from(ErrorKind::UnexpectedEof);
                    return Err(IoError::new("read", &self.path, &error).into());
                }
                outcome => drop(outcome.at("read", &self.path)?),
            }
        }
        // The allocator may have given more room than was asked for.
        piece.truncate(wanted);
        Ok(piece)
    }

    /// Reads what memory holds of the file from `offset` on into `room`, and returns how many bytes
    /// that are. It waits for no read of the disk, so it may be called where nobody may wait: what
    /// the page cache lacks is not read, and what goes wrong is met by whoever reads it with
    /// [`BlobReader::read_into`].
    pub fn read_cached(&self, offset: u64, room: &mut [u8]) -> usize {
        let room = &mut [IoSliceMut::new(room)];
        preadv2(&self.file, room, offset, ReadWriteFlags::NOWAIT).unwrap_or(0)
    }

    /// Fills `room` with the bytes from `offset` on. The disk is asked to have in memory what comes
    /// behind them, as far as it is wanted: `then` bytes at most.
    ///
    /// # Errors
    /// Fails when the disk does, and when the file ends before its recorded size.
    pub fn read_into(&self, offset: u64, room: &mut [u8], then: u64) -> Result<(), StorageError> {
        self.file.read_exact_at(room, offset).at("read", &self.path)?;
        if let Some(ahead) = NonZeroU64::new(then.min(AHEAD_BYTES)) {
            // Only a hint: what it does not bring is read when it is asked for.
            let _ = fadvise(&self.file, offset + room.len() as u64, Some(ahead), Advice::WillNeed);
        }
        Ok(())
    }

    /// Reads all of the blob; `None` if its bytes are not those that `digest` names, or end early.
    pub(crate) fn whole(&self, digest: &Digest) -> Result<Option<Bytes>, StorageError> {
        match self.read_at(0, usize::MAX) {
            Ok(bytes) => {
                let is_right = Digest::of(digest.algorithm(), &bytes) == *digest;
                Ok(is_right.then(|| Bytes::from(bytes)))
            }
            Err(StorageError::Failed(Trouble::Io(IoError {
                kind: ErrorKind::UnexpectedEof,
                ..
            }))) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A blob on its way out.
#[derive(Debug)]
pub enum BlobContent {
    /// All of its bytes, which were held against the digest.
    Whole(Bytes),
    /// Its file, whose bytes nobody has looked at.
    File(BlobReader),
}

/// What the disk is asked to have in memory beyond what is read from it.
const AHEAD_BYTES: u64 = 2 * 1024 * 1024;
