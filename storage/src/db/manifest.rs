//! Manifests: reading them, taking them out of repositories, and what their edges say.

use bytes::Bytes;
use oci::{Digest, EdgeKind, Hasher, Reference, RepoName};
use rusqlite::{OptionalExtension, params};

use super::column::{Text, parsed, parsed_if_any};
use super::key::RepoId;
use super::transaction::{Reader, Transaction};
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

impl Reader<'_> {
    /// Reads a manifest through the repository that holds it, and which that is.
    ///
    /// One that needs what is lost is refused: who hears that it is there does not push it again.
    pub(crate) fn manifest(
        &self,
        name: &RepoName,
        reference: &Reference,
    ) -> Result<Option<(StoredManifest, RepoId)>, StorageError> {
        let found = find(self, name, reference, "m.bytes", |row| {
            let bytes = row.get_ref(2)?.as_bytes().map_err(rusqlite::Error::from)?.to_vec();
            let (digest, media_type) = (parsed(row, 0)?, row.get(1)?);
            Ok((StoredManifest { digest, media_type, bytes: Bytes::from(bytes) }, row.get(3)?))
        });
        let Some((manifest, repository)) = found? else { return Ok(None) };
        refuse_lost(self, repository, &manifest.digest)?;
        Ok(Some((manifest, repository)))
    }

    /// A manifest longer than `whole_bytes`, held against its digest, with its bytes if there
    /// is room for so many. `None` of any other.
    pub(crate) fn long_manifest(
        &self,
        name: &RepoName,
        reference: &Reference,
        whole_bytes: usize,
        has_room: impl FnOnce(u64) -> bool,
    ) -> Result<Option<LongManifest>, StorageError> {
        // Most are short: that is found out by one statement alone.
        let length = find(self, name, reference, "octet_length(m.bytes)", |row| row.get(2))?;
        if length.is_none_or(|length: u64| length <= whole_bytes as u64) {
            return Ok(None);
        }
        // What is found is still there when it is read.
        let _reading = self.one_moment()?;
        let found = find(self, name, reference, "octet_length(m.bytes), m.rowid", |row| {
            let (digest, media_type, length) = (parsed(row, 0)?, row.get(1)?, row.get(2)?);
            Ok((LongManifest { digest, media_type, length, bytes: None }, row.get(3)?, row.get(4)?))
        });
        let Some((mut manifest, row, repository)) = found? else { return Ok(None) };
        if manifest.length <= whole_bytes as u64 {
            return Ok(None);
        }
        refuse_lost(self, repository, &manifest.digest)?;
        let bytes = self.open_bytes("manifests", row)?;
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
    pub(crate) fn manifest_piece(
        &self,
        digest: &Digest,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let _reading = self.one_moment()?;
        let mut statement = self.prepare_cached("SELECT rowid FROM manifests WHERE digest = ?1")?;
        let row = statement.query_row([Text(&digest)], |row| row.get(0)).optional()?;
        let Some(row) = row else { return Ok(None) };
        let bytes = self.open_bytes("manifests", row)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let mut piece = vec![0; length.min(bytes.len() - offset)];
        bytes.read_at_exact(&mut piece, offset)?;
        Ok(Some(piece))
    }
}

/// Finds a manifest through the repository that holds it: its digest, its type, some columns, and
/// the repository.
fn find<T>(
    reader: &Reader<'_>,
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
    let mut statement = reader.prepare_cached(&format!(
        "SELECT m.digest, l.media_type, {columns}, r.id FROM repositories r {through}
         JOIN manifests m ON m.digest = l.digest WHERE r.name = ?1"
    ))?;
    Ok(statement.query_row(params![Text(&name), key], row).optional()?)
}

/// Refuses a manifest that cannot be pulled without what is lost.
fn refuse_lost(
    reader: &Reader<'_>,
    repository: RepoId,
    manifest: &Digest,
) -> Result<(), StorageError> {
    if reader.is_anything_lost()?
        && let Some(lost) = reader.lost_part_of(repository, manifest)?
    {
        return Err(StorageError::ManifestLost { manifest: *manifest, lost });
    }
    Ok(())
}

impl Transaction<'_> {
    /// Removes a manifest and every tag that names it from a repository; false if it was not there.
    ///
    /// Its bytes and its edges stay, with a note that it was deleted: until collection takes them,
    /// it can be restored, and the edges keep its blobs. What a protected tag needs is not removed.
    pub(crate) fn remove_manifest(
        &self,
        name: &RepoName,
        digest: &Digest,
        by: Option<&Actor>,
    ) -> Result<bool, StorageError> {
        let Some(id) = self.repository_id(name)? else { return Ok(false) };
        self.note_listed(id, digest)?;
        self.remove_manifest_of(id, digest, by)
    }

    /// Removes a manifest of a repository with the tags that name it. The caller has noted how old
    /// it and what it lists were when they were listed ([`Transaction::note_listed`]).
    pub(super) fn remove_manifest_of(
        &self,
        id: RepoId,
        digest: &Digest,
        by: Option<&Actor>,
    ) -> Result<bool, StorageError> {
        if !self.holds_manifest(id, digest)? {
            return Ok(false);
        }
        self.refuse_needed_by_protected(id, digest)?;
        for tag in self.tags_of(id, digest)? {
            self.remove_tag_of(id, &tag, by)?;
        }
        self.set_manifest_aside(id, digest, Undo::Possible)?;
        Ok(true)
    }
}

