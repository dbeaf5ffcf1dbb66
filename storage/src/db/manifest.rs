//! Manifests, their edges and their tags.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use super::{repository, unix_now};
use crate::digest::Digest;
use crate::error::StorageError;
use crate::manifest::Manifest;
use crate::name::{Reference, RepoName, Tag};

/// A manifest as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    /// The digest of the bytes.
    pub digest: Digest,
    /// The type it was pushed with, without parameters.
    pub media_type: String,
    /// The bytes as they were pushed.
    pub bytes: Bytes,
}

/// Reads a manifest through the repository that holds it.
pub(crate) fn get(
    connection: &Connection,
    name: &RepoName,
    reference: &Reference,
) -> Result<Option<StoredManifest>, StorageError> {
    let (text, key): (_, &dyn rusqlite::ToSql) = match reference {
        Reference::Tag(tag) => (
            "SELECT m.digest, l.media_type, m.bytes FROM repositories r
             JOIN tags t ON t.repository_id = r.id
             JOIN repository_manifests l ON l.repository_id = r.id AND l.digest = t.digest
             JOIN manifests m ON m.digest = l.digest
             WHERE r.name = ?1 AND t.name = ?2",
            tag,
        ),
        Reference::Digest(digest) => (
            "SELECT m.digest, l.media_type, m.bytes FROM repositories r
             JOIN repository_manifests l ON l.repository_id = r.id
             JOIN manifests m ON m.digest = l.digest
             WHERE r.name = ?1 AND l.digest = ?2",
            digest,
        ),
    };
    let mut statement = connection.prepare_cached(text)?;
    let manifest = statement.query_row(params![name, key], |row| {
        let bytes: Vec<u8> = row.get(2)?;
        Ok(StoredManifest {
            digest: row.get(0)?,
            media_type: row.get(1)?,
            bytes: Bytes::from(bytes),
        })
    });
    Ok(manifest.optional()?)
}

/// Stores a manifest with its edges and moves the tags to it, all or nothing.
///
/// The blobs it must have are looked up in the same transaction, so no delete comes between;
/// those in `lost` have no file and count as missing.
pub(crate) fn put(
    connection: &Connection,
    name: &RepoName,
    manifest: &Manifest,
    lost: &[Digest],
    tags: &[Tag],
) -> Result<(), StorageError> {
    let id = repository::ensure(connection, name)?;
    let missing = missing_blobs(connection, id, manifest, lost)?;
    if !missing.is_empty() {
        return Err(StorageError::MissingBlobs(missing));
    }
    let digest = manifest.digest();
    connection
        .prepare_cached(
            "INSERT INTO manifests (digest, bytes) VALUES (?1, ?2)
             ON CONFLICT (digest) DO NOTHING",
        )?
        .execute(params![digest, manifest.bytes().as_ref()])?;
    connection
        .prepare_cached(
            "INSERT INTO repository_manifests (repository_id, digest, media_type, size, subject,
                                               artifact_type, annotations, pushed_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (repository_id, digest)
             DO UPDATE SET media_type = excluded.media_type, pushed_at = excluded.pushed_at",
        )?
        .execute(params![
            id,
            digest,
            manifest.media_type().as_str(),
            manifest.bytes().len(),
            manifest.subject(),
            manifest.artifact_type(),
            manifest.annotations(),
            unix_now(),
        ])?;
    put_edges(connection, id, manifest)?;
    put_tags(connection, id, digest, tags)
}

/// Removes a manifest and every tag that names it from a repository; false if it was not there.
pub(crate) fn remove(
    connection: &Connection,
    name: &RepoName,
    digest: &Digest,
) -> Result<bool, StorageError> {
    let Some(id) = repository::find(connection, name)? else { return Ok(false) };
    // The rows of its tags and edges go with it, by the schema's cascades.
    let removed = connection
        .prepare_cached(
            "DELETE FROM repository_manifests WHERE repository_id = ?1 AND digest = ?2",
        )?
        .execute(params![id, digest])?;
    connection
        .prepare_cached(
            "DELETE FROM manifests WHERE digest = ?1 AND NOT EXISTS
             (SELECT 1 FROM repository_manifests l WHERE l.digest = ?1)",
        )?
        .execute(params![digest])?;
    Ok(removed > 0)
}

/// Removes a tag and nothing else; false if it was not there.
pub(crate) fn remove_tag(
    connection: &Connection,
    name: &RepoName,
    tag: &Tag,
) -> Result<bool, StorageError> {
    let Some(id) = repository::find(connection, name)? else { return Ok(false) };
    let mut statement =
        connection.prepare_cached("DELETE FROM tags WHERE repository_id = ?1 AND name = ?2")?;
    Ok(statement.execute(params![id, tag])? > 0)
}

fn missing_blobs(
    connection: &Connection,
    repository: i64,
    manifest: &Manifest,
    lost: &[Digest],
) -> Result<Vec<Digest>, StorageError> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM repository_blobs WHERE repository_id = ?1 AND digest = ?2",
    )?;
    let mut missing = Vec::new();
    for edge in manifest.edges().iter().filter(|edge| edge.kind.is_required_blob()) {
        if lost.contains(&edge.child) || !statement.exists(params![repository, edge.child])? {
            missing.push(edge.child);
        }
    }
    Ok(missing)
}

fn put_edges(
    connection: &Connection,
    repository: i64,
    manifest: &Manifest,
) -> Result<(), StorageError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO edges (repository_id, parent, kind, child) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING",
    )?;
    for edge in manifest.edges() {
        let kind = edge.kind.as_str();
        statement.execute(params![repository, manifest.digest(), kind, edge.child])?;
    }
    Ok(())
}

fn put_tags(
    connection: &Connection,
    repository: i64,
    digest: &Digest,
    tags: &[Tag],
) -> Result<(), StorageError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO tags (repository_id, name, digest, updated_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (repository_id, name)
         DO UPDATE SET digest = excluded.digest, updated_at = excluded.updated_at",
    )?;
    for tag in tags {
        statement.execute(params![repository, tag, digest, unix_now()])?;
    }
    Ok(())
}
