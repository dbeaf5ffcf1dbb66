//! A disk for the servers alone, so that what they have it do can be counted: a file that is a
//! loop device, with an ext4 on it, or with an XFS where files are to share their blocks.
//!
//! It takes root and a kernel that lets it; where one of them is missing, that is said and the
//! servers' data lies in a plain directory, with nothing counted. However the load generator
//! ends, short of being killed, the file system is unmounted and the device given back.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fs::{FallocateFlags, fallocate, statvfs, syncfs};

/// A file system of its own, unmounted when it is dropped.
pub(crate) struct Disk {
    mounted: PathBuf,
    image: PathBuf,
    counters: PathBuf,
}

/// What the block device was asked for since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Times it was to bring everything to rest.
    pub(crate) flushes: u64,
    /// Bytes that were written to it.
    pub(crate) written_bytes: u64,
}

/// What a disk is formatted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Ext4,
    /// With blocks that files share.
    Xfs,
}

impl Disk {
    /// Makes one of so many bytes in `base`, and mounts it there. Fails where this machine does
    /// not let us; the error says what it said.
    pub(crate) fn mount(base: &Path, format: Format, bytes: u64) -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "only root may mount one");
        let name = format.name();
        let (image, mounted) = (base.join(format!("{name}.image")), base.join(name));
        fs::create_dir_all(&mounted)?;
        let file = File::create(&image).with_context(|| image.display().to_string())?;
        let allocated = fallocate(&file, FallocateFlags::empty(), 0, bytes);
        // From here on, dropping it takes away what there is.
        let mut disk = Self { mounted, image, counters: PathBuf::new() };
        allocated.with_context(|| format!("{bytes} bytes in {}", base.display()))?;
        said(format.maker().arg(&disk.image))?;
        let device = attach(&disk.image)?;
        let mounted = said(Command::new("mount").arg(&device).arg(&disk.mounted));
        // The device goes by itself as soon as nothing uses it any more.
        said(Command::new("losetup").arg("--detach").arg(&device))?;
        mounted?;
        let name = device.rsplit('/').next().unwrap_or_default();
        disk.counters = Path::new("/sys/block").join(name).join("stat");
        disk.counts()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.mounted
    }

    /// How much room is left on it, in bytes.
    pub(crate) fn free_bytes(&self) -> Result<u64> {
        let room = statvfs(&self.mounted).context("asking for the room of a disk")?;
        Ok(room.f_bfree.saturating_mul(room.f_frsize))
    }

    /// Brings everything to rest that was written, so that it is nobody else's.
    pub(crate) fn settle(&self) -> Result<()> {
        syncfs(File::open(&self.mounted)?).context("syncing the disk of the servers")
    }

    /// What the device has done until now.
    pub(crate) fn counts(&self) -> Result<Counts> {
        let path = self.counters.display();
        let text = fs::read_to_string(&self.counters).with_context(|| format!("reading {path}"))?;
        Counts::parse(&text).with_context(|| format!("{path} has another form: {text}"))
    }
}

impl Format {
    /// The word for it, and for where it is mounted.
    fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "disk",
            Self::Xfs => "disk-xfs",
        }
    }

    /// What makes one, but for the file.
    fn maker(self) -> Command {
        let (program, flags): (&str, &[&str]) = match self {
            // What ext4 puts off until it is mounted would be counted as the servers' own.
            Self::Ext4 => {
                ("mkfs.ext4", &["-q", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"])
            }
            Self::Xfs => ("mkfs.xfs", &["-q", "-K", "-m", "reflink=1"]),
        };
        let mut command = Command::new(program);
        command.args(flags);
        command
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, so that it goes even when something still looks at it; it fails where nothing
        // was mounted.
        let _ = Command::new("umount").arg("--lazy").arg("--quiet").arg(&self.mounted).output();
        let _ = fs::remove_dir(&self.mounted);
        let _ = fs::remove_file(&self.image);
    }
}

impl Counts {
    /// The fields 7, sectors of 512 bytes written, and 16, flushes, of `/sys/block/NAME/stat`.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<u64> =
            stat.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let written_bytes = fields.get(6)?.checked_mul(512)?;
        Some(Self { flushes: *fields.get(15)?, written_bytes })
    }
}

/// Makes a loop device of a file; past the page cache of what the file lies on, where that goes.
fn attach(image: &Path) -> Result<String> {
    let attach = |flags: &[&str]| {
        let mut command = Command::new("losetup");
        said(command.args(["--find", "--show"]).args(flags).arg(image))
    };
    attach(&["--direct-io=on"]).or_else(|_| attach(&[]))
}

/// What a command printed; fails with what it complained of.
fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {}", output.status, complaint.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read() {
        let stat = " 206 5 6508 178 95 68 1306 262 0 300 596 7 8 9 10 52 155\n";
        let expected = Counts { flushes: 52, written_bytes: 1306 * 512 };
        assert_eq!(Counts::parse(stat), Some(expected));
        // A kernel before 5.5 counts no flushes.
        assert_eq!(Counts::parse("206 5 6508 178 95 68 1306 262 0 300 596 7 8 9 10"), None);
        assert_eq!(Counts::parse("206 5 6508 178 95 68 many"), None);
    }

    #[test]
    fn a_disk_counts_what_it_is_asked_for_and_leaves_nothing() {
        let base = tempfile::tempdir().unwrap();
        let disk = match Disk::mount(base.path(), Format::Ext4, 64 << 20) {
            Ok(disk) => disk,
            // As in some containers; the program then goes without as well.
            Err(error) => return println!("no disk of our own: {error:#}"),
        };
        disk.settle().unwrap();
        let before = disk.counts().unwrap();
        let file = File::create(disk.path().join("file")).unwrap();
        std::io::Write::write_all(&mut &file, &[1; 1 << 20]).unwrap();
        file.sync_all().unwrap();
        drop(file);
        let after = disk.counts().unwrap();
        assert!(after.flushes > before.flushes, "{before:?} {after:?}");
        assert!(after.written_bytes >= before.written_bytes + (1 << 20), "{before:?} {after:?}");
        let path = disk.path().to_owned();
        drop(disk);
        assert!(!path.exists());
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }
}
