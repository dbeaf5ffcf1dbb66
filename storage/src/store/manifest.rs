//! Manifests and tags, and lists of them.

use super::Store;
use crate::db::list::{self, Referrer};
use crate::db::manifest::{self, StoredManifest};
use crate::db::{repository, tag};
use crate::digest::Digest;
use crate::error::StorageError;
use crate::manifest::Manifest;
use crate::name::{Reference, RepoName, Tag, UserName};

impl Store {
    /// Reads a manifest, if the repository holds it.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn manifest(
        &self,
        name: &RepoName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>, StorageError> {
        self.database.read(|connection| manifest::get(connection, name, reference))
    }

    /// The same for somebody who may push, and who will name the manifest in an index, or call it
    /// copied, without pushing it if it is there: collection then leaves it for the grace time.
    ///
    /// # Errors
    /// [`StorageError::Closed`] after [`Store::close`]; trouble with the database.
    pub fn tell_manifest(
        &self,
        name: &RepoName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>, StorageError> {
        // What a tag names is kept by the tag.
        let Reference::Digest(digest) = reference else { return self.manifest(name, reference) };
        if !self.recent.tell(name.as_str(), digest) {
            return Err(StorageError::Closed);
        }
        let found = self.manifest(name, reference)?;
        if found.is_none() {
            self.recent.take_back(name.as_str(), digest);
        }
        Ok(found)
    }

    /// Stores a manifest and moves the tags to it, all or nothing; `by` is who does it, none for
    /// a command on the host. Durable on return.
    ///
    /// # Errors
    /// [`StorageError::MissingBlobs`] if the repository lacks blobs that the manifest needs.
    pub fn put_manifest(
        &self,
        name: &RepoName,
        manifest: Manifest,
        tags: Vec<Tag>,
        by: Option<&UserName>,
    ) -> Result<(), StorageError> {
        // A row whose file is lost is no blob; only a new push brings it back.
        let mut lost = Vec::new();
        for blob in manifest.required_blobs() {
            if !self.is_stored(blob)? {
                lost.push(*blob);
            }
        }
        let (repository, digest) = (name.clone(), *manifest.digest());
        let by = by.cloned();
        self.database.write(move |connection| {
            manifest::put(connection, &repository, &manifest, &lost, &tags, by.as_ref())
        })?;
        // Without regard to the clock, which may be set.
        self.recent.tell(name.as_str(), &digest);
        Ok(())
    }

    /// Removes a manifest and its tags from a repository; false if it was not there. It can be
    /// restored until collection takes it. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn delete_manifest(
        &self,
        name: &RepoName,
        digest: &Digest,
        by: Option<&UserName>,
    ) -> Result<bool, StorageError> {
        let (repository, manifest, by) = (name.clone(), *digest, by.cloned());
        let is_gone = self.database.write_to_free(move |connection| {
            manifest::remove(connection, &repository, &manifest, by.as_ref())
        })?;
        self.recent.take_back(name.as_str(), digest);
        Ok(is_gone)
    }

    /// Removes a tag and nothing else; false if it was not there. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn delete_tag(
        &self,
        name: &RepoName,
        tag: &Tag,
        by: Option<&UserName>,
    ) -> Result<bool, StorageError> {
        let (name, tag, by) = (name.clone(), tag.clone(), by.cloned());
        self.database
            .write_to_free(move |connection| tag::remove(connection, &name, &tag, by.as_ref()))
    }

    /// At most `limit` repositories that hold a manifest, in ASCII order, after `after`.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn repositories(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RepoName>, StorageError> {
        self.database.read(|connection| list::repositories(connection, after, limit))
    }

    /// Whether anything was ever pushed to a repository of this name.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn repository_exists(&self, name: &RepoName) -> Result<bool, StorageError> {
        self.database.read(|connection| repository::exists(connection, name))
    }

    /// At most `limit` tags of a repository with what they name, in ASCII order, after `after`;
    /// `None` if there is no such repository.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn tags(
        &self,
        name: &RepoName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<Vec<(Tag, Digest)>>, StorageError> {
        self.database.read(|connection| list::tags(connection, name, after, limit))
    }

    /// A page of the manifests that refer to `subject`, in the order of their digests, after
    /// `after`, all or those of one artifact type; and whether there are more.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn referrers(
        &self,
        name: &RepoName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
    ) -> Result<(Vec<Referrer>, bool), StorageError> {
        self.database
            .read(|connection| list::referrers(connection, name, subject, artifact_type, after))
    }
}
