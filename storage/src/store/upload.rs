//! Upload sessions: beginning, continuing and ending them.

use std::time::Duration;

use oci::{Algorithm, RepoName};

use super::Store;
use crate::account::Account;
use crate::collect::unnamed_files::upload_name;
use crate::content::Spool;
use crate::content::upload::{UploadId, UploadWriter};
use crate::error::StorageError;
use crate::in_memory::sessions::{KnownSession, SweptUploads};

impl Store {
    /// Whether the disk has room for an upload of so many bytes more, above what uploads leave
    /// free. Whoever knows how much is to come asks before it comes.
    ///
    /// # Errors
    /// [`StorageError::NoRoom`] if not.
    pub fn check_room(&self, bytes: u64) -> Result<(), StorageError> {
        self.space.check(bytes)
    }

    /// A file for what comes slowly, of so many bytes at most, and is read as a whole when it is
    /// there.
    ///
    /// # Errors
    /// Trouble with the disk, [`StorageError::NoRoom`] in particular.
    pub fn spool(&self, bytes: u64) -> Result<Spool, StorageError> {
        self.check_room(bytes)?;
        self.content.spool(&self.space)
    }

    /// Begins an upload session whose bytes are hashed with `algorithm` as they come.
    ///
    /// # Errors
    /// Trouble with the disk, [`StorageError::NoRoom`] in particular.
    pub fn create_upload(
        &self,
        name: &RepoName,
        user: &Account,
        algorithm: Algorithm,
    ) -> Result<UploadId, StorageError> {
        self.check_room(0)?;
        let created = self.sessions.create(name, user, algorithm);
        created.map_err(|error| self.space.explained(error))
    }

    /// The number of bytes that a session holds.
    ///
    /// # Errors
    /// [`StorageError::UploadUnknown`] if this user has no such session in this repository.
    pub fn upload_offset(
        &self,
        name: &RepoName,
        user: &Account,
        id: UploadId,
    ) -> Result<u64, StorageError> {
        self.open_session(name, user, id)?.offset()
    }

    /// Takes a session over for writing.
    ///
    /// # Errors
    /// [`StorageError::UploadUnknown`] if this user has no such session in this repository.
    pub fn open_upload(
        &self,
        name: &RepoName,
        user: &Account,
        id: UploadId,
    ) -> Result<UploadWriter, StorageError> {
        // What is finished or unknown is told on a read-only disk, too.
        let session = self.open_session(name, user, id)?;
        self.space.check_writable()?;
        let opened = self.content.open_upload(session, &self.space);
        opened.map_err(|error| self.space.explained(error)).inspect_err(|error| {
            if *error == StorageError::UploadUnknown {
                self.sessions.forget(id);
            }
        })
    }

    /// Ends a session and throws its bytes away; false if it was over already.
    ///
    /// # Errors
    /// [`StorageError::UploadUnknown`] if this user has no such session in this repository.
    pub fn cancel_upload(
        &self,
        name: &RepoName,
        user: &Account,
        id: UploadId,
    ) -> Result<bool, StorageError> {
        match self.open_session(name, user, id) {
            Ok(session) => {
                self.space.check_writable()?;
                // What stays of it would come back with the next start.
                if self.space.ask_read_only() {
                    return Err(StorageError::ReadOnly);
                }
                Ok(self.sessions.cancel(&session))
            }
            Err(error) => {
                // Who ends a finished session has heard that it is, and will not ask again.
                self.forget_finished_upload(name, user, id);
                Err(error)
            }
        }
    }

    /// Forgets a session that has become a blob, if it is this user's in this repository: nobody
    /// will ask for it any more. On a read-only disk it stays.
    pub fn forget_finished_upload(&self, name: &RepoName, user: &Account, id: UploadId) {
        if self.space.check_writable().is_ok()
            && matches!(self.sessions.find(name, user, id), Ok(KnownSession::Finished(_)))
        {
            self.sessions.forget_finished(id);
        }
    }

    /// Ends every session that nobody used for `idle`; returns how many ended. What was given up
    /// of the reserve is restored if there is room for it now.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn expire_uploads(&self, idle: Duration) -> Result<u64, StorageError> {
        self.space.check_writable()?;
        let ended = Ok(self.sweep_uploads(idle, false)?.sessions);
        self.space.restore_reserve();
        ended
    }

    /// Ends every session that nobody used for `idle`, or in a dry run only counts them. Makes
    /// whole what a crash left of the others.
    pub(crate) fn sweep_uploads(
        &self,
        idle: Duration,
        is_dry_run: bool,
    ) -> Result<SweptUploads, StorageError> {
        let ended = self.sessions.sweep(idle, is_dry_run, &|halves| {
            let names: Vec<String> = halves.iter().map(upload_name).collect();
            self.known_for(&names, idle, is_dry_run)
        })?;
        if !is_dry_run {
            self.content.remove_dead_imports()?;
            self.put_back_all()?;
            self.sessions.trim_finished();
        }
        Ok(ended)
    }

    /// How many upload sessions are open, as far as this process has met them.
    pub fn open_uploads(&self) -> usize {
        self.sessions.count()
    }
}
