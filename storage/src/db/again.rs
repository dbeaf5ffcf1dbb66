//! Pushing again what is there already: who finds that on a reading connection writes nothing.

use rusqlite::{Connection, OptionalExtension, params};

use super::{manifest, repository, tag};
use crate::error::StorageError;
use crate::manifest::Manifest;
use crate::name::{RepoName, Tag};

/// What a push of a manifest would change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    Nothing,
    /// Rows, or when it was pushed last.
    Something,
    /// The bytes that readers get, whatever the writing connection remembers of them.
    Bytes,
}

/// Finds out what a push of a manifest under these tags would change.
pub(crate) fn change(
    connection: &Connection,
    name: &RepoName,
    manifest: &Manifest,
    tags: &[Tag],
) -> Result<Change, StorageError> {
    let Some(id) = repository::find(connection, name)? else { return Ok(Change::Something) };
    let digest = manifest.digest();
    let mut statement = connection.prepare_cached(
        "SELECT m.bytes, l.media_type = ?3 AND coalesce(l.pushed_tick > tick() - ?4, 0)
                     AND l.pushed_tick <= tick()
                     AND NOT EXISTS (SELECT 1 FROM lost_manifests x WHERE x.digest = m.digest),
                l.listed_age IS NOT NULL
         FROM repository_manifests l JOIN manifests m ON m.digest = l.digest
         WHERE l.repository_id = ?1 AND l.digest = ?2",
    )?;
    let key = params![id, digest, manifest.media_type().as_str(), RENEWED_TICKS];
    let found = statement.query_row(key, |row| {
        let bytes = row.get_ref(0)?.as_bytes().unwrap_or_default();
        Ok((bytes == manifest.bytes().as_ref(), row.get::<_, bool>(1)?, row.get::<_, bool>(2)?))
    });
    let Some((is_same, is_fresh, was_listed)) = found.optional()? else {
        return Ok(Change::Something);
    };
    if !is_same {
        return Ok(Change::Bytes);
    }
    // One that came for an index which is gone is now pushed for itself.
    if !is_fresh || was_listed && !manifest::is_listed(connection, id, digest)? {
        return Ok(Change::Something);
    }
    for name in tags {
        if tag::named(connection, id, name)?.as_ref() != Some(digest) {
            return Ok(Change::Something);
        }
    }
    Ok(Change::Nothing)
}

/// Ticks after which a push that changes nothing else renews when something was pushed last, so
/// that ages which are counted from there are true to within as much.
pub(super) const RENEWED_TICKS: i64 = 3600;
