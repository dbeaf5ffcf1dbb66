//! What can be wrong with the file of a blob.

use std::fmt;
use std::io::{self, ErrorKind};

use rustix::io::Errno;

/// What is wrong with the file of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobDamage {
    /// It is not there.
    Missing,
    /// It has another size.
    Size {
        /// The size it should have, in bytes.
        expected: u64,
        /// The size it has.
        found: u64,
    },
    /// It holds other bytes.
    Bytes,
    /// Something else is there in its place.
    NoFile,
    /// The disk does not give it back. It may be good, so it stays where it is: hidden, and looked
    /// at again by each verification.
    Unreadable(String),
}

impl fmt::Display for BlobDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("its file is missing"),
            Self::Size { expected, found } => {
                write!(f, "its file has {found} bytes and not {expected}")
            }
            Self::Bytes => f.write_str("its file holds other bytes"),
            Self::NoFile => f.write_str("what is in its place is no regular file"),
            Self::Unreadable(message) => write!(f, "its file cannot be read: {message}"),
        }
    }
}

impl BlobDamage {
    /// What a failure says about a file; none if it says more about this process than about the
    /// disk.
    pub(super) fn of_error(error: &io::Error) -> Option<Self> {
        if error.kind() == ErrorKind::NotFound {
            return Some(Self::Missing);
        }
        // Nor does a file go out that somebody else owns now, or a link to itself.
        let is_of_the_name = error.kind() == ErrorKind::PermissionDenied
            || error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
        (is_of_the_name || is_of_the_disk(error)).then(|| Self::Unreadable(error.to_string()))
    }
}

/// Whether a failure is the disk's or the file system's, and comes again.
pub(crate) fn is_of_the_disk(error: &io::Error) -> bool {
    let codes = [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::NODATA, Errno::REMOTEIO];
    error.raw_os_error().is_some_and(|code| codes.iter().any(|known| known.raw_os_error() == code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_of_the_disk_are_damage() {
        use rustix::io::Errno;
        let of = |errno: Errno| is_of_the_disk(&errno.into());
        assert!([Errno::IO, Errno::UCLEAN, Errno::BADMSG].into_iter().all(of));
        assert!(![Errno::ACCESS, Errno::MFILE, Errno::NOMEM, Errno::NOENT].into_iter().any(of));
    }
}
