//! Which repositories there are.

use oci::RepoName;

use super::Store;
use crate::db::list::PageSize;
use crate::error::StorageError;

impl Store {
    /// A page of the repositories that hold a manifest, in ASCII order, after `after`.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn repositories(
        &self,
        after: Option<&str>,
        size: impl Into<PageSize>,
    ) -> Result<Vec<RepoName>, StorageError> {
        let size = size.into();
        self.database.read(|reader| reader.repositories(after, size))
    }

    /// Whether anything was ever pushed to a repository of this name.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn repository_exists(&self, name: &RepoName) -> Result<bool, StorageError> {
        self.database.read(|reader| reader.repository_exists(name))
    }
}
