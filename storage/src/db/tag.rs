//! Tags, and the history of what each of them named.

use oci::{Digest, RepoName, Tag};
use rusqlite::{Connection, OptionalExtension, params};

use super::column::{Text, parsed};
use super::{forget, protection, repository, unix_now};
use crate::actor::Actor;
use crate::error::StorageError;

/// Lets a tag name a manifest that the repository holds, and notes it if that is a change. A
/// protected tag stays where it is.
pub(super) fn set(
    connection: &Connection,
    repository: i64,
    tag: &Tag,
    digest: &Digest,
    by: Option<&Actor>,
) -> Result<(), StorageError> {
    let before = named(connection, repository, tag)?;
    let is_change = before.as_ref() != Some(digest);
    if is_change {
        protection::refuse_protected(connection, repository, tag)?;
    }
    connection
        .prepare_cached(
            "INSERT INTO tags (repository_id, name, digest, updated_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (repository_id, name)
             DO UPDATE SET digest = excluded.digest, updated_at = excluded.updated_at",
        )?
        .execute(params![repository, Text(&tag), Text(&digest), unix_now()])?;
    if is_change {
        note(connection, repository, tag, before.as_ref(), Some(digest), by)?;
        // Removing a tag notes a change too, but nobody can remove it twice without setting it.
        forget::bound_tag(connection, repository, tag)?;
    }
    Ok(())
}

/// Removes a tag and nothing else; false if it was not there. A protected tag is not removed.
pub(crate) fn remove(
    connection: &Connection,
    name: &RepoName,
    tag: &Tag,
    by: Option<&Actor>,
) -> Result<bool, StorageError> {
    let Some(id) = repository::find(connection, name)? else { return Ok(false) };
    remove_row(connection, id, tag, by)
}

/// The same, with the repository found.
pub(super) fn remove_row(
    connection: &Connection,
    repository: i64,
    tag: &Tag,
    by: Option<&Actor>,
) -> Result<bool, StorageError> {
    let Some(before) = named(connection, repository, tag)? else { return Ok(false) };
    protection::refuse_protected(connection, repository, tag)?;
    connection
        .prepare_cached("DELETE FROM tags WHERE repository_id = ?1 AND name = ?2")?
        .execute(params![repository, Text(&tag)])?;
    note(connection, repository, tag, Some(&before), None, by)?;
    Ok(true)
}

/// The tags that name a manifest.
pub(super) fn of_manifest(
    connection: &Connection,
    repository: i64,
    digest: &Digest,
) -> Result<Vec<Tag>, StorageError> {
    let mut statement = connection
        .prepare_cached("SELECT name FROM tags WHERE repository_id = ?1 AND digest = ?2")?;
    let rows = statement.query_map(params![repository, Text(&digest)], |row| parsed(row, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What a tag names.
pub(super) fn named(
    connection: &Connection,
    repository: i64,
    tag: &Tag,
) -> Result<Option<Digest>, StorageError> {
    let mut statement = connection
        .prepare_cached("SELECT digest FROM tags WHERE repository_id = ?1 AND name = ?2")?;
    Ok(statement.query_row(params![repository, Text(&tag)], |row| parsed(row, 0)).optional()?)
}

fn note(
    connection: &Connection,
    repository: i64,
    tag: &Tag,
    before: Option<&Digest>,
    after: Option<&Digest>,
    by: Option<&Actor>,
) -> Result<(), StorageError> {
    let (user, on_host) = match by {
        Some(Actor::User(user)) => (Some(user), None),
        Some(Actor::Host(person)) => (None, Some(person)),
        None => (None, None),
    };
    // The first one that is known of a tag says what its repository knows no more.
    connection
        .prepare_cached(
            "INSERT INTO tag_history (repository_id, name, before, after, changed_at, changed_by,
                                      changed_on_host, changed_tick, forgotten_until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, tick(),
                     iif(EXISTS (SELECT 1 FROM tag_history WHERE repository_id = ?1 AND name = ?2),
                         NULL, (SELECT forgotten_until FROM repositories WHERE id = ?1)))",
        )?
        .execute(params![
            repository,
            Text(&tag),
            before.map(Text),
            after.map(Text),
            unix_now(),
            user.map(Text),
            on_host.map(Text)
        ])?;
    Ok(())
}
