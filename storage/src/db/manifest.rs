//! Manifests, their edges and their tags.

use std::collections::HashSet;

use bytes::Bytes;
use oci::{Digest, Edge, EdgeKind, Hasher, Manifest, Reference, RepoName, Tag};
use rusqlite::{Connection, MAIN_DB, OptionalExtension, params};

use super::column::{Text, parsed, parsed_if_any};
use super::{listed, lost, protection, repository, tag, unix_now};
use crate::actor::Actor;
use crate::clock::BEGINNING;
use crate::error::StorageError;

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

/// A manifest that is long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongManifest {
    /// The digest of the bytes.
    pub digest: Digest,
    /// The type it was pushed with, without parameters.
    pub media_type: String,
    /// How many bytes it has.
    pub length: u64,
    /// The bytes, if there was room for them.
    pub bytes: Option<Bytes>,
}

impl StoredManifest {
    /// Whether its bytes are those that its digest names.
    pub(crate) fn is_right(&self) -> bool {
        Digest::of(self.digest.algorithm(), &self.bytes) == self.digest
    }
}

/// Reads a manifest through the repository that holds it.
///
/// One that needs what is lost is refused: who hears that it is there does not push it again.
pub(crate) fn get(
    connection: &Connection,
    name: &RepoName,
    reference: &Reference,
) -> Result<Option<StoredManifest>, StorageError> {
    let found = find(connection, name, reference, "m.bytes", |row| {
        let bytes = row.get_ref(2)?.as_bytes().map_err(rusqlite::Error::from)?.to_vec();
        let (digest, media_type) = (parsed(row, 0)?, row.get(1)?);
        Ok((StoredManifest { digest, media_type, bytes: Bytes::from(bytes) }, row.get(3)?))
    });
    let Some((manifest, repository)) = found? else { return Ok(None) };
    refuse_lost(connection, repository, &manifest.digest)?;
    Ok(Some(manifest))
}

/// The same of one longer than `whole_bytes`, held against its digest, with its bytes if there is
/// room for so many. `None` of any other.
pub(crate) fn long(
    connection: &Connection,
    name: &RepoName,
    reference: &Reference,
    whole_bytes: usize,
    has_room: impl FnOnce(u64) -> bool,
) -> Result<Option<LongManifest>, StorageError> {
    // What is found is still there when it is read.
    let _reading = connection.unchecked_transaction()?;
    let found = find(connection, name, reference, "octet_length(m.bytes), m.rowid", |row| {
        let (digest, media_type, length) = (parsed(row, 0)?, row.get(1)?, row.get(2)?);
        Ok((LongManifest { digest, media_type, length, bytes: None }, row.get(3)?, row.get(4)?))
    });
    let Some((mut manifest, row, repository)) = found? else { return Ok(None) };
    if manifest.length <= whole_bytes as u64 {
        return Ok(None);
    }
    refuse_lost(connection, repository, &manifest.digest)?;
    let bytes = connection.blob_open(MAIN_DB, "manifests", "bytes", row, true)?;
    let mut kept = has_room(manifest.length).then(|| Vec::with_capacity(bytes.len()));
    let mut hasher = Hasher::new(manifest.digest.algorithm());
    let (mut piece, mut at) = (vec![0; PIECE_BYTES], 0);
    while at < bytes.len() {
        let count = bytes.read_at(&mut piece, at)?;
        hasher.update(&piece[..count]);
        if let Some(kept) = &mut kept {
            kept.extend_from_slice(&piece[..count]);
        }
        at += count;
    }
    manifest.bytes = kept.map(Bytes::from);
    Ok((hasher.finish() == manifest.digest).then_some(manifest))
}

/// A piece of the bytes of a manifest, whoever holds it; `None` if nobody does. All that lies
/// before it is walked over, page by page.
pub(crate) fn piece(
    connection: &Connection,
    digest: &Digest,
    offset: u64,
    length: usize,
) -> Result<Option<Vec<u8>>, StorageError> {
    let _reading = connection.unchecked_transaction()?;
    let mut statement =
        connection.prepare_cached("SELECT rowid FROM manifests WHERE digest = ?1")?;
    let row = statement.query_row([Text(&digest)], |row| row.get(0)).optional()?;
    let Some(row) = row else { return Ok(None) };
    let bytes = connection.blob_open(MAIN_DB, "manifests", "bytes", row, true)?;
    let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let mut piece = vec![0; length.min(bytes.len() - offset)];
    bytes.read_at_exact(&mut piece, offset)?;
    Ok(Some(piece))
}

