//! Reading one blob where it lies.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The bytes of a blob. They are read where they lie, so any number can be read at once.
#[derive(Debug)]
pub struct BlobBytes {
    file: Arc<File>,
    /// Where the next byte stands.
    at: u64,
    left: u64,
    size: u64,
    is_whole_file: bool,
}

impl BlobBytes {
    pub(super) fn new(file: Arc<File>, at: u64, size: u64, is_whole_file: bool) -> Self {
        Self { file, at, left: size, size, is_whole_file }
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
        self.is_whole_file.then_some(&*self.file)
    }
}

impl Read for BlobBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.at = self.at.saturating_add(count as u64);
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}
