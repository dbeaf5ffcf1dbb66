//! What an export asks of a store, and a receipt for another registry's.

use oci::{Algorithm, Digest, RepoName};

use super::Store;
use crate::error::StorageError;
use crate::in_memory::deletion_holds::DeletionHold;

impl Store {
    /// Holds deletions off: while the value lives, collection takes no blob that the store names
    /// and no manifest, not even one that is deleted meanwhile.
    pub fn hold_deletions(&self) -> DeletionHold {
        self.deletion_holds.hold()
    }

    /// The bytes of a manifest, whichever repository holds it or did before it was deleted; `None`
    /// if they are gone or wrong.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn kept_manifest(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StorageError> {
        self.database.read(|reader| reader.kept_manifest(digest))
    }

    /// At most `limit` manifests of a repository, tagged or not, in the order of their digests
    /// after `after`; none if there is no such repository.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn manifests_in(
        &self,
        name: &RepoName,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<Digest>, StorageError> {
        self.database.read(|reader| reader.manifests_in(name, after, limit))
    }

    /// The blobs that some repository holds and that are not lost, of one directory below `blobs/`,
    /// in the order of their digests.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn whole_blobs(
        &self,
        algorithm: Algorithm,
        prefix: u8,
    ) -> Result<Vec<Digest>, StorageError> {
        self.database.read(|reader| reader.whole_blobs(algorithm, prefix))
    }
}
