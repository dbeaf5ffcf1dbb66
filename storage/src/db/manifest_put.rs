//! Storing manifests: their bytes, their rows in repositories, and their edges.

use std::collections::HashSet;

use oci::{Digest, Edge, Manifest, RepoName, Tag};
use rusqlite::params;

use super::column::Text;
use super::key::RepoId;
use super::manifest::{PARENTS, held_type};
use super::transaction::{Reader, Transaction};
use crate::actor::Actor;
use crate::error::StorageError;

impl Transaction<'_> {
    /// Stores a manifest with its edges and moves the tags to it, all or nothing.
    ///
    /// The blobs it must have are looked up in the same transaction, so no delete comes between;
    /// those in `lost` have no file and count as missing.
    pub(crate) fn put_manifest(
        &self,
        name: &RepoName,
        manifest: &Manifest,
        lost: &[Digest],
        tags: &[Tag],
        by: Option<&Actor>,
    ) -> Result<(), StorageError> {
        let id = self.ensure_repository(name)?;
        store(self, id, manifest, lost, Coming::Pushed)?;
        let mut tags = tags.iter();
        tags.try_for_each(|tag| self.set_tag(id, tag, manifest.digest(), by.into()).map(drop))
    }

    /// Stores a manifest again that was deleted, as what it was: pushed when it was, and for itself
    /// or for the index that it came for.
    pub(super) fn put_manifest_back(
        &self,
        repository: RepoId,
        manifest: &Manifest,
        lost: &[Digest],
    ) -> Result<(), StorageError> {
        store(self, repository, manifest, lost, Coming::Back)
    }
}

/// How a manifest comes into a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coming {
    Pushed,
    Back,
}

fn store(
    transaction: &Transaction<'_>,
    id: RepoId,
    manifest: &Manifest,
    lost: &[Digest],
    coming: Coming,
) -> Result<(), StorageError> {
    let missing = missing_blobs(transaction, id, manifest, lost)?;
    if !missing.is_empty() {
        return Err(StorageError::MissingBlobs(missing));
    }
    let digest = manifest.digest();
    transaction
        .prepare_cached(
            "INSERT INTO manifests (digest, bytes) VALUES (?1, ?2)
             ON CONFLICT (digest) DO UPDATE SET bytes = excluded.bytes
             WHERE bytes IS NOT excluded.bytes",
        )?
        .execute(params![Text(&digest), manifest.bytes().as_ref()])?;
    // What was wrong with it is right again.
    transaction.regain_manifest(digest)?;
    // By when it was pushed before, as long as that is known.
    transaction.note_listed(id, digest)?;
    put_row(transaction, id, manifest)?;
    if coming == Coming::Back {
        transaction
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
    transaction.put_edges(id, digest, manifest.edges())?;
    transaction.note_listed(id, digest)?;
    // What was deleted and comes back is deleted no more.
    transaction
        .prepare_cached("DELETE FROM deleted_manifests WHERE repository_id = ?1 AND digest = ?2")?
        .execute(params![id, Text(&digest)])?;
    Ok(())
}

/// Records that a repository holds a manifest, and that it was pushed now.
fn put_row(
    transaction: &Transaction<'_>,
    id: RepoId,
    manifest: &Manifest,
) -> Result<(), StorageError> {
    let digest = manifest.digest();
    // Whatever the document leaves open is what it was called first.
    let kept = held_type(transaction, id, digest)?.and_then(|kept| kept.parse().ok());
    let kept = kept.filter(|kept| manifest.may_be(kept));
    let media_type = kept.as_ref().unwrap_or_else(|| manifest.media_type());
    let sql = format!(
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
    );
    transaction.change(id, &sql)?.execute(params![
        id,
        Text(&digest),
        media_type.as_str(),
        manifest.bytes().len(),
        manifest.subject().map(Text),
        manifest.artifact_type(),
        manifest.annotations(),
        transaction.now(),
    ])?;
    Ok(())
}

impl Transaction<'_> {
    /// Writes the bytes of a manifest again, also where the writing connection takes them for
    /// right: what it has in memory is not what the disk gave to a reader. SQLite writes no page
    /// whose content stays the same, so others come between.
    pub(crate) fn rewrite_manifest(&self, manifest: &Manifest) -> Result<(), StorageError> {
        let mut statement =
            self.prepare_cached("UPDATE manifests SET bytes = ?2 WHERE digest = ?1")?;
        for bytes in [&[], manifest.bytes().as_ref()] {
            statement.execute(params![Text(&manifest.digest()), bytes])?;
        }
        Ok(())
    }
}

fn missing_blobs(
    reader: &Reader<'_>,
    repository: RepoId,
    manifest: &Manifest,
    lost: &[Digest],
) -> Result<Vec<Digest>, StorageError> {
    let mut statement = reader.prepare_cached(
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

impl Transaction<'_> {
    /// Records what a manifest names, as far as it is not recorded.
    pub(super) fn put_edges(
        &self,
        repository: RepoId,
        parent: &Digest,
        edges: &[Edge],
    ) -> Result<(), StorageError> {
        let mut statement = self.change(
            repository,
            "INSERT INTO edges (repository_id, parent, kind, child) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
        )?;
        for edge in edges {
            let (kind, child) = (edge.kind.as_str(), Text(&edge.child));
            statement.execute(params![repository, Text(&parent), kind, child])?;
        }
        Ok(())
    }
}
