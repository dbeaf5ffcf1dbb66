//! What verification asks of the database and mends in it, a page or a step at a time.
//!
//! Digests are read as text here: one that is none is what verification looks for.

use oci::{Digest, Edge, Manifest, RepoName, StatedSize};
use rusqlite::{OptionalExtension, params};

use super::column::{Text, parsed};
use super::key::{RepoId, RowKey, STEP_ROWS};
use super::lost::LossOutcome;
use super::transaction::{Reader, Transaction};
use crate::error::StorageError;
use crate::page::Page;

/// The row of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlobRow {
    /// Its digest, as it stands there.
    pub(crate) digest: String,
    /// The size that its file must have.
    pub(crate) size: u64,
}

impl Reader<'_> {
    /// Blobs after `after`, in the order of their digests.
    pub(crate) fn blobs_to_verify(&self, after: &str) -> Result<Vec<BlobRow>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT digest, size FROM blobs WHERE digest > ?1 ORDER BY digest LIMIT ?2",
        )?;
        let row = |row: &rusqlite::Row<'_>| Ok(BlobRow { digest: row.get(0)?, size: row.get(1)? });
        let rows = statement.query_map(params![after, STEP_ROWS], row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Digests of manifests after `after`, in their order.
    pub(crate) fn manifests_to_verify(&self, after: &str) -> Result<Vec<String>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT digest FROM manifests WHERE digest > ?1 ORDER BY digest LIMIT ?2",
        )?;
        let rows = statement.query_map(params![after, STEP_ROWS], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The bytes of a manifest, and whether it is lost.
    pub(crate) fn manifest_bytes(
        &self,
        digest: &Digest,
    ) -> Result<Option<(Vec<u8>, bool)>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT bytes, EXISTS (SELECT 1 FROM lost_manifests x WHERE x.digest = m.digest)
             FROM manifests m WHERE digest = ?1",
        )?;
        let row = |row: &rusqlite::Row<'_>| {
            // Whatever stands there: something that is no bytes is not the manifest.
            let bytes = row.get_ref(0)?.as_bytes().unwrap_or_default();
            Ok((bytes.to_vec(), row.get(1)?))
        };
        Ok(statement.query_row(params![Text(&digest)], row).optional()?)
    }
}

/// A repository that holds a manifest, or held it until it was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HoldingRepository {
    /// The repository's row.
    pub(crate) repository: RepoId,
    /// The type that the manifest was pushed with.
    pub(crate) media_type: String,
    /// What lists show of it; none if it is deleted.
    pub(crate) shown: Option<Shown>,
}

/// What the row of a manifest in a repository repeats of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    size: u64,
    subject: Option<String>,
    artifact_type: Option<String>,
    annotations: Option<String>,
}

impl Shown {
    /// What must stand there of a manifest.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        Self {
            size: manifest.bytes().len() as u64,
            subject: manifest.subject().map(Digest::to_string),
            artifact_type: manifest.artifact_type().map(str::to_owned),
            annotations: manifest.annotations().map(str::to_owned),
        }
    }
}