/// Finds a manifest through the repository that holds it: its digest, its type, some columns, and
/// the repository.
fn find<T>(
    connection: &Connection,
    name: &RepoName,
    reference: &Reference,
    columns: &str,
    row: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, StorageError> {
    let (through, key) = match reference {
        Reference::Tag(tag) => (
            "JOIN tags t ON t.repository_id = r.id AND t.name = ?2
             JOIN repository_manifests l ON l.repository_id = r.id AND l.digest = t.digest",
            Text(tag.to_string()),
        ),
        Reference::Digest(digest) => (
            "JOIN repository_manifests l ON l.repository_id = r.id AND l.digest = ?2",
            Text(digest.to_string()),
        ),
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT m.digest, l.media_type, {columns}, r.id FROM repositories r {through}
         JOIN manifests m ON m.digest = l.digest WHERE r.name = ?1"
    ))?;
    Ok(statement.query_row(params![Text(&name), key], row).optional()?)
}

/// Refuses a manifest that cannot be pulled without what is lost.
fn refuse_lost(
    connection: &Connection,
    repository: i64,
    manifest: &Digest,
) -> Result<(), StorageError> {
    if lost::is_anything(connection)?
        && let Some(lost) = lost::needed_by(connection, repository, manifest)?
    {
        return Err(StorageError::ManifestLost { manifest: *manifest, lost });
    }
    Ok(())
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
    by: Option<&Actor>,
) -> Result<(), StorageError> {
    let id = repository::ensure(connection, name)?;
    store(connection, id, manifest, lost, Coming::Pushed)?;
    tags.iter().try_for_each(|tag| tag::set(connection, id, tag, manifest.digest(), by))
}

/// Stores a manifest again that was deleted, as what it was: pushed when it was, and for itself or
/// for the index that it came for.
pub(super) fn put_back(
    connection: &Connection,
    repository: i64,
    manifest: &Manifest,
    lost: &[Digest],
) -> Result<(), StorageError> {
    store(connection, repository, manifest, lost, Coming::Back)
}

/// How a manifest comes into a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coming {
    Pushed,
    Back,
}

fn store(
    connection: &Connection,
    id: i64,
    manifest: &Manifest,
    lost: &[Digest],
    coming: Coming,
) -> Result<(), StorageError> {
    let missing = missing_blobs(connection, id, manifest, lost)?;
    if !missing.is_empty() {
        return Err(StorageError::MissingBlobs(missing));
    }
    let digest = manifest.digest();
    connection
        .prepare_cached(
            "INSERT INTO manifests (digest, bytes) VALUES (?1, ?2)
             ON CONFLICT (digest) DO UPDATE SET bytes = excluded.bytes
             WHERE bytes IS NOT excluded.bytes",
        )?
        .execute(params![Text(&digest), manifest.bytes().as_ref()])?;
    // What was wrong with it is right again.
    lost::regain_manifest(connection, digest)?;
    // By when it was pushed before, as long as that is known.
    listed::note(connection, id, digest)?;
    put_row(connection, id, manifest)?;
    if coming == Coming::Back {
        connection
            .prepare_cached(
                "UPDATE repository_manifests AS m
                 SET pushed_at = coalesce(d.pushed_at, m.pushed_at), listed_age = d.listed_age,
                     pushed_tick = iif(d.pushed_at IS NULL, m.pushed_tick, d.pushed_tick)
                 FROM deleted_manifests AS d
                 WHERE m.repository_id = ?1 AND m.digest = ?2
                   AND d.repository_id = ?1 AND d.digest = ?2",
            )?
            .execute(params![id, Text(&digest)])?;
    }
    put_edges(connection, id, digest, manifest.edges())?;
    listed::note(connection, id, digest)?;
    // What was deleted and comes back is deleted no more.
    connection
        .prepare_cached("DELETE FROM deleted_manifests WHERE repository_id = ?1 AND digest = ?2")?
        .execute(params![id, Text(&digest)])?;
    Ok(())
}

