//! What can go wrong with a backup or a restore, beyond what can go wrong in the store.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use durable::IoError;
use thiserror::Error;

use crate::byte_count::ByteCount;
use crate::error::{OpenError, StorageError, Trouble};
use crate::in_memory::lock::LockHolder;

/// A backup or a restore that is refused, or fails.
#[expect(missing_docs, reason = "fields whose names say what they are")]
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BackupError {
    /// Another backup of the same store runs.
    #[error("another backup of this registry runs: wait until it ends")]
    Busy,
    /// The registry's own disk has no room for the copy of the database.
    #[error(
        "while the registry serves, a backup copies its database onto the registry's own disk \
         first, which has no room for it: {} are needed and {} are free, of which {} stay free \
         for pushes; free some, or let the registry rest meanwhile, which needs no room there",
        ByteCount(*.needed_bytes), ByteCount(*.free_bytes), ByteCount(*.kept_bytes)
    )]
    NoRoom {
        /// What the copy takes, with what the database may grow by meanwhile.
        needed_bytes: u64,
        /// What is free.
        free_bytes: u64,
        /// What uploads leave free.
        kept_bytes: u64,
    },
    /// The store's disk is read-only, and whoever goes on with a backup notes that there.
    #[error(
        "{} holds a backup already, and who goes on with one notes that on the registry's own \
         disk, which is read-only: choose an empty directory for this one", .0.display()
    )]
    ReadOnly(PathBuf),
    /// Whoever asked wants it no more.
    #[error("stopped before the end")]
    Stopped,
    /// The directory holds something else than a backup.
    #[error(
        "{} holds {entry:?}, and no backup of this registry: choose an empty directory",
        .path.display()
    )]
    Foreign {
        path: PathBuf,
        /// One thing in it.
        entry: String,
    },
    /// The directory is a store, or a backup that became one.
    #[error(
        "{} is a registry's own data directory, or a backup that was served since: what was pushed \
         there would be lost; choose another directory", .0.display()
    )]
    Store(PathBuf),
    /// The directory is the backup of another store.
    #[error("{} is the backup of another registry: choose another directory", .0.display())]
    Other(PathBuf),
    /// The directory belongs to somebody else, who could lay links in it.
    #[error(
        "{} belongs to the user with number {owner}: choose a directory of your own",
        .path.display()
    )]
    NotYours {
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// The directory to restore from holds no whole backup.
    #[error("{} holds no whole backup", .0.display())]
    NoBackup(PathBuf),
    /// The backup to restore from is damaged.
    #[error("the backup in {} is damaged ({what})", .path.display())]
    DamagedBackup {
        /// The directory of the backup.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file that says whose backup a directory is cannot be read.
    #[error(
        "whose backup {} is cannot be read any more ({what}): back up into another directory",
        .path.display()
    )]
    DamagedMark {
        path: PathBuf,
        /// What is wrong with the file.
        what: String,
    },
    /// The database that is to be copied is damaged.
    #[error(
        "{} is damaged ({what}), so no backup was made, and an earlier one is as it was",
        .path.display()
    )]
    DamagedDatabase {
        /// The database of the store.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A backup is written there now.
    #[error("{holder} uses the backup in {}: wait until it ends", .path.display())]
    InUse { path: PathBuf, holder: LockHolder },
    /// There is a store where one is to be restored.
    #[error("{} holds a registry", .0.display())]
    StoreThere(PathBuf),
    /// Something else than a registry is where one is to be restored.
    #[error(
        "{} holds {entry:?}: restore into a directory that is empty or not there yet",
        .path.display()
    )]
    NotEmpty {
        path: PathBuf,
        /// One thing in it.
        entry: String,
    },
    /// There is no store that can be backed up, or restored.
    #[error(transparent)]
    Open(OpenError),
    /// The store refuses, or cannot.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl BackupError {
    /// Says of damage that what was read from the backup in this directory showed that the backup
    /// has it, wherever it showed.
    pub fn of_backup(path: &Path, error: impl Into<Self>) -> Self {
        let what = match error.into() {
            Self::Storage(StorageError::Failed(Trouble::Damaged { path, what })) => {
                format!("{}: {what}", file_name(&path))
            }
            Self::Storage(StorageError::Failed(
                Trouble::DatabaseDamaged(what) | Trouble::Database(what),
            )) => format!("its database: {what}"),
            error => return error,
        };
        Self::DamagedBackup { path: path.to_owned(), what }
    }

    /// Says of damage that a copy of a database showed that the database has it.
    pub(crate) fn of_database(path: PathBuf, error: Self) -> Self {
        match error {
            Self::Storage(StorageError::Failed(
                Trouble::Damaged { what, .. } | Trouble::DatabaseDamaged(what),
            )) => Self::DamagedDatabase { path, what },
            error => error,
        }
    }
}

fn file_name(path: &Path) -> Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

impl From<OpenError> for BackupError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Storage(error) => Self::Storage(error),
            error => Self::Open(error),
        }
    }
}

impl From<IoError> for BackupError {
    fn from(error: IoError) -> Self {
        StorageError::from(error).into()
    }
}
