//! What the opening of a store can meet, beyond what its verbs can.

use std::path::PathBuf;

use durable::IoError;
use thiserror::Error;

use super::{StorageError, Trouble};
use crate::byte_count::ByteCount;
use crate::in_memory::lock::holder::LockHolder;
use crate::medium::network_fs::Foreign;

/// Why a directory is not opened as a store.
#[expect(missing_docs, reason = "fields whose names say what they are")]
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The directory holds no store, and one is not to be made.
    #[error(
        "{} holds no registry (there is no FORMAT in it): if it is a mount point, mount its file \
         system", .0.display()
    )]
    NoStore(PathBuf),
    /// A restore into the directory was cut short.
    #[error("a restore into {} was cut short", .0.display())]
    HalfRestored(PathBuf),
    /// The directory is a backup, in which no command changes anything.
    #[error("{} is a backup", .0.display())]
    IsBackup(PathBuf),
    /// The directory holds something else.
    #[error(
        "{} holds {entry:?}, which is not a registry's: choose an empty directory", .path.display()
    )]
    ForeignDirectory {
        path: PathBuf,
        /// One thing in it.
        entry: String,
    },
    /// The directory lies behind a network or another program.
    #[error(
        "{} lies on {kind}, where locks and synced writes are somebody else's promise: choose a \
         directory on a disk of this host", .path.display()
    )]
    ForeignDisk {
        path: PathBuf,
        /// What it lies on.
        kind: Foreign,
    },
    /// Something links or is mounted from the store's directory to another place.
    #[error(
        "{} is another file system, or another mount of it, than {}, and no file can be moved from \
         one to the other: take away the link or the mount, and move {} as a whole to the disk \
         that has the room", .directory.display(), .root.display(), .root.display()
    )]
    SplitDisk {
        root: PathBuf,
        /// The directory that lies elsewhere.
        directory: PathBuf,
    },
    /// Another process owns the store.
    #[error("{0} owns this registry: stop it, or wait until it ends")]
    Owned(LockHolder),
    /// The database has to be changed once for this program, and its disk is read-only.
    #[error(
        "the database in {} is of an earlier version and has to be changed once, which its disk, \
         being read-only, does not allow: mount it writable, or run the version before",
        .0.display()
    )]
    OldAndReadOnly(PathBuf),
    /// The database has to be changed once for this program, and its disk has no room for that.
    #[error(
        "the database in {} is of an earlier version and has to be changed once, for which the \
         disk needs {} free and has {}: make room on it or enlarge it, then start the registry \
         again; until then the database stays as it is", .path.display(), ByteCount(*.needed_bytes),
        ByteCount(*.free_bytes)
    )]
    NoRoomToUpgrade {
        path: PathBuf,
        /// What the change needs at once.
        needed_bytes: u64,
        /// What is there for it, with what the registry gives up.
        free_bytes: u64,
    },
    /// What a verb could meet, too.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl OpenError {
    /// Says of what a verb could meet, too, what it means here.
    pub(crate) fn explained(self, explain: impl FnOnce(StorageError) -> StorageError) -> Self {
        match self {
            Self::Storage(error) => Self::Storage(explain(error)),
            error => error,
        }
    }

    /// What this means when it was the store's own disk that refused.
    pub(crate) fn of_own_disk(self) -> Self {
        self.explained(|error| if error.is_read_only() { StorageError::ReadOnly } else { error })
    }
}

impl PartialEq<StorageError> for OpenError {
    fn eq(&self, other: &StorageError) -> bool {
        matches!(self, Self::Storage(error) if error == other)
    }
}

impl From<Trouble> for OpenError {
    fn from(error: Trouble) -> Self {
        StorageError::from(error).into()
    }
}

impl From<IoError> for OpenError {
    fn from(error: IoError) -> Self {
        StorageError::from(error).into()
    }
}
