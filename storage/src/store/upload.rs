//! Upload sessions, from their beginning to the blob they become.

use std::sync::Arc;
use std::time::Duration;

use super::Store;
use crate::blob;
use crate::collect::seen::upload_name;
use crate::db::repository;
use crate::digest::{Algorithm, Digest};
use crate::error::StorageError;
use crate::name::{RepoName, UploadId, UserName};
use crate::sessions::Ended;
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
        self.sessions.create(name, user, algorithm)
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
        Ok(self.sessions.cancel(&session))
    }

    /// Ends every session that nobody used for `idle`; returns how many ended. What was given up
    /// of the reserve is restored if there is room for it now.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn expire_uploads(&self, idle: Duration) -> Result<u64, StorageError> {
        let ended = Ok(self.sweep_uploads(idle, false)?.sessions);
        self.space.restore_reserve();
        ended
    }

    /// The same with what it ended, or in a dry run would end.
    pub(crate) fn sweep_uploads(
        &self,
        idle: Duration,
        is_dry_run: bool,
    ) -> Result<Ended, StorageError> {
        self.sessions.sweep(idle, is_dry_run, &|halves| {
            let names: Vec<String> = halves.iter().map(upload_name).collect();
            self.known_for(&names, idle, is_dry_run)
        })
    }

    /// How many upload sessions are open, as far as this process has met them.
    pub fn open_uploads(&self) -> usize {
        self.sessions.count()
    }
}