/// Whether a manifest that is taken out of a repository can be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undo {
    /// For as long as anything else that was deleted now.
    Possible,
    /// Not even now: it was deleted at the beginning of time.
    Never,
}

impl Transaction<'_> {
    /// Takes a manifest that nothing names by tag out of a repository, and notes when it was
    /// deleted.
    pub(super) fn set_manifest_aside(
        &self,
        repository: RepoId,
        digest: &Digest,
        undo: Undo,
    ) -> Result<(), StorageError> {
        self.prepare_cached(
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
            self.now(),
            undo == Undo::Possible,
            BEGINNING
        ])?;
        self.change(
            repository,
            "DELETE FROM repository_manifests WHERE repository_id = ?1 AND digest = ?2",
        )?
        .execute(params![repository, Text(&digest)])?;
        Ok(())
    }
}

impl Reader<'_> {
    /// The type that a repository keeps a manifest under.
    pub(crate) fn kept_media_type(
        &self,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<Option<String>, StorageError> {
        match self.repository_id(name)? {
            Some(id) => held_type(self, id, digest),
            None => Ok(None),
        }
    }
}

pub(super) fn held_type(
    reader: &Reader<'_>,
    repository: RepoId,
    digest: &Digest,
) -> Result<Option<String>, StorageError> {
    let mut statement = reader.prepare_cached(
        "SELECT media_type FROM repository_manifests WHERE repository_id = ?1 AND digest = ?2",
    )?;
    Ok(statement.query_row(params![repository, Text(&digest)], |row| row.get(0)).optional()?)
}

impl Reader<'_> {
    /// Whether a repository holds a manifest.
    pub(super) fn holds_manifest(
        &self,
        repository: RepoId,
        digest: &Digest,
    ) -> Result<bool, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT 1 FROM repository_manifests WHERE repository_id = ?1 AND digest = ?2",
        )?;
        Ok(statement.exists(params![repository, Text(&digest)])?)
    }

    /// The manifest that one of a repository refers to, there or not.
    pub(super) fn subject_of(
        &self,
        repository: RepoId,
        digest: &Digest,
    ) -> Result<Option<Digest>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT subject FROM repository_manifests WHERE repository_id = ?1 AND digest = ?2",
        )?;
        let key = params![repository, Text(&digest)];
        let subject = statement.query_row(key, |row| parsed_if_any(row, 0));
        Ok(subject.optional()?.flatten())
    }

    /// Whether an index of a repository lists a manifest. Which one is not read: its name may be no
    /// digest.
    pub(super) fn is_listed(
        &self,
        repository: RepoId,
        digest: &Digest,
    ) -> Result<bool, StorageError> {
        let mut statement = self.prepare_cached(PARENTS)?;
        Ok(statement.exists(params![repository, Text(&digest)])?)
    }

    /// An index of a repository that lists a manifest.
    pub(super) fn parent_of(
        &self,
        repository: RepoId,
        digest: &Digest,
    ) -> Result<Option<Digest>, StorageError> {
        let mut statement = self.prepare_cached(PARENTS)?;
        Ok(statement
            .query_row(params![repository, Text(&digest)], |row| parsed(row, 0))
            .optional()?)
    }

    /// The indexes of a repository that list a manifest.
    pub(super) fn parents_of(
        &self,
        repository: RepoId,
        digest: &Digest,
    ) -> Result<Vec<Digest>, StorageError> {
        let mut statement = self.prepare_cached(PARENTS)?;
        let rows = statement.query_map(params![repository, Text(&digest)], |row| parsed(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The digests that a manifest, held or deleted, names as `kind`.
    pub(super) fn named_as(
        &self,
        repository: RepoId,
        digest: &Digest,
        kind: EdgeKind,
    ) -> Result<Vec<Digest>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT child FROM edges WHERE repository_id = ?1 AND parent = ?2 AND kind = ?3",
        )?;
        let rows = statement
            .query_map(params![repository, Text(&digest), kind.as_str()], |row| parsed(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// The manifests that the repository ?1 holds and that list ?2.
pub(super) const PARENTS: &str = "SELECT e.parent FROM edges e
    JOIN repository_manifests m ON m.repository_id = e.repository_id AND m.digest = e.parent
    WHERE e.repository_id = ?1 AND e.child = ?2 AND e.kind = 'child'";
/// How much of a long manifest is in memory while it is held against its digest.
const PIECE_BYTES: usize = 64 * 1024;
