//! Tags, and the history of what each of them named.

use oci::{Digest, RepoName, Tag};
use rusqlite::{OptionalExtension, params};

use super::column::{Text, parsed};
use super::key::RepoId;
use super::transaction::{Reader, Transaction};
use crate::actor::Actor;
use crate::error::StorageError;
use crate::import_number::ImportNumber;

/// What a change of a tag comes from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cause<'a> {
    /// Who makes it, if that is known.
    pub(crate) by: Option<&'a Actor>,
    /// The import that it is a part of.
    pub(crate) import: Option<ImportNumber>,
}

impl<'a> From<Option<&'a Actor>> for Cause<'a> {
    fn from(by: Option<&'a Actor>) -> Self {
        Self { by, import: None }
    }
}

impl Transaction<'_> {
    /// Lets a tag name a manifest that the repository holds, and notes it if that is a change. A
    /// protected tag stays where it is. Returns what it named before.
    pub(super) fn set_tag(
        &self,
        repository: RepoId,
        tag: &Tag,
        digest: &Digest,
        cause: Cause<'_>,
    ) -> Result<Option<Digest>, StorageError> {
        let before = self.tag_target(repository, tag)?;
        let is_change = before.as_ref() != Some(digest);
        if is_change {
            self.refuse_protected(repository, tag)?;
        }
        self.change(
            repository,
            "INSERT INTO tags (repository_id, name, digest, updated_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (repository_id, name)
                 DO UPDATE SET digest = excluded.digest, updated_at = excluded.updated_at",
        )?
        .execute(params![repository, Text(&tag), Text(&digest), self.now()])?;
        if is_change {
            note(self, repository, tag, (before.as_ref(), Some(digest)), cause)?;
            // Removing a tag notes a change too, but nobody can remove it twice without setting it.
            self.bound_tag_history(repository, tag)?;
        }
        Ok(before)
    }

    /// Removes a tag and nothing else; false if it was not there. A protected tag is not removed.
    pub(crate) fn remove_tag(
        &self,
        name: &RepoName,
        tag: &Tag,
        by: Option<&Actor>,
    ) -> Result<bool, StorageError> {
        let Some(id) = self.repository_id(name)? else { return Ok(false) };
        self.remove_tag_of(id, tag, by)
    }

    /// Removes a tag of a repository and nothing else; false if it was not there.
    pub(super) fn remove_tag_of(
        &self,
        repository: RepoId,
        tag: &Tag,
        by: Option<&Actor>,
    ) -> Result<bool, StorageError> {
        let Some(before) = self.tag_target(repository, tag)? else { return Ok(false) };
        self.refuse_protected(repository, tag)?;
        self.change(repository, "DELETE FROM tags WHERE repository_id = ?1 AND name = ?2")?
            .execute(params![repository, Text(&tag)])?;
        note(self, repository, tag, (Some(&before), None), by.into())?;
        Ok(true)
    }
}

impl Reader<'_> {
    /// The tags that name a manifest.
    pub(super) fn tags_of(
        &self,
        repository: RepoId,
        digest: &Digest,
    ) -> Result<Vec<Tag>, StorageError> {
        let mut statement =
            self.prepare_cached("SELECT name FROM tags WHERE repository_id = ?1 AND digest = ?2")?;
        let rows = statement.query_map(params![repository, Text(&digest)], |row| parsed(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What a tag names.
    pub(super) fn tag_target(
        &self,
        repository: RepoId,
        tag: &Tag,
    ) -> Result<Option<Digest>, StorageError> {
        let mut statement =
            self.prepare_cached("SELECT digest FROM tags WHERE repository_id = ?1 AND name = ?2")?;
        Ok(statement.query_row(params![repository, Text(&tag)], |row| parsed(row, 0)).optional()?)
    }
}

fn note(
    transaction: &Transaction<'_>,
    repository: RepoId,
    tag: &Tag,
    (before, after): (Option<&Digest>, Option<&Digest>),
    Cause { by, import }: Cause<'_>,
) -> Result<(), StorageError> {
    let (user, on_host) = match by {
        Some(Actor::User(user)) => (Some(user), None),
        Some(Actor::Host(person)) => (None, Some(person)),
        None => (None, None),
    };
    // The first one that is known of a tag says what its repository knows no more.
    transaction
        .prepare_cached(
            "INSERT INTO tag_history (repository_id, name, before, after, changed_at, changed_by,
                                      changed_on_host, import_id, changed_tick,
                                      forgotten_until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, tick(),
                     iif(EXISTS (SELECT 1 FROM tag_history WHERE repository_id = ?1 AND name = ?2),
                         NULL, (SELECT forgotten_until FROM repositories WHERE id = ?1)))",
        )?
        .execute(params![
            repository,
            Text(&tag),
            before.map(Text),
            after.map(Text),
            transaction.now(),
            user.map(Text),
            on_host.map(Text),
            import.map(ImportNumber::row),
        ])?;
    Ok(())
}
