//! File systems whose promises are somebody else's.

use std::fmt;

/// A file system behind a network or another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// NFS.
    Nfs,
    /// CIFS and every other version of SMB.
    Smb,
    /// A program of its own, such as sshfs; also virtiofs.
    Fuse,
    /// Ceph.
    Ceph,
    /// A directory of another host over 9P, as virtual machines have them.
    Plan9,
    /// AFS.
    Afs,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nfs => "NFS",
            Self::Smb => "CIFS or SMB",
            Self::Fuse => "FUSE",
            Self::Ceph => "Ceph",
            Self::Plan9 => "9P",
            Self::Afs => "AFS",
        })
    }
}
