//! Removing all images whose tags a pattern stands for.

use oci::{RepoName, Tag, TagPattern};

use super::Store;
use crate::actor::Actor;
use crate::db::Transaction;
use crate::db::image_removal::{PlannedRemoval, Removal, RemovalStep};
use crate::error::StorageError;
use crate::page::Page;

impl Store {
    /// Finds out what goes when all tags go for which a pattern stands, and changes nothing: all of
    /// them, and every manifest that then nothing else in the repository keeps. Without any such
    /// tag, nothing does.
    ///
    /// # Errors
    /// [`StorageError::TagProtected`] if one of them is protected.
    pub fn plan_removal_of_tags(
        &self,
        name: &RepoName,
        pattern: &TagPattern,
    ) -> Result<Removal, StorageError> {
        let (mut going, mut after) = (PlannedRemoval::default(), None);
        loop {
            let Page { entries: tags, next } = self.matching(name, pattern, after.as_ref())?;
            going = self.database.read(|reader| reader.plan_removal_of_tags(name, &tags, going))?;
            if next.is_none() {
                return Ok(going.into_removal());
            }
            after = next;
        }
    }

    /// Removes some of the tags after `after` for which a pattern stands, and every manifest that
    /// then nothing else in the repository keeps. Returns what went, and the tag after which to go
    /// on, if there may be more. Durable on return.
    ///
    /// # Errors
    /// [`StorageError::TagProtected`] if one of these tags is protected: then all of them stay.
    pub fn remove_tags(
        &self,
        name: &RepoName,
        pattern: &TagPattern,
        after: Option<&Tag>,
        by: Option<&Actor>,
    ) -> Result<(RemovalStep, Option<Tag>), StorageError> {
        let Page { entries: tags, next } = self.matching(name, pattern, after)?;
        if tags.is_empty() {
            return Ok((RemovalStep::default(), next));
        }
        let (repository, by) = (name.clone(), by.cloned());
        let remove = move |transaction: &Transaction<'_>| {
            transaction.remove_tags(&repository, &tags, by.as_ref())
        };
        let Removal { tags, manifests, .. } = self.database.write_to_free(remove)?;
        manifests.iter().for_each(|digest| self.told.take_back(name.as_str(), digest));
        let step = RemovalStep { tags: tags.len() as u64, manifests: manifests.len() as u64 };
        Ok((step, next))
    }

    fn matching(
        &self,
        name: &RepoName,
        pattern: &TagPattern,
        after: Option<&Tag>,
    ) -> Result<Page<Tag, Tag>, StorageError> {
        self.database.read(|reader| reader.matching_tags(name, pattern, after, STEP_TAGS))
    }
}

/// Tags that one transaction removes, each with its image.
const STEP_TAGS: usize = 20;
