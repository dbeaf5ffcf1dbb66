//! File systems that a test may spoil: one so small that it can fill it, and one that it can
//! stall and let fail.

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
    pub(crate) const BYTES: usize = 16 << 20;

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

/// A file system on a disk of its own, unmounted when it is dropped.
pub(crate) struct StallingDisk {
    directory: TempDir,
}

impl StallingDisk {
    /// Makes and mounts one; none if this machine does not let root do so.
    pub(crate) fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (image, mounted) = (directory.path().join("image"), directory.path().join("mounted"));
        std::fs::create_dir(&mounted).expect("a directory");
        let file = std::fs::File::create(&image).expect("a file");
        file.set_len(256 << 20).expect("a file with a hole");
        let disk = Self { directory };
        let made = run(Command::new("mkfs.ext4").arg("-q").arg(&image)).code() == Some(0);
        let mut mount = Command::new("mount");
        let is_mounted =
            made && run(mount.args(["-o", "loop"]).arg(image).arg(mounted)).code() == Some(0);
        is_mounted.then_some(disk)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("mounted")
    }

    /// Mounts it anew with other options, as an administrator does.
    #[track_caller]
    pub(crate) fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        run(mount.args(["-o", &format!("remount,{options}")]).arg(self.path())).ok();
    }

    /// Takes it away and mounts it again: what was wrong with it is looked at and mended.
    #[track_caller]
    pub(crate) fn mend(&self) {
        let (image, mounted) = (self.directory.path().join("image"), self.path());
        run(Command::new("umount").arg(&mounted)).ok();
        let checked = run(Command::new("e2fsck").args(["-f", "-y"]).arg(&image)).code();
        assert!(matches!(checked, Some(0 | 1)), "{checked:?}");
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(mounted)).ok();
    }

    /// Lets the file system find itself damaged, after which the kernel keeps it from being
    /// written; false if this kernel does not do so on request.
    #[track_caller]
    pub(crate) fn fail(&self) -> bool {
        self.remount("errors=remount-ro");
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the mounts");
        let path = self.path().display().to_string();
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(&path));
        let device = line.and_then(|line| line.split(' ').next()).expect("its device");
        let device = device.trim_start_matches("/dev/");
        std::fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").is_ok()
    }

    /// Lets everything that writes wait until the stall is dropped. Who waits cannot be killed
    /// meanwhile, so nothing that a test waits for may outlive the stall.
    #[track_caller]
    pub(crate) fn stall(&self) -> Stall<'_> {
        run(Command::new("fsfreeze").arg("--freeze").arg(self.path())).ok();
        Stall(self)
    }
}

impl Drop for StallingDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

/// A disk that does not answer.
pub(crate) struct Stall<'a>(&'a StallingDisk);

impl Drop for Stall<'_> {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(self.0.path()).status();
    }
}
