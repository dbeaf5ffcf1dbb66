//! Tags: listing and deleting them, what was done to them, undoing it, and protecting them.

use std::collections::HashSet;

use oci::{Digest, Reference, RepoName, Tag};

use super::Store;
use crate::actor::Actor;
use crate::db::history::TagChange;
use crate::db::list::PageSize;
use crate::db::restore::{RestorePoint, Restored};
use crate::error::StorageError;

impl Store {
    /// A page of the tags of a repository with what they name, in ASCII order, after `after`;
    /// `None` if there is no such repository.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn tags(
        &self,
        name: &RepoName,
        after: Option<&str>,
        size: impl Into<PageSize>,
    ) -> Result<Option<Vec<(Tag, Digest)>>, StorageError> {
        let size = size.into();
        self.database.read(|reader| reader.tags(name, after, size))
    }

    /// Removes a tag and nothing else; false if it was not there. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn delete_tag(
        &self,
        name: &RepoName,
        tag: &Tag,
        by: Option<&Actor>,
    ) -> Result<bool, StorageError> {
        let (name, tag, by) = (name.clone(), tag.clone(), by.cloned());
        self.database
            .write_to_free(move |transaction| transaction.remove_tag(&name, &tag, by.as_ref()))
    }

    /// At most `limit` changes of a repository's tags, or of one of them, the newest first, older
    /// than the change `before`; `None` if there is no such repository.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn tag_history(
        &self,
        name: &RepoName,
        tag: Option<&Tag>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Option<Vec<TagChange>>, StorageError> {
        self.database.read(|reader| reader.tag_changes(name, tag, before, limit))
    }

    /// Lets a tag name again what it named, and brings back the manifest if it was deleted, with
    /// those of its children, and of the referrers that were deleted with it, that are gone. All
    /// or nothing. Durable on return.
    ///
    /// # Errors
    /// [`StorageError::NothingToUndo`], [`StorageError::NotThereThen`],
    /// [`StorageError::TagProtected`], [`StorageError::Collected`] or
    /// [`StorageError::BlobsCollected`] when it is too late, and [`StorageError::ManifestLost`] if
    /// the bytes that were kept are wrong.
    pub fn restore_tag(
        &self,
        name: &RepoName,
        tag: &Tag,
        point: RestorePoint,
        by: Option<&Actor>,
    ) -> Result<Restored, StorageError> {
        let (repository, tag, content) = (name.clone(), tag.clone(), self.content.clone());
        let by = by.cloned();
        let restored = self.database.write(move |transaction| {
            let has_file = |blob: &Digest, size| content.has_file(blob, size);
            transaction.restore_tag(&repository, &tag, point, by.as_ref(), &has_file)
        })?;
        self.tell_restored(name, &restored.manifests);
        Ok(restored)
    }

    /// At most `limit` manifests of a repository that were deleted at this second since 1970 or
    /// later and can come back, after `after`, in the order of their digests.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn deleted_since(
        &self,
        name: &RepoName,
        time: i64,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<Digest>, StorageError> {
        self.database.read(|reader| reader.deleted_since(name, time, after, limit))
    }

    /// Brings back a manifest that was deleted, with what was deleted with it, as
    /// [`Store::restore_tag`] does. Returns what is back; nothing if it was not deleted. Durable on
    /// return.
    ///
    /// # Errors
    /// [`StorageError::BlobsCollected`] when it is too late, [`StorageError::ManifestLost`] if the
    /// bytes that were kept are wrong.
    pub fn restore_manifest(
        &self,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<Vec<Digest>, StorageError> {
        // First, since no tag may lead to it.
        self.told.tell(name.as_str(), digest);
        let (repository, manifest, content) = (name.clone(), *digest, self.content.clone());
        let restored = self.database.write(move |transaction| {
            let has_file = |blob: &Digest, size| content.has_file(blob, size);
            transaction.restore_manifest(&repository, &manifest, &has_file)
        });
        let came_back = restored.as_ref().is_ok_and(|manifests| !manifests.is_empty());
        // Unless it was there before.
        let reference = Reference::Digest(*digest);
        if !came_back && matches!(self.manifest(name, &reference), Ok(None)) {
            self.told.take_back(name.as_str(), digest);
        }
        let manifests = restored?;
        self.tell_restored(name, &manifests);
        Ok(manifests)
    }

    /// What is restored is as old as it was. Collection leaves it for the grace time even so, as it
    /// does with what somebody was told of.
    pub(super) fn tell_restored(&self, name: &RepoName, manifests: &[Digest]) {
        for digest in manifests {
            self.told.tell(name.as_str(), digest);
        }
    }

    /// At most `limit` tags that went with these manifests and are not there now: those that
    /// named them, and those of their signatures.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn gone_tags(
        &self,
        name: &RepoName,
        manifests: &[Digest],
        limit: usize,
    ) -> Result<Vec<Tag>, StorageError> {
        self.database.read(|reader| reader.gone_tags(name, manifests, limit))
    }

    /// Protects a tag from being moved or deleted, and what it needs from being deleted; false if
    /// it was protected before. Durable on return.
    ///
    /// # Errors
    /// [`StorageError::NoTag`].
    pub fn protect_tag(&self, name: &RepoName, tag: &Tag) -> Result<bool, StorageError> {
        let (name, tag) = (name.clone(), tag.clone());
        self.database.write(move |transaction| transaction.protect_tag(&name, &tag))
    }

    /// Ends the protection of a tag; false if it was not protected. Durable on return.
    ///
    /// # Errors
    /// [`StorageError::NoTag`].
    pub fn unprotect_tag(&self, name: &RepoName, tag: &Tag) -> Result<bool, StorageError> {
        let (name, tag) = (name.clone(), tag.clone());
        // What is to be deleted may be protected.
        self.database.write_to_free(move |transaction| transaction.unprotect_tag(&name, &tag))
    }

    /// Those of a page of tags that are protected: from `first` to `last`, both included.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn protected_tags(
        &self,
        name: &RepoName,
        first: &Tag,
        last: &Tag,
    ) -> Result<HashSet<Tag>, StorageError> {
        self.database.read(|reader| reader.protected_between(name, first, last))
    }
}
