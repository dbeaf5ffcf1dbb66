//! Removing all images whose tags a pattern stands for, some tags at a time.
//!
//! Each tag goes as it would alone, after those before it: what another tag keeps goes with the
//! last one. So a plan that is made in pages says what the steps then do.

use oci::{RepoName, Tag, TagPattern};
use rusqlite::params;

use super::super::column::parsed;
use super::super::transaction::{Reader, Transaction};
use super::{Plan, PlannedRemoval, Removal, apply};
use crate::actor::Actor;
use crate::error::StorageError;
use crate::page::Page;

impl Reader<'_> {
    /// Tags for which a pattern stands, after `after` in their order, `limit` at most. Returns the
    /// tag after which to look further, if there are more; a page may well have found none.
    pub(crate) fn matching_tags(
        &self,
        name: &RepoName,
        pattern: &TagPattern,
        after: Option<&Tag>,
        limit: usize,
    ) -> Result<Page<Tag, Tag>, StorageError> {
        let Some(id) = self.repository_id(name)? else { return Ok(Default::default()) };
        let prefix = pattern.prefix();
        // Of two bounds SQLite would seek one and walk from there to the other.
        let (beyond, from) = match after {
            Some(after) => (">", after.as_str()),
            None => (">=", prefix),
        };
        let mut statement = self.prepare_cached(&format!(
            "SELECT name FROM tags WHERE repository_id = ?1 AND name {beyond} ?2
             ORDER BY name LIMIT ?3"
        ))?;
        let mut rows = statement.query(params![id, from, PAGE_TAGS])?;
        let (mut found, mut last, mut count) = (Vec::new(), None, 0);
        while let Some(row) = rows.next()? {
            let tag: Tag = parsed(row, 0)?;
            if !tag.as_str().starts_with(prefix) {
                return Ok(Page { entries: found, next: None });
            }
            if pattern.matches(&tag) {
                found.push(tag.clone());
            }
            count += 1;
            last = Some(tag);
            if found.len() == limit {
                return Ok(Page { entries: found, next: last });
            }
        }
        Ok(Page { entries: found, next: last.filter(|_| count == PAGE_TAGS) })
    }

    /// Adds to what goes these tags, as far as they are there, and what then nothing else keeps.
    pub(crate) fn plan_removal_of_tags(
        &self,
        name: &RepoName,
        tags: &[Tag],
        going: PlannedRemoval,
    ) -> Result<PlannedRemoval, StorageError> {
        let Some(id) = self.repository_id(name)? else { return Ok(going) };
        let mut plan = Plan { reader: self, id, going };
        for tag in tags {
            // One of a signature may have gone with what it signs.
            if !plan.going.tags.contains_key(tag)
                && let Some(digest) = self.tag_target(id, tag)?
            {
                plan.remove_image(tag.clone(), digest)?;
            }
        }
        Ok(plan.going)
    }
}

impl Transaction<'_> {
    /// Removes these tags, as far as they are there, and what then nothing else keeps, all or
    /// nothing. Returns what went.
    pub(crate) fn remove_tags(
        &self,
        name: &RepoName,
        tags: &[Tag],
        by: Option<&Actor>,
    ) -> Result<Removal, StorageError> {
        let removal =
            self.plan_removal_of_tags(name, tags, PlannedRemoval::default())?.into_removal();
        if let Some(id) = self.repository_id(name)? {
            apply(self, id, &removal, by)?;
        }
        Ok(removal)
    }
}

/// Tags that one read looks at.
const PAGE_TAGS: usize = 1000;
