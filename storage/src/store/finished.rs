//! Sessions whose bytes are no longer their own: they became a blob, or the process died when they
//! were about to. Rows and the file of that blob tell which.

use std::sync::Arc;

use oci::{Digest, RepoName};

use super::Store;
use crate::account::Account;
use crate::content::SizedDigest;
use crate::content::upload::{FinishedUpload, Session, UploadId, UploadWriter};
use crate::db::Reader;
use crate::error::StorageError;
use crate::in_memory::sessions::KnownSession;

impl Store {
    /// Takes a session over to make it a blob; none if that is done already, for this digest, and
    /// the repository holds the blob: the answer was lost, with the client's connection or with the
    /// process. If nobody can have heard it, the repository gets the blob now, should it not hold
    /// it.
    ///
    /// # Errors
    /// [`StorageError::UploadUnknown`] if this user has no such session in this repository, or if
    /// it became another blob, or one that is not there any more.
    pub fn open_upload_to_finish(
        &self,
        name: &RepoName,
        user: &Account,
        id: UploadId,
        digest: &Digest,
    ) -> Result<Option<UploadWriter>, StorageError> {
        match self.open_upload(name, user, id) {
            // It may have ended while this request waited for it.
            Err(StorageError::UploadUnknown) => {}
            outcome => return outcome.map(Some),
        }
        match self.sessions.find(name, user, id)? {
            KnownSession::Finished(finished)
                if finished.blob.digest == *digest && self.is_become(name, &finished)? =>
            {
                self.sessions.note_published(id);
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
        user: &Account,
        id: UploadId,
    ) -> Result<Arc<Session>, StorageError> {
        let mut found = self.sessions.find(name, user, id)?;
        if let KnownSession::Finished(finished) = &found
            && !finished.is_published
            // Without the claim nearly always: the blob has a row.
            && self.is_without_row(finished.blob)?
        {
            self.sessions.meet_all()?;
            self.put_back_of(finished.blob)?;
            found = self.sessions.find(name, user, id)?;
        }
        found.open().ok_or(StorageError::UploadUnknown)
    }

    /// Gives back their bytes to the sessions that a crash left without them, before collection
    /// takes these for nobody's, and before finished ones are forgotten for others. All of them are
    /// known.
    pub(super) fn put_back_all(&self) -> Result<(), StorageError> {
        for blob in self.sessions.unpublished().into_keys() {
            if self.is_without_row(blob)? {
                self.put_back_of(blob)?;
            }
        }
        Ok(())
    }

    /// Gives back its bytes to the session whose process died between the rename and the row, if
    /// the file of this blob is one that no row names: a commit is about to put another in its
    /// place. The caller holds the claim.
    pub(super) fn put_back_before(&self, blob: SizedDigest) -> Result<(), StorageError> {
        if self.content.has_file(&blob.digest, blob.size)? {
            self.sessions.meet_all()?;
            self.put_back_claimed(blob);
        }
        Ok(())
    }

    /// Gives the session that was about to become a blob its bytes back, if they have the name of
    /// the blob and no row names it.
    fn put_back_of(&self, blob: SizedDigest) -> Result<(), StorageError> {
        self.space.check_writable()?;
        // With it, no row is on its way.
        let _claim = self.claims.claim(&blob.digest);
        if self.is_without_row(blob)? {
            self.put_back_claimed(blob);
        }
        Ok(())
    }

    fn put_back_claimed(&self, blob: SizedDigest) {
        if let Some(id) = self.sessions.unpublished().get(&blob) {
            self.sessions.put_back(*id);
        }
    }

    /// Whether the file of a blob is there and no row names it.
    fn is_without_row(
        &self,
        SizedDigest { digest, size }: SizedDigest,
    ) -> Result<bool, StorageError> {
        let row = self.database.read(|reader| reader.stored_blob(&digest))?;
        Ok(row.is_none() && self.content.has_file(&digest, size)?)
    }

    /// Whether a session's repository holds the blob that it became. One of which nobody has heard
    /// that it did gets the blob now, if that is there: its user has sent these bytes, which were
    /// held against the digest before it was noted what they become. Somebody else may have
    /// published the same meanwhile, in whatever repository.
    fn is_become(&self, name: &RepoName, finished: &FinishedUpload) -> Result<bool, StorageError> {
        let blob = finished.blob;
        let is_there = || Ok(self.tell_blob_size(name, &blob.digest)?.is_some());
        if is_there()? {
            return Ok(true);
        }
        let _claim = self.claims.claim(&blob.digest);
        // Its row may still say what was wrong before these bytes came.
        let held = |reader: &Reader<'_>| reader.held_blob(name, &blob.digest);
        let is_theirs = !finished.is_published || self.database.read(held)?.is_some();
        if !is_theirs {
            return Ok(false);
        }
        self.space.check_writable()?;
        if !self.content.make_durable(blob)? {
            return Ok(false);
        }
        self.add_blob(name, blob)?;
        is_there()
    }
}