/// Records that a repository holds a manifest, and that it was pushed now.
fn put_row(connection: &Connection, id: i64, manifest: &Manifest) -> Result<(), StorageError> {
    let digest = manifest.digest();
    // Whatever the document leaves open is what it was called first.
    let kept = held_type(connection, id, digest)?.and_then(|kept| kept.parse().ok());
    let kept = kept.filter(|kept| manifest.may_be(kept));
    let media_type = kept.as_ref().unwrap_or_else(|| manifest.media_type());
    connection
        .prepare_cached(&format!(
            "INSERT INTO repository_manifests (repository_id, digest, media_type, size, subject,
                                               artifact_type, annotations, pushed_at, pushed_tick,
                                               was_tagged)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, tick(),
                     coalesce((SELECT was_tagged FROM deleted_manifests
                               WHERE repository_id = ?1 AND digest = ?2), 0))
             ON CONFLICT (repository_id, digest)
             DO UPDATE SET media_type = excluded.media_type, pushed_at = excluded.pushed_at,
                           pushed_tick = excluded.pushed_tick,
                           listed_age = iif(EXISTS ({PARENTS}), listed_age, NULL)"
        ))?
        .execute(params![
            id,
            Text(&digest),
            media_type.as_str(),
            manifest.bytes().len(),
            manifest.subject().map(Text),
            manifest.artifact_type(),
            manifest.annotations(),
            unix_now(),
        ])?;
    Ok(())
}

/// Writes the bytes of a manifest again, also where the writing connection takes them for right:
/// what it has in memory is not what the disk gave to a reader. SQLite writes no page whose content
/// stays the same, so others come between.
pub(crate) fn rewrite(connection: &Connection, manifest: &Manifest) -> Result<(), StorageError> {
    let mut statement =
        connection.prepare_cached("UPDATE manifests SET bytes = ?2 WHERE digest = ?1")?;
    for bytes in [&[], manifest.bytes().as_ref()] {
        statement.execute(params![Text(&manifest.digest()), bytes])?;
    }
    Ok(())
}

/// Removes a manifest and every tag that names it from a repository; false if it was not there.
///
/// Its bytes and its edges stay, with a note that it was deleted: until collection takes them, it
/// can be restored, and the edges keep its blobs. What a protected tag needs is not removed.
pub(crate) fn remove(
    connection: &Connection,
    name: &RepoName,
    digest: &Digest,
    by: Option<&Actor>,
) -> Result<bool, StorageError> {
    let Some(id) = repository::find(connection, name)? else { return Ok(false) };
    listed::note(connection, id, digest)?;
    remove_row(connection, id, digest, by)
}

/// The same, with the repository found.
pub(super) fn remove_row(
    connection: &Connection,
    id: i64,
    digest: &Digest,
    by: Option<&Actor>,
) -> Result<bool, StorageError> {
    if !is_held(connection, id, digest)? {
        return Ok(false);
    }
    protection::refuse_needed(connection, id, digest)?;
    for tag in tag::of_manifest(connection, id, digest)? {
        tag::remove_row(connection, id, &tag, by)?;
    }
    set_aside(connection, id, digest, Undo::Possible)?;
    Ok(true)
}

/// Whether a manifest that is taken out of a repository can be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undo {
    /// For as long as anything else that was deleted now.
    Possible,
    /// Not even now: it was deleted at the beginning of time.
    Never,
}

/// Takes a manifest that nothing names by tag out of a repository, and notes when it was deleted.
pub(super) fn set_aside(
    connection: &Connection,
    repository: i64,
    digest: &Digest,
    undo: Undo,
) -> Result<(), StorageError> {
    connection
        .prepare_cached(
            "INSERT INTO deleted_manifests (repository_id, digest, media_type, deleted_at,
                                            deleted_tick, listed_age, was_tagged, pushed_at,
                                            pushed_tick)
             SELECT repository_id, digest, media_type, ?3, iif(?4, tick(), ?5), listed_age,
                    was_tagged, pushed_at, pushed_tick
             FROM repository_manifests WHERE repository_id = ?1 AND digest = ?2",
        )?
        .execute(params![
            repository,
            Text(&digest),
            unix_now(),
            undo == Undo::Possible,
            BEGINNING
        ])?;
    connection
        .prepare_cached(
            "DELETE FROM repository_manifests WHERE repository_id = ?1 AND digest = ?2",
        )?
        .execute(params![repository, Text(&digest)])?;
    Ok(())
}

/// The type that a repository keeps a manifest under.
pub(crate) fn kept_type(
    connection: &Connection,
    name: &RepoName,
    digest: &Digest,
) -> Result<Option<String>, StorageError> {
    match repository::find(connection, name)? {
        Some(id) => held_type(connection, id, digest),
        None => Ok(None),
    }
}

