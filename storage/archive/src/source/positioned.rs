//! Reading a file from front to back without moving anybody's place in it, a window at a time:
//! headers are short, and between them lie blobs that are not read.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::tar::Input;

/// A place in a file.
#[derive(Debug)]
pub(super) struct Positioned {
    file: Arc<File>,
    at: u64,
    size: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl Positioned {
    pub(super) fn new(file: Arc<File>, size: u64) -> Self {
        Self { file, at: 0, size, window: Vec::new(), window_at: 0 }
    }
}

impl Input for Positioned {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        if !self.may_have(bytes) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.at = self.at.saturating_add(bytes);
        Ok(())
    }

    fn may_have(&self, bytes: u64) -> bool {
        bytes <= self.size.saturating_sub(self.at)
    }
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let inside = |at: u64, from: u64| usize::try_from(at.checked_sub(from)?).ok();
        let held = |window: &[u8], start: Option<usize>| start.filter(|it| *it < window.len());
        let mut start = held(&self.window, inside(self.at, self.window_at));
        if start.is_none() {
            self.window.resize(WINDOW_BYTES, 0);
            let count = self.file.read_at(&mut self.window, self.at);
            self.window.truncate(*count.as_ref().unwrap_or(&0));
            self.window_at = self.at;
            count?;
            start = Some(0);
        }
        let rest = &self.window[start.unwrap_or_default()..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at = self.at.saturating_add(count as u64);
        Ok(count)
    }
}

/// A header, and the content of most documents.
const WINDOW_BYTES: usize = 16 << 10;
