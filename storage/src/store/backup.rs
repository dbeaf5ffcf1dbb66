//! What a backup asks of a store, and what a backup that is served becomes.

use std::ops::ControlFlow;

use oci::Algorithm;

use super::Store;
use crate::backup::generation::{FoundBackup, Generation};
use crate::backup::{BackupError, DatabaseFiles, forget, missing};
use crate::db::copy::NamedBlob;
use crate::error::StorageError;

impl Store {
    /// Notes that a run of a backup begins where it finds `found`, and is to write `next` there.
    /// False if the last run that wrote there was not this store's. Durable on return, also on a
    /// full disk, where a backup is wanted most.
    ///
    /// # Errors
    /// Trouble with the disk or the database.
    pub fn begin_backup(&self, found: FoundBackup, next: Generation) -> Result<bool, StorageError> {
        self.database.write_to_free(move |transaction| transaction.begin_backup(&found, &next))
    }

    /// What tells this store from others; its copies have it too.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn identity(&self) -> Result<String, StorageError> {
        self.database.read(|reader| reader.identity())
    }

    /// The blobs of one directory below `blobs/`, in the order of their digests.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn named_blobs(
        &self,
        algorithm: Algorithm,
        prefix: u8,
    ) -> Result<Vec<NamedBlob>, StorageError> {
        self.database.read(|reader| reader.named_blobs(algorithm, prefix))
    }

    /// Checks that the database's structure is sound, for whoever copies its file. `go_on` is asked
    /// now and then, and says whether anybody still wants to know.
    ///
    /// # Errors
    /// [`BackupError::Stopped`], [`BackupError::DamagedDatabase`], else trouble with the disk or
    /// the database.
    pub fn check_database(
        &self,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<(), BackupError> {
        match self.database.check(go_on) {
            Ok(true) => Ok(()),
            Ok(false) => Err(BackupError::Stopped),
            Err(error) => Err(BackupError::of_database(self.layout.database(), error.into())),
        }
    }

    /// Opens the file of the database, for whoever owns this store and writes nothing to it while
    /// the file is copied. What the log holds is moved into it first; a log for which there is no
    /// room in it, or on a read-only disk, is opened as well, and belongs to it.
    ///
    /// # Errors
    /// Trouble with the disk or the database.
    pub fn database_files(&self) -> Result<DatabaseFiles, StorageError> {
        if !self.is_read_only()
            && let Err(error) = self.database.empty_log()
            && !self.space.ask_read_only()
        {
            return Err(error);
        }
        // When they are closed, the locks go that SQLite has on these files: only the owner of the
        // store knows them, and he is this process.
        DatabaseFiles::open(&self.layout.database(), &self.layout.database_log())
    }

    /// Makes a directory that was a backup a store of its own, which no backup overwrites and which
    /// goes on with none. Whoever serves it does this first.
    ///
    /// What a backup lacks is noted here and not when it is made: its database is a copy, byte for
    /// byte, of one that another user wrote, and whoever makes the backup only copies.
    ///
    /// Crash argument: the mark goes last, so that a start that is cut short does all of it again.
    ///
    /// # Errors
    /// Trouble with the disk or the database.
    pub fn forget_backup(&self) -> Result<(), StorageError> {
        // Nothing can be pushed to a disk that is read-only, so it stays a backup.
        if !self.layout.is_backup() || self.is_read_only() {
            return Ok(());
        }
        let lost = missing(&self.layout, |algorithm, prefix| self.named_blobs(algorithm, prefix))?;
        self.database.write_to_free(move |transaction| transaction.leave_backups(&lost))?;
        forget(&self.layout)
    }
}
