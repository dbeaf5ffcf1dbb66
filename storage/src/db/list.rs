//! Lists: repositories, tags and referrers, one indexed page at a time.
//!
//! Each query begins right after the last entry of the page before, so its cost does not grow
//! with what lies before it.

use oci::{Digest, RepoName, Tag};
use rusqlite::params;

use super::column::{Text, parsed};
use super::transaction::Reader;
use crate::error::StorageError;

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

/// How much of a list is read at once. One entry of it is read in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize {
    /// The most entries.
    pub entries: usize,
    /// With so many bytes of names, the entries end: the last one is that which passes them.
    pub bytes: usize,
}

impl From<usize> for PageSize {
    /// So many entries, however long.
    fn from(entries: usize) -> Self {
        Self { entries, bytes: usize::MAX }
    }
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

impl Reader<'_> {
    /// Repositories that hold a manifest, in ASCII order, beginning after `after`.
    pub(crate) fn repositories(
        &self,
        after: Option<&str>,
        size: PageSize,
    ) -> Result<Vec<RepoName>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT name FROM repositories r WHERE name > ?1 AND EXISTS
             (SELECT 1 FROM repository_manifests l WHERE l.repository_id = r.id)
             ORDER BY name LIMIT ?2",
        )?;
        let rows = statement
            .query_map(params![after.unwrap_or(""), size.entries], |row| parsed(row, 0))?;
        read_page(rows, size, |name: &RepoName| name.as_str().len())
    }

    /// Tags of a repository in ASCII order, beginning after `after`; `None` if there is no such
    /// repository.
    pub(crate) fn tags(
        &self,
        name: &RepoName,
        after: Option<&str>,
        size: PageSize,
    ) -> Result<Option<Vec<(Tag, Digest)>>, StorageError> {
        let Some(id) = self.repository_id(name)? else { return Ok(None) };
        let mut statement = self.prepare_cached(
            "SELECT name, digest FROM tags WHERE repository_id = ?1 AND name > ?2
             ORDER BY name LIMIT ?3",
        )?;
        let row = |row: &rusqlite::Row<'_>| Ok((parsed(row, 0)?, parsed(row, 1)?));
        let rows = statement.query_map(params![id, after.unwrap_or(""), size.entries], row)?;
        read_page(rows, size, |(tag, _): &(Tag, Digest)| tag.as_str().len()).map(Some)
    }
}

/// Reads rows up to the first with which they have more bytes than a page.
fn read_page<T>(
    rows: impl Iterator<Item = rusqlite::Result<T>>,
    size: PageSize,
    length: impl Fn(&T) -> usize,
) -> Result<Vec<T>, StorageError> {
    let (mut page, mut bytes) = (Vec::new(), 0_usize);
    for row in rows {
        let row = row?;
        bytes = bytes.saturating_add(length(&row));
        page.push(row);
        if bytes > size.bytes {
            break;
        }
    }
    Ok(page)
}

impl Reader<'_> {
    /// A page of the manifests of a repository whose subject is `subject`, in the order of their
    /// digests, and whether there are more. The page ends before it has more bytes than its size
    /// says, since annotations can be as large as a manifest: an empty one with more behind it
    /// begins with one that is longer by itself, of which nothing was read.
    pub(crate) fn referrers(
        &self,
        name: &RepoName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        most: PageSize,
    ) -> Result<(Vec<Referrer>, bool), StorageError> {
        let Some(id) = self.repository_id(name)? else { return Ok((Vec::new(), false)) };
        // Left to itself, SQLite walks all manifests of the repository by its primary key.
        let (index, filter) = match artifact_type {
            Some(_) => ("referrers_by_type", "artifact_type = ?4"),
            None => ("referrers", "?4 IS NULL"),
        };
        // How long a text is, SQLite knows without reading it.
        let bytes = "ifnull(octet_length(artifact_type), 0) + ifnull(octet_length(annotations), 0)";
        let mut statement = self.prepare_cached(&format!(
            "SELECT digest, media_type, size, {bytes}, iif({bytes} <= ?5, artifact_type, NULL),
                    iif({bytes} <= ?5, annotations, NULL)
             FROM repository_manifests INDEXED BY {index}
             WHERE repository_id = ?1 AND subject = ?2 AND {filter} AND digest > ?3
             ORDER BY digest",
        ))?;
        let after = after.map_or_else(String::new, Digest::to_string);
        let most_bytes = i64::try_from(most.bytes).unwrap_or(i64::MAX);
        let mut rows =
            statement.query(params![id, Text(&subject), after, artifact_type, most_bytes])?;
        let (mut page, mut bytes) = (Vec::new(), 0_usize);
        while let Some(row) = rows.next()? {
            let texts: usize = row.get(3)?;
            let media_type: String = row.get(1)?;
            bytes = bytes.saturating_add(texts + media_type.len() + REFERRER_BYTES);
            if bytes > most.bytes || page.len() >= most.entries {
                return Ok((page, true));
            }
            page.push(Referrer {
                digest: parsed(row, 0)?,
                media_type,
                size: row.get(2)?,
                artifact_type: row.get(4)?,
                annotations: row.get(5)?,
            });
        }
        Ok((page, false))
    }

    /// Counts what the store holds. Walks whole indexes: for a person's question, not for a
    /// request.
    pub(crate) fn counts(&self) -> Result<Counts, StorageError> {
        let mut statement = self.prepare_cached(
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
}

/// What an entry of a page of referrers takes beside its texts, at most: the names of its fields,
/// two numbers, and a digest of SHA-512.
const REFERRER_BYTES: usize = 320;
