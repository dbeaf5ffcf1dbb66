//! Lists: repositories, tags and referrers, one indexed page at a time.
//!
//! Each query begins right after the last entry of the page before, so its cost does not grow
//! with what lies before it.

use rusqlite::{Connection, params};

use super::repository;
use crate::digest::Digest;
use crate::error::StorageError;
use crate::name::{RepoName, Tag};

/// One manifest that refers to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// The digest of the referring manifest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its artifact type, if it has one.
    pub artifact_type: Option<String>,
    /// Its annotations as a JSON object, if it has any.
    pub annotations: Option<String>,
}

/// What a store holds, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Repositories that hold at least one manifest.
    pub repositories: u64,
    /// Tags of all repositories.
    pub tags: u64,
    /// Manifests, each once, however many repositories hold it.
    pub manifests: u64,
    /// Blobs, each once.
    pub blobs: u64,
    /// The bytes of all blobs.
    pub blob_bytes: u64,
}

/// Repositories that hold a manifest, in ASCII order, beginning after `after`.
pub(crate) fn repositories(
    connection: &Connection,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<RepoName>, StorageError> {
    let mut statement = connection.prepare_cached(
        "SELECT name FROM repositories r WHERE name > ?1 AND EXISTS
         (SELECT 1 FROM repository_manifests l WHERE l.repository_id = r.id)
         ORDER BY name LIMIT ?2",
    )?;
    let rows = statement.query_map(params![after.unwrap_or(""), limit], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Tags of a repository in ASCII order, beginning after `after`; `None` if there is no such
/// repository.
pub(crate) fn tags(
    connection: &Connection,
    name: &RepoName,
    after: Option<&str>,
    limit: usize,
) -> Result<Option<Vec<(Tag, Digest)>>, StorageError> {
    let Some(id) = repository::find(connection, name)? else { return Ok(None) };
    let mut statement = connection.prepare_cached(
        "SELECT name, digest FROM tags WHERE repository_id = ?1 AND name > ?2
         ORDER BY name LIMIT ?3",
    )?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let rows = statement.query_map(params![id, after.unwrap_or(""), limit], row)?;
    Ok(Some(rows.collect::<Result<_, _>>()?))
}

/// A page of the manifests of a repository whose subject is `subject`, in the order of their
/// digests, and whether there are more. The page is bounded by entries and by bytes, since
/// annotations can be as large as a manifest.
pub(crate) fn referrers(
    connection: &Connection,
    name: &RepoName,
    subject: &Digest,
    artifact_type: Option<&str>,
    after: Option<&Digest>,
) -> Result<(Vec<Referrer>, bool), StorageError> {
    let Some(id) = repository::find(connection, name)? else { return Ok((Vec::new(), false)) };
    // Left to itself, SQLite walks all manifests of the repository by its primary key.
    let (index, filter) = match artifact_type {
        Some(_) => ("referrers_by_type", "artifact_type = ?4"),
        None => ("referrers", "?4 IS NULL"),
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT digest, media_type, size, artifact_type, annotations
         FROM repository_manifests INDEXED BY {index}
         WHERE repository_id = ?1 AND subject = ?2 AND {filter} AND digest > ?3 ORDER BY digest",
    ))?;
    let after = after.map_or_else(String::new, Digest::to_string);
    let mut rows = statement.query(params![id, subject, after, artifact_type])?;
    let (mut page, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let referrer = Referrer {
            digest: row.get(0)?,
            media_type: row.get(1)?,
            size: row.get(2)?,
            artifact_type: row.get(3)?,
            annotations: row.get(4)?,
        };
        let texts = [&referrer.artifact_type, &referrer.annotations];
        bytes += texts.into_iter().flatten().map(String::len).sum::<usize>();
        let is_too_much = bytes > REFERRER_BYTES && !page.is_empty();
        if page.len() >= REFERRERS || is_too_much {
            return Ok((page, true));
        }
        page.push(referrer);
    }
    Ok((page, false))
}

/// Counts what the store holds. Walks whole indexes: for a person's question, not for a request.
pub(crate) fn counts(connection: &Connection) -> Result<Counts, StorageError> {
    let mut statement = connection.prepare_cached(
        "SELECT (SELECT count(DISTINCT repository_id) FROM repository_manifests),
                (SELECT count(*) FROM tags),
                (SELECT count(DISTINCT digest) FROM repository_manifests),
                (SELECT count(*) FROM blobs), (SELECT coalesce(sum(size), 0) FROM blobs)",
    )?;
    Ok(statement.query_row([], |row| {
        Ok(Counts {
            repositories: row.get(0)?,
            tags: row.get(1)?,
            manifests: row.get(2)?,
            blobs: row.get(3)?,
            blob_bytes: row.get(4)?,
        })
    })?)
}

/// Entries of one page of referrers.
const REFERRERS: usize = 1000;
/// Bytes of annotations and artifact types in one page of referrers, unless it has one entry
/// only. Clients take 4 MiB for the page.
const REFERRER_BYTES: usize = 1024 * 1024;