fn held_type(
    connection: &Connection,
    repository: i64,
    digest: &Digest,
) -> Result<Option<String>, StorageError> {
    let mut statement = connection.prepare_cached(
        "SELECT media_type FROM repository_manifests WHERE repository_id = ?1 AND digest = ?2",
    )?;
    Ok(statement.query_row(params![repository, Text(&digest)], |row| row.get(0)).optional()?)
}

/// Whether a repository holds a manifest.
pub(super) fn is_held(
    connection: &Connection,
    repository: i64,
    digest: &Digest,
) -> Result<bool, StorageError> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM repository_manifests WHERE repository_id = ?1 AND digest = ?2",
    )?;
    Ok(statement.exists(params![repository, Text(&digest)])?)
}

/// The manifest that one of a repository refers to, there or not.
pub(super) fn subject(
    connection: &Connection,
    repository: i64,
    digest: &Digest,
) -> Result<Option<Digest>, StorageError> {
    let mut statement = connection.prepare_cached(
        "SELECT subject FROM repository_manifests WHERE repository_id = ?1 AND digest = ?2",
    )?;
    let key = params![repository, Text(&digest)];
    let subject = statement.query_row(key, |row| parsed_if_any(row, 0));
    Ok(subject.optional()?.flatten())
}

/// Whether an index of a repository lists a manifest. Which one is not read: its name may be no
/// digest.
pub(super) fn is_listed(
    connection: &Connection,
    repository: i64,
    digest: &Digest,
) -> Result<bool, StorageError> {
    let mut statement = connection.prepare_cached(PARENTS)?;
    Ok(statement.exists(params![repository, Text(&digest)])?)
}

/// An index of a repository that lists a manifest.
pub(super) fn parent(
    connection: &Connection,
    repository: i64,
    digest: &Digest,
) -> Result<Option<Digest>, StorageError> {
    let mut statement = connection.prepare_cached(PARENTS)?;
    Ok(statement.query_row(params![repository, Text(&digest)], |row| parsed(row, 0)).optional()?)
}

/// The indexes of a repository that list a manifest.
pub(super) fn parents(
    connection: &Connection,
    repository: i64,
    digest: &Digest,
) -> Result<Vec<Digest>, StorageError> {
    let mut statement = connection.prepare_cached(PARENTS)?;
    let rows = statement.query_map(params![repository, Text(&digest)], |row| parsed(row, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The digests that a manifest, held or deleted, names as `kind`.
pub(super) fn named_as(
    connection: &Connection,
    repository: i64,
    digest: &Digest,
    kind: EdgeKind,
) -> Result<Vec<Digest>, StorageError> {
    let mut statement = connection.prepare_cached(
        "SELECT child FROM edges WHERE repository_id = ?1 AND parent = ?2 AND kind = ?3",
    )?;
    let rows = statement
        .query_map(params![repository, Text(&digest), kind.as_str()], |row| parsed(row, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn missing_blobs(
    connection: &Connection,
    repository: i64,
    manifest: &Manifest,
    lost: &[Digest],
) -> Result<Vec<Digest>, StorageError> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM repository_blobs WHERE repository_id = ?1 AND digest = ?2
         AND NOT EXISTS (SELECT 1 FROM lost_blobs WHERE digest = ?2)",
    )?;
    // A manifest may name tens of thousands.
    let lost: HashSet<&Digest> = lost.iter().collect();
    let mut missing = Vec::new();
    for blob in manifest.required_blobs() {
        if lost.contains(blob) || !statement.exists(params![repository, Text(&blob)])? {
            missing.push(*blob);
        }
    }
    Ok(missing)
}

/// Records what a manifest names, as far as it is not recorded.
pub(super) fn put_edges(
    connection: &Connection,
    repository: i64,
    parent: &Digest,
    edges: &[Edge],
) -> Result<(), StorageError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO edges (repository_id, parent, kind, child) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING",
    )?;
    for edge in edges {
        let (kind, child) = (edge.kind.as_str(), Text(&edge.child));
        statement.execute(params![repository, Text(&parent), kind, child])?;
    }
    Ok(())
}

/// The manifests that the repository ?1 holds and that list ?2.
const PARENTS: &str = "SELECT e.parent FROM edges e
    JOIN repository_manifests m ON m.repository_id = e.repository_id AND m.digest = e.parent
    WHERE e.repository_id = ?1 AND e.child = ?2 AND e.kind = 'child'";
/// How much of a long manifest is in memory while it is held against its digest.
const PIECE_BYTES: usize = 64 * 1024;
