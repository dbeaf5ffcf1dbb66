//! Protected tags: which changes of tags and manifests they refuse.
//!
//! The check is part of the statement's own transaction, wherever a tag moves or a manifest goes:
//! no door leads around it.

use std::collections::HashSet;

use oci::{Digest, RepoName, Tag};
use rusqlite::{Connection, OptionalExtension, params};

use super::column::{Text, parsed};
use super::{manifest, repository, tag, unix_now};
use crate::error::StorageError;

/// Protects a tag; false if it was protected before.
pub(crate) fn protect(
    connection: &Connection,
    name: &RepoName,
    tag: &Tag,
) -> Result<bool, StorageError> {
    let id = with_tag(connection, name, tag)?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO protected_tags (repository_id, name, protected_at) VALUES (?1, ?2, ?3)
         ON CONFLICT DO NOTHING",
    )?;
    Ok(statement.execute(params![id, Text(&tag), unix_now()])? > 0)
}

/// Ends the protection of a tag; false if it was not protected.
pub(crate) fn unprotect(
    connection: &Connection,
    name: &RepoName,
    tag: &Tag,
) -> Result<bool, StorageError> {
    let id = with_tag(connection, name, tag)?;
    let mut statement = connection
        .prepare_cached("DELETE FROM protected_tags WHERE repository_id = ?1 AND name = ?2")?;
    Ok(statement.execute(params![id, Text(&tag)])? > 0)
}

/// Those of a page of tags that are protected: from `first` to `last`, both included.
pub(crate) fn between(
    connection: &Connection,
    name: &RepoName,
    first: &Tag,
    last: &Tag,
) -> Result<HashSet<Tag>, StorageError> {
    let mut statement = connection.prepare_cached(
        "SELECT p.name FROM repositories r JOIN protected_tags p ON p.repository_id = r.id
         WHERE r.name = ?1 AND p.name >= ?2 AND p.name <= ?3",
    )?;
    let rows = statement
        .query_map(params![Text(&name), Text(&first), Text(&last)], |row| parsed(row, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Refuses if the tag is protected.
pub(super) fn refuse_protected(
    connection: &Connection,
    repository: i64,
    tag: &Tag,
) -> Result<(), StorageError> {
    let mut statement = connection
        .prepare_cached("SELECT 1 FROM protected_tags WHERE repository_id = ?1 AND name = ?2")?;
    if statement.exists(params![repository, Text(&tag)])? {
        return Err(protected(connection, repository, tag.clone()));
    }
    Ok(())
}

/// Refuses if any tag of the repository is protected.
pub(super) fn refuse_any(connection: &Connection, repository: i64) -> Result<(), StorageError> {
    match any(connection, repository)? {
        Some(tag) => Err(protected(connection, repository, tag)),
        None => Ok(()),
    }
}

/// Refuses if a protected tag names the manifest, or an index that leads to it.
pub(super) fn refuse_needed(
    connection: &Connection,
    repository: i64,
    digest: &Digest,
) -> Result<(), StorageError> {
    if any(connection, repository)?.is_none() {
        return Ok(());
    }
    let mut names = connection.prepare_cached(
        "SELECT t.name FROM tags t
         JOIN protected_tags p ON p.repository_id = t.repository_id AND p.name = t.name
         WHERE t.repository_id = ?1 AND t.digest = ?2 LIMIT 1",
    )?;
    let (mut seen, mut above) = (HashSet::from([*digest]), vec![*digest]);
    while let Some(digest) = above.pop() {
        let named =
            names.query_row(params![repository, Text(&digest)], |row| parsed(row, 0)).optional()?;
        if let Some(tag) = named {
            return Err(protected(connection, repository, tag));
        }
        let parents = manifest::parents(connection, repository, &digest)?;
        above.extend(parents.into_iter().filter(|parent| seen.insert(*parent)));
    }
    Ok(())
}

fn any(connection: &Connection, repository: i64) -> Result<Option<Tag>, StorageError> {
    let mut statement = connection
        .prepare_cached("SELECT name FROM protected_tags WHERE repository_id = ?1 LIMIT 1")?;
    Ok(statement.query_row([repository], |row| parsed(row, 0)).optional()?)
}

fn protected(connection: &Connection, repository: i64, tag: Tag) -> StorageError {
    match repository::name_of(connection, repository) {
        Ok(repository) => StorageError::TagProtected { repository, tag },
        Err(error) => error,
    }
}

/// The repository's row, if it has this tag.
fn with_tag(connection: &Connection, name: &RepoName, tag: &Tag) -> Result<i64, StorageError> {
    if let Some(id) = repository::find(connection, name)?
        && tag::named(connection, id, tag)?.is_some()
    {
        return Ok(id);
    }
    Err(StorageError::NoTag { repository: name.clone(), tag: tag.clone() })
}