impl Reader<'_> {
    /// Repositories that hold a manifest, or held it until it was deleted, after `after`, a page at
    /// most. Deleted ones that collection has begun to take are not looked at.
    pub(crate) fn holders_of(
        &self,
        digest: &Digest,
        after: RepoId,
    ) -> Result<Vec<HoldingRepository>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT repository_id, media_type, size, subject, artifact_type, annotations
             FROM repository_manifests INDEXED BY repository_manifests_by_digest
             WHERE digest = ?1 AND repository_id > ?2 ORDER BY repository_id LIMIT ?3",
        )?;
        let held = statement.query_map(params![Text(&digest), after, STEP_ROWS], |row| {
            let shown = Shown {
                size: row.get(2)?,
                subject: row.get(3)?,
                artifact_type: row.get(4)?,
                annotations: row.get(5)?,
            };
            Ok(HoldingRepository {
                repository: row.get(0)?,
                media_type: row.get(1)?,
                shown: Some(shown),
            })
        })?;
        let mut holders = held.collect::<Result<Vec<_>, _>>()?;
        let mut statement = self.prepare_cached(
            "SELECT repository_id, media_type
             FROM deleted_manifests INDEXED BY deleted_manifests_by_digest
             WHERE digest = ?1 AND repository_id > ?2 AND deleted_tick > 0
             ORDER BY repository_id LIMIT ?3",
        )?;
        let deleted = statement.query_map(params![Text(&digest), after, STEP_ROWS], |row| {
            Ok(HoldingRepository { repository: row.get(0)?, media_type: row.get(1)?, shown: None })
        })?;
        for holder in deleted {
            holders.push(holder?);
        }
        holders.sort_by_key(|holder| holder.repository);
        holders.truncate(STEP_ROWS);
        Ok(holders)
    }

    /// The first repository that holds a manifest, if any does.
    pub(crate) fn first_holder_of(
        &self,
        digest: &Digest,
    ) -> Result<Option<RepoName>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT r.name FROM repository_manifests l INDEXED BY repository_manifests_by_digest
             JOIN repositories r ON r.id = l.repository_id
             WHERE l.digest = ?1 ORDER BY l.repository_id LIMIT 1",
        )?;
        Ok(statement.query_row(params![Text(&digest)], |row| parsed(row, 0)).optional()?)
    }

    /// Whether a repository holds a manifest, or held it until it was deleted and may have it back.
    pub(crate) fn holds_or_held_manifest(
        &self,
        repository: RepoId,
        digest: &Digest,
    ) -> Result<bool, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM repository_manifests
                            WHERE repository_id = ?1 AND digest = ?2)
                 OR EXISTS (SELECT 1 FROM deleted_manifests
                            WHERE repository_id = ?1 AND digest = ?2 AND deleted_tick > 0)",
        )?;
        Ok(statement.query_row(params![repository, Text(&digest)], |row| row.get(0))?)
    }

    /// Edges of a manifest as they stand there, kind and child, after `after`.
    pub(crate) fn edges_of(
        &self,
        repository: RepoId,
        parent: &Digest,
        after: &(String, String),
    ) -> Result<Vec<(String, String)>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT kind, child FROM edges
             WHERE repository_id = ?1 AND parent = ?2 AND (kind, child) > (?3, ?4)
             ORDER BY kind, child LIMIT ?5",
        )?;
        let values = params![repository, Text(&parent), after.0, after.1, STEP_ROWS];
        let rows = statement.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Transaction<'_> {
    /// Puts back edges of a manifest, at most [`STEP_ROWS`]; false if the repository does not hold
    /// it any more.
    pub(crate) fn mend_edges(
        &self,
        repository: RepoId,
        parent: &Digest,
        missing: &[Edge],
    ) -> Result<bool, StorageError> {
        let is_held = self.holds_or_held_manifest(repository, parent)?;
        if is_held {
            self.put_edges(repository, parent, &missing[..missing.len().min(STEP_ROWS)])?;
        }
        Ok(is_held)
    }

    /// Takes edges away that a manifest does not have, at most [`STEP_ROWS`]; false if they are
    /// gone.
    pub(crate) fn remove_edges(
        &self,
        repository: RepoId,
        parent: &Digest,
        surplus: &[(String, String)],
    ) -> Result<bool, StorageError> {
        let mut statement = self.prepare_cached(
            "DELETE FROM edges WHERE repository_id = ?1 AND parent = ?2
             AND kind = ?3 AND child = ?4",
        )?;
        let mut removed = 0;
        for (kind, child) in surplus.iter().take(STEP_ROWS) {
            removed += statement.execute(params![repository, Text(&parent), kind, Text(&child)])?;
        }
        Ok(removed > 0)
    }

    /// Writes what lists show of a manifest anew; false if the repository does not hold it any
    /// more.
    pub(crate) fn mend_shown(
        &self,
        repository: RepoId,
        digest: &Digest,
        shown: &Shown,
    ) -> Result<bool, StorageError> {
        let mended = self
            .prepare_cached(
                "UPDATE repository_manifests
                 SET size = ?3, subject = ?4, artifact_type = ?5, annotations = ?6
                 WHERE repository_id = ?1 AND digest = ?2",
            )?
            .execute(params![
                repository,
                Text(&digest),
                shown.size,
                shown.subject,
                shown.artifact_type,
                shown.annotations,
            ])?;
        Ok(mended > 0)
    }

    /// Lets a repository serve a manifest under another type; false if it does already, or does not
    /// hold the manifest any more.
    pub(crate) fn mend_type(
        &self,
        repository: RepoId,
        digest: &Digest,
        kept: &str,
        own: &str,
    ) -> Result<bool, StorageError> {
        let mut statement = self.change(
            repository,
            "UPDATE repository_manifests SET media_type = ?4
             WHERE repository_id = ?1 AND digest = ?2 AND media_type = ?3",
        )?;
        Ok(statement.execute(params![repository, Text(&digest), kept, own])? > 0)
    }
}

