//! Upload sessions, from their beginning to the blob they become.

use std::sync::Arc;
use std::time::Duration;

use super::Store;
use crate::blob;
use crate::db::repository;
use crate::digest::{Algorithm, Digest};
use crate::error::StorageError;
use crate::name::{RepoName, UploadId, UserName};
use crate::upload::UploadWriter;

impl Store {
    /// Whether the disk has room for an upload of so many bytes more, above what uploads leave
    /// free. Whoever knows how much is to come asks before it comes.
    ///
    /// # Errors
    /// [`StorageError::NoRoom`] if not.
    pub fn check_room(&self, bytes: u64) -> Result<(), StorageError> {
        self.space.check(bytes)
    }

    /// Begins an upload session whose bytes are hashed with `algorithm` as they come.
    ///
    /// # Errors
    /// Trouble with the disk, [`StorageError::NoRoom`] in particular.
    pub fn create_upload(
        &self,
        name: &RepoName,
        user: &UserName,
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
        user: &UserName,
        id: UploadId,
    ) -> Result<u64, StorageError> {
        self.sessions.find(name, user, id)?.offset()
    }

    /// Takes a session over for writing.
    ///
    /// # Errors
    /// [`StorageError::UploadUnknown`] if this user has no such session in this repository.
    pub fn open_upload(
        &self,
        name: &RepoName,
        user: &UserName,
        id: UploadId,
    ) -> Result<UploadWriter, StorageError> {
        let session = self.sessions.find(name, user, id)?;
        self.space.check_writable()?;
        let (layout, space) = (self.layout.clone(), Arc::clone(&self.space));
        UploadWriter::open(session, layout, space).inspect_err(|error| {
            if *error == StorageError::UploadUnknown {
                self.sessions.forget(id);
            }
        })
    }

    /// Makes the bytes of a session a blob of its repository. Durable on return.
    ///
    /// Crash argument: the file is complete, synced and in place before the row that makes it
    /// visible is written, and the row is synced before the caller hears of it.
    ///
    /// # Errors
    /// [`StorageError::DigestMismatch`] if the bytes are others. After that, and after trouble
    /// that leaves the bytes as they were, a full disk for one, the session stays open.
    pub fn commit_upload(
        &self,
        upload: &UploadWriter,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        let session = upload.session();
        let outcome = upload.commit(digest, |file, path, size| {
            // Collection takes no file away between the look at it and the row that needs it; and
            // what is put back after a failure is not what somebody else's row stands for.
            let _claim = self.claims.claim(digest);
            let is_placed = !self.is_stored(digest)?;
            if is_placed {
                blob::publish(&self.layout, file, path, digest)?;
            }
            let (name, digest) = (session.repository.clone(), *digest);
            let entered = self
                .database
                .write(move |connection| repository::add_blob(connection, &name, &digest, size));
            entered.map_err(|error| match is_placed {
                true => blob::put_back(&self.layout, path, &digest, error),
                false => error.into(),
            })
        });
        if outcome.is_ok() {
            // Remembered without a clock that somebody may set, too.
            self.recent.tell(session.repository.as_str(), digest);
        }
        if session.is_over() {
            self.sessions.forget(session.id);
        }
        outcome
    }

    /// Ends a session and throws its bytes away; false if it was over already.
    ///
    /// # Errors
    /// [`StorageError::UploadUnknown`] if this user has no such session in this repository.
    pub fn cancel_upload(
        &self,
        name: &RepoName,
        user: &UserName,
        id: UploadId,
    ) -> Result<bool, StorageError> {
        let session = self.sessions.find(name, user, id)?;
        self.space.check_writable()?;
        Ok(self.sessions.cancel(&session))
    }

    /// Ends every session that nobody used for `idle`; returns how many ended. What was given up
    /// of the reserve is restored if there is room for it now.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn expire_uploads(&self, idle: Duration) -> Result<u64, StorageError> {
        self.space.check_writable()?;
        let ended = Ok(self.sessions.sweep(idle, false)?.sessions);
        self.space.restore_reserve();
        ended
    }

    /// How many upload sessions are open, as far as this process has met them.
    pub fn open_uploads(&self) -> usize {
        self.sessions.count()
    }
}
