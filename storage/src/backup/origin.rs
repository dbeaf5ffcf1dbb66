//! The backup that a store is restored from. It is only read: it may lie on a disk that cannot be
//! written.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use durable::IoError;
use oci::{Algorithm, Digest};

use super::mark::Mark;
use super::{BackupError, DatabaseFiles, SmallFiles, read_directory, read_small};
use crate::content::Content;
use crate::error::{StorageError, Trouble};
use crate::in_memory::lock::LockHolder;
use crate::layout::Layout;

/// A whole backup.
#[derive(Debug)]
pub struct Origin {
    layout: Layout,
    made_at: Option<i64>,
}

impl Origin {
    /// Opens the backup in a directory.
    ///
    /// # Errors
    /// [`BackupError::NoBackup`] if there is none, or its first run was cut short,
    /// [`BackupError::InUse`] while one is written, [`BackupError::DamagedBackup`],
    /// [`Trouble::NewerFormat`]; else trouble with the disk.
    pub fn open(directory: &Path) -> Result<Self, BackupError> {
        let layout = Layout::new(directory);
        let no_backup = || BackupError::NoBackup(directory.to_owned());
        let damaged = |error| BackupError::of_backup(directory, error);
        let mark = Mark::read(&layout).map_err(damaged)?.ok_or_else(no_backup)?;
        if let Some(holder) = LockHolder::of(&layout.lock())? {
            return Err(BackupError::InUse { path: directory.to_owned(), holder });
        }
        layout.format().map_err(damaged)?.ok_or_else(no_backup)?;
        Ok(Self { layout, made_at: mark.made_at })
    }

    /// The directory of the backup.
    pub fn path(&self) -> &Path {
        self.layout.root()
    }

    /// When it was made, in seconds since 1970.
    pub fn made_at(&self) -> Option<i64> {
        self.made_at
    }

    /// The blobs of one directory below `blobs/`, with their sizes.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn shard(
        &self,
        algorithm: Algorithm,
        prefix: u8,
    ) -> Result<Vec<(Digest, u64)>, StorageError> {
        let content = Content::new(&self.layout);
        let listed = match content.list(algorithm, prefix) {
            Err(StorageError::Failed(Trouble::Io(IoError {
                kind: ErrorKind::NotFound, ..
            }))) => {
                return Ok(Vec::new());
            }
            listed => listed?.blobs,
        };
        let mut blobs: Vec<(Digest, u64)> = Vec::new();
        for digest in listed {
            blobs.extend(content.bytes_under_name(&digest)?.map(|bytes| (digest, bytes)));
        }
        blobs.sort_unstable();
        Ok(blobs)
    }

    /// Opens a blob; `None` if it is not there.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<File>, StorageError> {
        Content::new(&self.layout).open_own(digest)
    }

    /// Opens the database, and its log, if the registry's disk had no room for it when the backup
    /// was made, or somebody who opened the backup left one.
    ///
    /// # Errors
    /// [`BackupError::NoBackup`] if there is none; else trouble with the disk.
    pub fn open_database(&self) -> Result<DatabaseFiles, BackupError> {
        let path = self.layout.database();
        if !path.exists() {
            return Err(BackupError::NoBackup(self.layout.root().to_owned()));
        }
        DatabaseFiles::open(&path, &self.layout.database_log())
            .map_err(|error| BackupError::of_backup(self.path(), error))
    }

    /// Certificates and keys.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn tls(&self) -> Result<SmallFiles, StorageError> {
        read_directory(&self.layout.tls())
    }

    /// The first user's password, if it was made up and held when the backup was made.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn init_password(&self) -> Result<Option<Vec<u8>>, StorageError> {
        read_small(&self.layout.init_password())
    }

    /// A file of the host from outside of the store, by its name from [`super::name_in_backup`].
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn outside(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        read_small(&self.layout.root().join(name))
    }
}