impl Reader<'_> {
    /// The sizes of blobs and manifests that the store has, in the order of what is said of them;
    /// none of what it lost or never had.
    pub(crate) fn sizes_of(&self, said: &[StatedSize]) -> Result<Vec<Option<u64>>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT length(bytes) FROM manifests m WHERE digest = ?1
             AND NOT EXISTS (SELECT 1 FROM lost_manifests x WHERE x.digest = m.digest)
             UNION ALL
             SELECT size FROM blobs b WHERE digest = ?1
             AND NOT EXISTS (SELECT 1 FROM lost_blobs x WHERE x.digest = b.digest)",
        )?;
        let mut size = |said: &StatedSize| {
            Ok(statement.query_row(params![Text(&said.child)], |row| row.get(0)).optional()?)
        };
        said.iter().map(&mut size).collect()
    }
}

/// Tables whose rows name something of another table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamingTable {
    /// Manifests of repositories, which name bytes.
    Manifests,
    /// Tags, which name manifests.
    Tags,
    /// Blobs of repositories, which name blobs.
    Links,
}

/// A row that names what is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dangling {
    /// The row.
    pub(crate) place: RowKey,
    /// Its repository.
    pub(crate) repository: String,
    /// What it names.
    pub(crate) digest: String,
}

impl Reader<'_> {
    /// The rows of a table that name what is not there, among the next [`STEP_ROWS`] after `after`;
    /// and the last of those, none at the end of the table.
    pub(crate) fn dangling(
        &self,
        naming: NamingTable,
        after: &RowKey,
    ) -> Result<Page<Dangling, RowKey>, StorageError> {
        let (table, key, named) = match naming {
            NamingTable::Manifests => {
                ("repository_manifests", "digest", "manifests n WHERE n.digest = t.digest")
            }
            NamingTable::Tags => (
                "tags",
                "name",
                "repository_manifests n
                 WHERE n.repository_id = t.repository_id AND n.digest = t.digest",
            ),
            NamingTable::Links => {
                ("repository_blobs", "digest", "blobs n WHERE n.digest = t.digest")
            }
        };
        let mut statement = self.prepare_cached(&format!(
            "SELECT t.repository_id, t.{key}, t.digest,
                    (SELECT name FROM repositories r WHERE r.id = t.repository_id),
                    EXISTS (SELECT 1 FROM {named})
             FROM {table} t WHERE (t.repository_id, t.{key}) > (?1, ?2)
             ORDER BY t.repository_id, t.{key} LIMIT ?3"
        ))?;
        let mut rows = statement.query(params![after.0, after.1, STEP_ROWS])?;
        let (mut found, mut last, mut count) = (Vec::new(), None, 0);
        while let Some(row) = rows.next()? {
            let place: RowKey = (row.get(0)?, row.get(1)?);
            if !row.get::<_, bool>(4)? {
                let repository = row.get::<_, Option<String>>(3)?.unwrap_or_default();
                found.push(Dangling { place: place.clone(), repository, digest: row.get(2)? });
            }
            last = Some(place);
            count += 1;
        }
        Ok(Page { entries: found, next: last.filter(|_| count == STEP_ROWS) })
    }
}

impl Transaction<'_> {
    /// Gives a manifest without bytes a row, so that it can be lost: its next push brings them.
    pub(crate) fn stand_in(&self, digest: &Digest) -> Result<LossOutcome, StorageError> {
        self.prepare_cached(
            "INSERT INTO manifests (digest, bytes) VALUES (?1, x'') ON CONFLICT DO NOTHING",
        )?
        .execute(params![Text(&digest)])?;
        self.lose_manifest(digest, b"")
    }

    /// Records the size of a blob; false if that is what is recorded.
    pub(crate) fn mend_size(&self, digest: &Digest, size: u64) -> Result<bool, StorageError> {
        let mut statement =
            self.prepare_cached("UPDATE blobs SET size = ?2 WHERE digest = ?1 AND size IS NOT ?2")?;
        Ok(statement.execute(params![Text(&digest), size])? > 0)
    }

    /// Takes a link away that names no blob; false if by now it does.
    pub(crate) fn remove_link(&self, place: &RowKey) -> Result<bool, StorageError> {
        let mut statement = self.prepare_cached(
            "DELETE FROM repository_blobs WHERE repository_id = ?1 AND digest = ?2
             AND NOT EXISTS (SELECT 1 FROM blobs WHERE digest = ?2)",
        )?;
        Ok(statement.execute(params![place.0, place.1])? > 0)
    }
}
