//! Whether a file system can be written.

use std::path::Path;

use rustix::fs::{Mode, OFlags, StatVfsMountFlags, open};
use rustix::io::Errno;

/// Whether a directory's file system is mounted read-only, as far as the table of mounts tells.
/// Waits for no disk.
pub(crate) fn is_mounted_read_only(directory: &Path) -> bool {
    let found = rustix::fs::statvfs(directory);
    found.is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Whether nothing can be written below a directory because its file system is read-only.
///
/// One that turned read-only after a failure may still be mounted writable by its flags: newer
/// kernels tell only whoever writes. A nameless file, which is gone at once, is such a write.
pub fn is_read_only(directory: &Path) -> bool {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    is_mounted_read_only(directory)
        || matches!(open(directory, flags, Mode::RUSR | Mode::WUSR), Err(Errno::ROFS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_can_be_written_is_not_read_only() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_read_only(directory.path()));
        assert!(!is_read_only(&directory.path().join("missing")));
        assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none());
    }
}
