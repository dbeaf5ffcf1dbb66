//! Reading one blob where it lies.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

/// The bytes of a blob. They are read where they lie, so any number can be read at once.
#[derive(Debug)]
pub struct BlobBytes {
    origin: Origin,
    /// Where the next byte stands.
    at: u64,
    left: u64,
    size: u64,
    is_whole_file: bool,
}

#[derive(Debug)]
enum Origin {
    File(Arc<File>),
    Memory(Bytes),
}

impl BlobBytes {
    pub(super) fn new(file: Arc<File>, at: u64, size: u64, is_whole_file: bool) -> Self {
        Self { origin: Origin::File(file), at, left: size, size, is_whole_file }
    }

    /// Of what lies in no file.
    pub(super) fn of_memory(bytes: Bytes) -> Self {
        let size = bytes.len() as u64;
        Self { origin: Origin::Memory(bytes), at: 0, left: size, size, is_whole_file: false }
    }

    /// All its bytes, whatever was read.
    pub fn len(&self) -> u64 {
        self.size
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// The file, if the blob is all of it, so that it can be cloned.
    pub fn whole_file(&self) -> Option<&File> {
        match &self.origin {
            Origin::File(file) => self.is_whole_file.then_some(&**file),
            Origin::Memory(_) => None,
        }
    }
}

impl Read for BlobBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = match &self.origin {
            Origin::File(file) => file.read_at(&mut buffer[..most], self.at)?,
            Origin::Memory(bytes) => {
                let start = usize::try_from(self.at).unwrap_or(usize::MAX);
                bytes.get(start..).unwrap_or_default().read(&mut buffer[..most])?
            }
        };
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.at = self.at.saturating_add(count as u64);
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}
