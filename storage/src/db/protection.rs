//! Protected tags: which changes of tags and manifests they refuse.
//!
//! The check is part of the statement's own transaction, wherever a tag moves or a manifest goes:
//! no door leads around it.

use std::collections::HashSet;

use oci::{Digest, RepoName, Tag};
use rusqlite::{OptionalExtension, params};

use super::column::{Text, parsed};
use super::key::RepoId;
use super::transaction::{Reader, Transaction};
use crate::error::StorageError;

impl Transaction<'_> {
    /// Protects a tag; false if it was protected before.
    pub(crate) fn protect_tag(&self, name: &RepoName, tag: &Tag) -> Result<bool, StorageError> {
        let id = with_tag(self, name, tag)?;
        let mut statement = self.prepare_cached(
            "INSERT INTO protected_tags (repository_id, name, protected_at) VALUES (?1, ?2, ?3)
             ON CONFLICT DO NOTHING",
        )?;
        Ok(statement.execute(params![id, Text(&tag), self.now()])? > 0)
    }

    /// Ends the protection of a tag; false if it was not protected.
    pub(crate) fn unprotect_tag(&self, name: &RepoName, tag: &Tag) -> Result<bool, StorageError> {
        let id = with_tag(self, name, tag)?;
        let mut statement = self
            .prepare_cached("DELETE FROM protected_tags WHERE repository_id = ?1 AND name = ?2")?;
        Ok(statement.execute(params![id, Text(&tag)])? > 0)
    }
}

impl Reader<'_> {
    /// Those of a page of tags that are protected: from `first` to `last`, both included.
    pub(crate) fn protected_between(
        &self,
        name: &RepoName,
        first: &Tag,
        last: &Tag,
    ) -> Result<HashSet<Tag>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT p.name FROM repositories r JOIN protected_tags p ON p.repository_id = r.id
             WHERE r.name = ?1 AND p.name >= ?2 AND p.name <= ?3",
        )?;
        let rows = statement
            .query_map(params![Text(&name), Text(&first), Text(&last)], |row| parsed(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Refuses if the tag is protected.
    pub(super) fn refuse_protected(
        &self,
        repository: RepoId,
        tag: &Tag,
    ) -> Result<(), StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT 1 FROM protected_tags WHERE repository_id = ?1 AND name = ?2",
        )?;
        if statement.exists(params![repository, Text(&tag)])? {
            return Err(protected(self, repository, tag.clone()));
        }
        Ok(())
    }

    /// Refuses if any tag of the repository is protected.
    pub(super) fn refuse_any_protected(&self, repository: RepoId) -> Result<(), StorageError> {
        match any(self, repository)? {
            Some(tag) => Err(protected(self, repository, tag)),
            None => Ok(()),
        }
    }

    /// Refuses if a protected tag names the manifest, or an index that leads to it.
    pub(super) fn refuse_needed_by_protected(
        &self,
        repository: RepoId,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        if any(self, repository)?.is_none() {
            return Ok(());
        }
        let mut names = self.prepare_cached(
            "SELECT t.name FROM tags t
             JOIN protected_tags p ON p.repository_id = t.repository_id AND p.name = t.name
             WHERE t.repository_id = ?1 AND t.digest = ?2 LIMIT 1",
        )?;
        let (mut seen, mut above) = (HashSet::from([*digest]), vec![*digest]);
        while let Some(digest) = above.pop() {
            let named = names
                .query_row(params![repository, Text(&digest)], |row| parsed(row, 0))
                .optional()?;
            if let Some(tag) = named {
                return Err(protected(self, repository, tag));
            }
            let parents = self.parents_of(repository, &digest)?;
            above.extend(parents.into_iter().filter(|parent| seen.insert(*parent)));
        }
        Ok(())
    }
}

fn any(reader: &Reader<'_>, repository: RepoId) -> Result<Option<Tag>, StorageError> {
    let mut statement = reader
        .prepare_cached("SELECT name FROM protected_tags WHERE repository_id = ?1 LIMIT 1")?;
    Ok(statement.query_row([repository], |row| parsed(row, 0)).optional()?)
}

fn protected(reader: &Reader<'_>, repository: RepoId, tag: Tag) -> StorageError {
    match reader.repository_name(repository) {
        Ok(repository) => StorageError::TagProtected { repository, tag },
        Err(error) => error,
    }
}

/// The repository's row, if it has this tag.
fn with_tag(reader: &Reader<'_>, name: &RepoName, tag: &Tag) -> Result<RepoId, StorageError> {
    if let Some(id) = reader.repository_id(name)?
        && reader.tag_target(id, tag)?.is_some()
    {
        return Ok(id);
    }
    Err(StorageError::NoTag { repository: name.clone(), tag: tag.clone() })
}
