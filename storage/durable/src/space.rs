//! Room on a file system.

use std::path::Path;

use crate::{At, IoError};

/// Space on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// All bytes of the file system.
    pub total_bytes: u64,
    /// Bytes that this process could still write.
    pub free_bytes: u64,
}

impl DiskSpace {
    /// Asks the file system that holds a path.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn of(path: &Path) -> Result<Self, IoError> {
        let space = rustix::fs::statvfs(path).at("read the free space of", path)?;
        Ok(Self {
            total_bytes: space.f_blocks.saturating_mul(space.f_frsize),
            free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
        })
    }
}
