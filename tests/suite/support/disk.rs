//! A file system so small that a test can fill it.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::process::run;

/// A file system in memory, unmounted when it is dropped.
pub(crate) struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    /// Its size: enough for an empty registry.
    pub(crate) const BYTES: usize = 4 << 20;

    /// Mounts one; none if this machine does not let root do so, as some containers do not.
    pub(crate) fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={}", Self::BYTES), "small-disk"]);
        let mounted = run(mount.arg(directory.path())).code() == Some(0);
        mounted.then_some(Self { directory })
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, so that it goes even when something still looks at it.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
