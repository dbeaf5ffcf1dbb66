//! Blobs: reading, mounting and deleting them.

use std::ops::ControlFlow;

use oci::{Digest, RepoName};

use super::Store;
use crate::content::{BlobContent, BlobReader};
use crate::db::Transaction;
use crate::db::lost::LossOutcome;
use crate::error::StorageError;

impl Store {
    /// The size of a blob, if the repository holds it and its file is there: who is told that a
    /// blob exists does not push it again, and only that brings a lost file back.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn blob_size(&self, name: &RepoName, digest: &Digest) -> Result<Option<u64>, StorageError> {
        let held = self.database.read(|reader| reader.held_blob(name, digest))?;
        match held {
            Some(blob) if !blob.is_lost && self.content.has_file(digest, blob.size)? => {
                Ok(Some(blob.size))
            }
            _ => Ok(None),
        }
    }

    /// The size of a blob, for somebody who may push and will name the blob in a manifest without
    /// pushing it if it is there: collection then leaves it for the grace time. There is an
    /// answer where [`Store::blob_size`] has one.
    ///
    /// # Errors
    /// [`StorageError::Closed`] after [`Store::close`]; trouble with the database.
    pub fn tell_blob_size(
        &self,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<Option<u64>, StorageError> {
        if !self.told.tell(name.as_str(), digest) {
            return Err(StorageError::Closed);
        }
        let size = self.blob_size(name, digest)?;
        if size.is_none() {
            self.told.take_back(name.as_str(), digest);
        }
        Ok(size)
    }

    /// Opens a blob, if the repository holds it. What is read of it is not held against the digest.
    ///
    /// # Errors
    /// [`StorageError::BlobLost`] if the repository holds it and its file is no good; trouble with
    /// the database or the disk.
    pub fn open_blob(
        &self,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<Option<BlobReader>, StorageError> {
        self.serve(name, digest, |reader| Ok(Some(reader.touched())))
    }

    /// A blob that is asked for as a whole, if the repository holds it: one of at most
    /// `whole_bytes` is read and held against its digest, a larger one is opened.
    ///
    /// # Errors
    /// [`StorageError::BlobLost`] if the repository holds it and its file is no good, which from
    /// then on is known; trouble with the database or the disk.
    pub fn blob(
        &self,
        name: &RepoName,
        digest: &Digest,
        whole_bytes: u64,
    ) -> Result<Option<BlobContent>, StorageError> {
        self.serve(name, digest, |reader| {
            if reader.size() > whole_bytes {
                return Ok(Some(BlobContent::File(reader.touched())));
            }
            Ok(reader.whole(digest)?.map(BlobContent::Whole))
        })
    }

    /// Takes a blob out of a repository; false if it was not there. Durable on return.
    ///
    /// # Errors
    /// [`StorageError::BlobInUse`] while a manifest of the repository names it.
    pub fn delete_blob(&self, name: &RepoName, digest: &Digest) -> Result<bool, StorageError> {
        let (repository, blob) = (name.clone(), *digest);
        let remove =
            move |transaction: &Transaction<'_>| transaction.remove_blob(&repository, &blob);
        let is_gone = self.database.write_to_free(remove)?;
        self.told.take_back(name.as_str(), digest);
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
        // First, as when a blob is pushed.
        self.told.tell(name.as_str(), digest);
        let (from, to, blob) = (from.cloned(), name.clone(), *digest);
        let mount =
            move |transaction: &Transaction<'_>| transaction.mount_blob(from.as_ref(), &to, &blob);
        let mounted = self.database.write(mount);
        if !matches!(mounted, Ok(true)) {
            self.forget_unless_held(name, digest);
        }
        mounted
    }

    /// Takes back what was remembered for a blob that did not come, unless it was there before, or
    /// nobody can tell.
    pub(super) fn forget_unless_held(&self, name: &RepoName, digest: &Digest) {
        if matches!(self.blob_size(name, digest), Ok(None)) {
            self.told.take_back(name.as_str(), digest);
        }
    }

    /// Whether the blob has a row and is not lost, and has the file that the row promises.
    pub(super) fn is_stored(&self, digest: &Digest) -> Result<bool, StorageError> {
        let size = self.database.read(|reader| reader.sound_size(digest))?;
        size.map_or(Ok(false), |size| self.content.has_file(digest, size))
    }

    /// Hands the file of a blob to `take`, which says `None` if it is no good.
    fn serve<T>(
        &self,
        name: &RepoName,
        digest: &Digest,
        take: impl Fn(BlobReader) -> Result<Option<T>, StorageError>,
    ) -> Result<Option<T>, StorageError> {
        for _ in 0..TRIES {
            let held = self.database.read(|reader| reader.held_blob(name, digest))?;
            let Some(blob) = held else { return Ok(None) };
            if blob.is_lost {
                break;
            }
            if let Some(reader) = self.content.open(digest, blob.size)?
                && let Some(taken) = take(reader)?
            {
                return Ok(Some(taken));
            }
            if self.lose_found(digest, blob.size)? {
                break;
            }
        }
        Err(StorageError::BlobLost(*digest))
    }

    /// Looks again, at the disk and not at what memory holds of it, at a file that was found to be
    /// no good when it was to be served, and calls the blob lost if that is so. False if it is not:
    /// somebody pushed it meanwhile, or took it away, or memory was wrong.
    ///
    /// Whether this can be noted or not, nobody is answered from that file.
    pub(super) fn lose_found(&self, digest: &Digest, size: u64) -> Result<bool, StorageError> {
        // Nobody who waits for an answer waits until so much is read. The file stays where it is:
        // if it is its recorded size that is wrong, verification finds the bytes right.
        let length = self.content.file_size(digest)?;
        let noted = if length.is_some_and(|length| length > LOOKED_AT_BYTES) {
            if length == Some(size) {
                return Ok(false);
            }
            let hidden = self.hide_blob(digest, self.content.identity(digest).as_ref());
            hidden.map(|hidden| hidden.map(|(_, losing)| losing))
        } else {
            let reread = self.content.reread(digest, size, &mut |_| ControlFlow::Continue(()))?;
            let ControlFlow::Continue(reread) = reread else { return Ok(false) };
            if reread.is_unreadable() {
                // Whoever reads it again hears what the disk says.
                return Ok(false);
            }
            if reread.damage.is_none() {
                let regained = match reread.length == size {
                    true => Ok(None),
                    false => self.regain_blob(digest, &reread),
                };
                return match regained {
                    // Its size stays wrong, so whoever looks again finds the same.
                    Err(error) if error.is_read_only() => Ok(true),
                    regained => regained.map(|_| false),
                };
            }
            self.lose_blob(digest, &reread).map(|lost| lost.map(|(losing, _)| losing))
        };
        match noted {
            Ok(None | Some(LossOutcome::IsGone)) => return Ok(false),
            Ok(Some(LossOutcome::WasLost)) => {}
            Ok(Some(LossOutcome::Lost)) | Err(_) => {
                (self.on_trouble)(&StorageError::BlobLost(*digest));
            }
        }
        Ok(true)
    }
}

/// How often something is read that is another thing afterwards.
pub(super) const TRIES: usize = 3;
/// Bytes of a file that are read again before an answer, at most.
const LOOKED_AT_BYTES: u64 = 1024 * 1024;
