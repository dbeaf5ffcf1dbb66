//! Blobs: reading, mounting and deleting them.

use super::Store;
use crate::blob::{BlobReader, has_file};
use crate::db::repository;
use crate::digest::Digest;
use crate::error::StorageError;
use crate::name::RepoName;

impl Store {
    /// The size of a blob, if the repository holds it and its file is there: who is told that a
    /// blob exists does not push it again, and only that brings a lost file back.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn blob_size(&self, name: &RepoName, digest: &Digest) -> Result<Option<u64>, StorageError> {
        let held =
            self.database.read(|connection| repository::held_blob(connection, name, digest))?;
        match held {
            Some(blob) if !blob.is_lost && has_file(&self.layout, digest, blob.size)? => {
                Ok(Some(blob.size))
            }
            _ => Ok(None),
        }
    }

    /// The same for somebody who may push, and who will name the blob in a manifest without pushing
    /// it if it is there: collection then leaves it for the grace time.
    ///
    /// # Errors
    /// [`StorageError::Closed`] after [`Store::close`]; trouble with the database.
    pub fn tell_blob_size(
        &self,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<Option<u64>, StorageError> {
        if !self.recent.tell(name.as_str(), digest) {
            return Err(StorageError::Closed);
        }
        let size = self.blob_size(name, digest)?;
        if size.is_none() {
            self.recent.take_back(name.as_str(), digest);
        }
        Ok(size)
    }

    /// Opens a blob, if the repository holds it.
    ///
    /// # Errors
    /// [`StorageError::BlobLost`] if the repository holds it and its file is no good; trouble with
    /// the database or the disk.
    pub fn open_blob(
        &self,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<Option<BlobReader>, StorageError> {
        let held =
            self.database.read(|connection| repository::held_blob(connection, name, digest))?;
        let Some(blob) = held else { return Ok(None) };
        let reader = match blob.is_lost {
            true => None,
            false => BlobReader::open(&self.layout, digest, blob.size)?,
        };
        reader.map(Some).ok_or(StorageError::BlobLost(*digest))
    }

    /// Takes a blob out of a repository; false if it was not there. Durable on return.
    ///
    /// # Errors
    /// [`StorageError::BlobInUse`] while a manifest of the repository names it.
    pub fn delete_blob(&self, name: &RepoName, digest: &Digest) -> Result<bool, StorageError> {
        let (repository, blob) = (name.clone(), *digest);
        let remove = move |connection: &_| repository::remove_blob(connection, &repository, &blob);
        let is_gone = self.database.write_to_free(remove)?;
        self.recent.take_back(name.as_str(), digest);
        Ok(is_gone)
    }

    /// Gives a blob of `from`, or of any repository, to `name`; false if none holds it, or its
    /// file is lost.
    /// Whether the user may pull from there is the caller's to check. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn mount_blob(
        &self,
        from: Option<&RepoName>,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<bool, StorageError> {
        if !self.is_stored(digest)? {
            return Ok(false);
        }
        let (from, to, digest) = (from.cloned(), name.clone(), *digest);
        let mounted = self
            .database
            .write(move |connection| repository::mount(connection, from.as_ref(), &to, &digest))?;
        if mounted {
            self.recent.tell(name.as_str(), &digest);
        }
        Ok(mounted)
    }

    /// Whether the blob has a row and is not lost, and has the file that the row promises.
    pub(super) fn is_stored(&self, digest: &Digest) -> Result<bool, StorageError> {
        let size = self.database.read(|connection| repository::stored_size(connection, digest))?;
        size.map_or(Ok(false), |size| has_file(&self.layout, digest, size))
    }
}
