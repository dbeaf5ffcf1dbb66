//! What a store knows of one manifest, and whether what it names is there.

use rusqlite::{Connection, OptionalExtension, params};

use super::{manifest, repository, restore, tag};
use crate::digest::Digest;
use crate::error::StorageError;
use crate::name::{Reference, RepoName, Tag};

/// A manifest of a repository without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestInfo {
    /// Its digest.
    pub digest: Digest,
    /// The type it was pushed with.
    pub media_type: String,
    /// Its bytes.
    pub size: u64,
    /// When it was pushed last, in seconds since 1970.
    pub pushed_at: i64,
    /// The tags that name it, as many as are asked for.
    pub tags: Vec<Tag>,
    /// The tags under which cosign keeps what belongs to it, with what they name.
    pub signatures: Vec<(Tag, Digest)>,
}

/// Looks at a manifest; `None` if the repository does not hold it.
pub(crate) fn info(
    connection: &Connection,
    name: &RepoName,
    reference: &Reference,
    tags: usize,
) -> Result<Option<ManifestInfo>, StorageError> {
    let Some(id) = repository::find(connection, name)? else { return Ok(None) };
    let digest = match reference {
        Reference::Digest(digest) => Some(*digest),
        Reference::Tag(tag) => tag::named(connection, id, tag)?,
    };
    let Some(digest) = digest else { return Ok(None) };
    let row = connection
        .prepare_cached(
            "SELECT media_type, size, pushed_at FROM repository_manifests
             WHERE repository_id = ?1 AND digest = ?2",
        )?
        .query_row(params![id, digest], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((media_type, size, pushed_at)) = row else { return Ok(None) };
    let mut named = connection.prepare_cached(
        "SELECT name FROM tags WHERE repository_id = ?1 AND digest = ?2 LIMIT ?3",
    )?;
    let named = named.query_map(params![id, digest, tags], |row| row.get(0))?;
    let tags = named.collect::<Result<_, _>>()?;
    let mut signatures = Vec::new();
    for tag in restore::signature_tags(&digest) {
        let named = tag::named(connection, id, &tag)?;
        signatures.extend(named.map(|digest| (tag, digest)));
    }
    Ok(Some(ManifestInfo { digest, media_type, size, pushed_at, tags, signatures }))
}

/// Whether the repository holds a manifest.
pub(crate) fn holds_manifest(
    connection: &Connection,
    name: &RepoName,
    digest: &Digest,
) -> Result<bool, StorageError> {
    match repository::find(connection, name)? {
        Some(id) => manifest::is_held(connection, id, digest),
        None => Ok(false),
    }
}
