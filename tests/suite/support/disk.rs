//! File systems that a test may spoil: one so small that it can fill it, and one on a disk of its
//! own that it can stall or break.

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
pub(crate) struct OwnDisk {
    directory: TempDir,
}

impl OwnDisk {
    /// Makes and mounts one; none if this machine does not let root do so.
    pub(crate) fn mount() -> Option<Self> {
        // What Debian's installer lets it do with errors.
        Self::made(Command::new("mkfs.ext4").args(["-q", "-e", "remount-ro"]), 256 << 20)
    }

    /// The same of a file system whose files can share blocks.
    pub(crate) fn mount_with_shared_blocks() -> Option<Self> {
        Self::made(Command::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]), 512 << 20)
    }

    fn made(make: &mut Command, bytes: u64) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (image, mounted) = (directory.path().join("image"), directory.path().join("mounted"));
        std::fs::create_dir(&mounted).expect("a directory");
        let file = std::fs::File::create(&image).expect("a file");
        file.set_len(bytes).expect("a file with a hole");
        let disk = Self { directory };
        let made = run(make.arg(&image)).code() == Some(0);
        (made && disk.attach()).then_some(disk)
    }

    fn attach(&self) -> bool {
        let image = self.directory.path().join("image");
        let mut mount = Command::new("mount");
        run(mount.args(["-o", "loop"]).arg(image).arg(self.path())).code() == Some(0)
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

    /// Lets the file system find an error in itself, after which nobody can write to it; false if
    /// this machine does not let root do so.
    pub(crate) fn turn_read_only(&self) -> bool {
        let mut source = Command::new("findmnt");
        source.args(["--noheadings", "--output", "SOURCE", "--target"]).arg(self.path());
        let source = run(&mut source).ok();
        let device = source.rsplit('/').next().expect("a device");
        let trigger = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        std::fs::write(trigger, "1").is_ok()
    }

    /// Repairs it and mounts it again. Nobody may use it meanwhile.
    #[track_caller]
    pub(crate) fn repair(&self) {
        run(Command::new("umount").arg(self.path())).ok();
        let mut check = Command::new("e2fsck");
        let code = run(check.args(["-f", "-y"]).arg(self.directory.path().join("image"))).code();
        // 1 says that it had something to mend.
        assert!(matches!(code, Some(0 | 1)), "{code:?}");
        assert!(self.attach(), "it was mounted before");
    }

    /// Lets everything that writes wait until the stall is dropped. Who waits cannot be killed
    /// meanwhile, so nothing that a test waits for may outlive the stall.
    #[track_caller]
    pub(crate) fn stall(&self) -> Stall<'_> {
        run(Command::new("fsfreeze").arg("--freeze").arg(self.path())).ok();
        Stall(self)
    }
}

impl Drop for OwnDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

/// A disk that does not answer.
pub(crate) struct Stall<'a>(&'a OwnDisk);

impl Drop for Stall<'_> {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(self.0.path()).status();
    }
}
