//! Sessions whose bytes are no longer their own: they became a blob, or the process died when they
//! were about to. Rows and the file of that blob tell which.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::Arc;

use super::Store;
use crate::blob::{has_file, hash_file};
use crate::db::repository;
use crate::digest::Digest;
use crate::durable::sync_directory;
use crate::error::{IoContext, StorageError};
use crate::name::{RepoName, UploadId, UserName};
use crate::sessions::Found;
use crate::upload::{Becoming, Session, UploadWriter};

impl Store {
    /// Takes a session over to make it a blob; none if that is done already, for this digest, and
    /// the repository holds the blob: the answer was lost, with the client's connection or with the
    /// process.
    ///
    /// # Errors
    /// [`StorageError::UploadUnknown`] if this user has no such session in this repository, or if
    /// it became another blob, or one that is not there any more.
    pub fn open_upload_to_finish(
        &self,
        name: &RepoName,
        user: &UserName,
        id: UploadId,
        digest: &Digest,
    ) -> Result<Option<UploadWriter>, StorageError> {
        match self.open_upload(name, user, id) {
            // It may have ended while this request waited for it.
            Err(StorageError::UploadUnknown) => {}
            outcome => return outcome.map(Some),
        }
        match self.sessions.find(name, user, id)? {
            Found::Finished(blob) if blob.digest == *digest && self.is_held(name, blob)? => {
                Ok(None)
            }
            _ => Err(StorageError::UploadUnknown),
        }
    }

    /// A session of this user in this repository that bytes can be added to. One that a crash left
    /// without its bytes gets them back.
    pub(super) fn open_session(
        &self,
        name: &RepoName,
        user: &UserName,
        id: UploadId,
    ) -> Result<Arc<Session>, StorageError> {
        let mut found = self.sessions.find(name, user, id)?;
        if let Found::Finished(blob) = found
            && self.put_back(id, blob)?
        {
            found = self.sessions.find(name, user, id)?;
        }
        found.open().ok_or(StorageError::UploadUnknown)
    }

    /// Gives back their bytes to the sessions that a crash left without them, before collection
    /// takes these for nobody's, and before finished ones are forgotten for others.
    pub(super) fn put_back_all(&self) -> Result<(), StorageError> {
        for (id, blob) in self.sessions.finished() {
            self.put_back(id, blob)?;
        }
        Ok(())
    }

    /// Gives a session its bytes back, if they have the name of a blob that no row names.
    fn put_back(&self, id: UploadId, blob: Becoming) -> Result<bool, StorageError> {
        // Without the claim nearly always: a finished session's blob has a row.
        if !self.is_without_row(blob)? {
            return Ok(false);
        }
        self.space.check_writable()?;
        // With it, no row is on its way.
        let _claim = self.claims.claim(&blob.digest);
        Ok(self.is_without_row(blob)? && self.sessions.put_back(id))
    }

    /// Whether the file of a blob is there and no row names it.
    fn is_without_row(&self, Becoming { digest, size }: Becoming) -> Result<bool, StorageError> {
        let row = self.database.read(|connection| repository::blob(connection, &digest))?;
        Ok(row.is_none() && has_file(&self.layout, &digest, size)?)
    }

    /// Whether the repository holds the blob that a session became.
    fn is_held(&self, name: &RepoName, blob: Becoming) -> Result<bool, StorageError> {
        let is_there = || Ok(self.tell_blob_size(name, &blob.digest)?.is_some());
        if is_there()? {
            return Ok(true);
        }
        // Its row may still say what was wrong before these bytes came.
        let _claim = self.claims.claim(&blob.digest);
        let held = |connection: &_| repository::held_blob(connection, name, &blob.digest);
        if self.database.read(held)?.is_none() || !self.make_durable(blob)? {
            return Ok(false);
        }
        self.add_blob(name, blob)?;
        is_there()
    }

    /// Whether the file of a blob has the right bytes, which are durable then. The caller holds the
    /// claim.
    ///
    /// Crash argument: the process that put the file there may have died before it synced the name;
    /// that is done before the row is mended.
    fn make_durable(&self, Becoming { digest, size }: Becoming) -> Result<bool, StorageError> {
        let path = self.layout.blob(&digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).at("open", &path),
        };
        if file.metadata().at("read the size of", &path)?.len() != size
            || hash_file(&file, &path, digest.algorithm(), size)?.finish() != digest
        {
            return Ok(false);
        }
        file.sync_all().at("sync", &path)?;
        path.parent().map_or(Ok(()), sync_directory)?;
        Ok(true)
    }
}
