//! What a store lies on: of what kind its file system is, whether it can be written, and whether
//! it is one.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use durable::At;
use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};

use crate::error::{OpenError, StorageError};
use crate::layout::Layout;

pub(crate) mod network_fs;
pub(crate) mod read_only;

pub use network_fs::Foreign;
pub(crate) use read_only::is_mounted_read_only;
pub use read_only::is_read_only;

/// The kind of a file system, as far as it matters to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A disk of this host, or what passes for one.
    Disk,
    /// Memory: everything is gone when the host restarts.
    Memory,
    /// Behind a network or another program: what is locked or synced there is somebody else's
    /// promise.
    Foreign(Foreign),
}

impl Medium {
    /// What `path` lies on, or will lie on once it is made.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn of(path: &Path) -> Result<Self, StorageError> {
        // A relative path has an empty one above all others: the working directory.
        let there = path.ancestors().find(|path| path.exists());
        let there = there.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let found = rustix::fs::statfs(there).at("look at the file system of", there)?;
        Ok(Self::from_type(found.f_type))
    }

    /// Checks that a store may lie there.
    ///
    /// # Errors
    /// [`OpenError::ForeignDisk`] unless that is allowed, and trouble with the disk.
    pub fn check(path: &Path, allow_network_fs: bool) -> Result<(), OpenError> {
        match Self::of(path)? {
            Self::Foreign(kind) if !allow_network_fs => {
                Err(OpenError::ForeignDisk { path: path.to_owned(), kind })
            }
            _ => Ok(()),
        }
    }

    fn from_type(kind: i64) -> Self {
        // The numbers have 32 bits; where the kernel's word has more, some come with a sign.
        match kind & 0xffff_ffff {
            NFS => Self::Foreign(Foreign::Nfs),
            SMB | CIFS | SMB2 => Self::Foreign(Foreign::Smb),
            FUSE => Self::Foreign(Foreign::Fuse),
            CEPH => Self::Foreign(Foreign::Ceph),
            PLAN9 => Self::Foreign(Foreign::Plan9),
            AFS => Self::Foreign(Foreign::Afs),
            TMPFS | RAMFS => Self::Memory,
            _ => Self::Disk,
        }
    }
}

/// Checks that files can be renamed from each directory of a store to each other. A link or a
/// mount among them would fail a push after all its bytes came.
pub(crate) fn check_one(layout: &Layout) -> Result<(), OpenError> {
    let root = layout.root();
    let expected = place(root)?;
    for directory in layout.directories() {
        if place(&directory)? != expected {
            return Err(OpenError::SplitDisk { root: root.to_owned(), directory });
        }
    }
    Ok(())
}

/// The device of a directory and, where the kernel tells it, the mount: between two mounts of one
/// device nothing can be renamed either.
fn place(directory: &Path) -> Result<(u64, Option<u64>), StorageError> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    match statx(CWD, directory, AtFlags::empty(), wanted) {
        Ok(found) => {
            let is_told = found.stx_mask & StatxFlags::MNT_ID.bits() != 0;
            let device = makedev(found.stx_dev_major, found.stx_dev_minor);
            Ok((device, is_told.then_some(found.stx_mnt_id)))
        }
        // What keeps programs in a sandbox may not know the call.
        Err(_) => Ok((directory.metadata().at("look at", directory)?.dev(), None)),
    }
}

// What `statfs` calls file systems: linux/magic.h.
const NFS: i64 = 0x6969;
const SMB: i64 = 0x517b;
const CIFS: i64 = 0xff53_4d42;
const SMB2: i64 = 0xfe53_4d42;
const FUSE: i64 = 0x6573_5546;
const CEPH: i64 = 0x00c3_6400;
const PLAN9: i64 = 0x0102_1997;
const AFS: i64 = 0x5346_414f;
const TMPFS: i64 = 0x0102_1994;
const RAMFS: i64 = 0x8584_58f6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_file_system_is_known_by_its_number() {
        for (kind, medium) in [
            (0xef53, Medium::Disk),
            (0x5846_5342, Medium::Disk),
            (NFS, Medium::Foreign(Foreign::Nfs)),
            (CIFS, Medium::Foreign(Foreign::Smb)),
            // As a word of 32 bits with a sign becomes one of 64.
            (i64::from(SMB2 as u32 as i32), Medium::Foreign(Foreign::Smb)),
            (FUSE, Medium::Foreign(Foreign::Fuse)),
            (TMPFS, Medium::Memory),
            (i64::from(RAMFS as u32 as i32), Medium::Memory),
        ] {
            assert_eq!(Medium::from_type(kind), medium, "{kind:x}");
        }
    }

    #[test]
    fn what_is_not_there_yet_lies_on_what_will_hold_it() {
        let processes = Path::new("/proc/not/there");
        assert_eq!(Medium::of(processes), Medium::of(Path::new("/proc")));
        assert_eq!(Medium::of(Path::new("not-there")), Medium::of(Path::new(".")));
        let memory = Path::new("/dev/shm");
        if memory.exists() {
            assert_eq!(Medium::of(&memory.join("not/there")), Ok(Medium::Memory));
        }
    }
}
