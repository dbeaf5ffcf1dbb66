//! What is lost: blobs without a good file, manifests whose bytes are wrong; and what needs them.
//!
//! A lost thing keeps its row and its links. It is not answered any more, nor is a manifest that
//! cannot be pulled without it, so that the next push brings it back.

use std::collections::HashSet;

use oci::{Digest, RepoName, Tag};
use rusqlite::{OptionalExtension, params};

use super::column::{Text, parsed};
use super::key::{RepoId, RowKey, STEP_ROWS};
use super::transaction::{Reader, Transaction};
use crate::error::StorageError;
use crate::page::Page;

/// How much is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Blobs without a good file.
    pub blobs: u64,
    /// Manifests whose bytes are wrong.
    pub manifests: u64,
}

impl Lost {
    /// Whether nothing is.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// What is lost, the first of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LostDigests {
    /// Blobs without a good file.
    pub blobs: Vec<Digest>,
    /// Manifests whose bytes are wrong.
    pub manifests: Vec<Digest>,
}

/// What became of the wish to call something lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LossOutcome {
    /// It is lost now.
    Lost,
    /// It was lost before.
    WasLost,
    /// It is not there any more, or something else is there by now.
    IsGone,
}

impl Reader<'_> {
    /// Whether anything is lost: one look at two tables that are empty.
    pub(super) fn is_anything_lost(&self) -> Result<bool, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM lost_blobs WHERE digest > '')
                 OR EXISTS (SELECT 1 FROM lost_manifests WHERE digest > '')",
        )?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    /// Something lost that a manifest of a repository cannot be pulled without: itself, a blob that
    /// it must have or that it lists, or the same of a manifest that it lists and the repository
    /// holds.
    pub(crate) fn lost_part_of(
        &self,
        repository: RepoId,
        manifest: &Digest,
    ) -> Result<Option<Digest>, StorageError> {
        let mut statement = self.prepare_cached(&format!(
            "{WITHIN}
             SELECT l.digest FROM within w CROSS JOIN lost_manifests l ON l.digest = w.digest
             UNION ALL
             SELECT l.digest FROM within w
             CROSS JOIN edges e ON e.repository_id = ?1 AND e.parent = w.digest AND {NEEDED_BLOB}
             CROSS JOIN lost_blobs l ON l.digest = e.child
             LIMIT 1"
        ))?;
        Ok(statement
            .query_row(params![repository, Text(&manifest)], |row| parsed(row, 0))
            .optional()?)
    }

    /// Whether a manifest of a repository cannot be pulled without one of these.
    pub(crate) fn needs_any(
        &self,
        repository: RepoId,
        manifest: &Digest,
        these: &HashSet<String>,
    ) -> Result<bool, StorageError> {
        let mut statement = self.prepare_cached(&format!(
            "{WITHIN}
             SELECT digest FROM within
             UNION ALL
             SELECT e.child FROM within w
             CROSS JOIN edges e ON e.repository_id = ?1 AND e.parent = w.digest AND {NEEDED_BLOB}"
        ))?;
        let mut rows = statement.query(params![repository, Text(&manifest)])?;
        while let Some(row) = rows.next()? {
            if these.contains(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How much is lost.
    pub(crate) fn count_lost(&self) -> Result<Lost, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT (SELECT count(*) FROM lost_blobs), (SELECT count(*) FROM lost_manifests)",
        )?;
        let row = |row: &rusqlite::Row<'_>| Ok(Lost { blobs: row.get(0)?, manifests: row.get(1)? });
        Ok(statement.query_row([], row)?)
    }

    /// What is lost by its digests, at most `limit` of each kind, in their order.
    pub(crate) fn lost_digests(&self, limit: usize) -> Result<LostDigests, StorageError> {
        let of = |table: &str| -> Result<Vec<Digest>, StorageError> {
            let mut statement = self.prepare_cached(&format!(
                "SELECT digest FROM {table} WHERE digest > '' ORDER BY digest LIMIT ?1"
            ))?;
            let rows = statement.query_map(params![limit], |row| parsed(row, 0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        Ok(LostDigests { blobs: of("lost_blobs")?, manifests: of("lost_manifests")? })
    }
}

/// An image that cannot be pulled: its tags, or its digest if it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HurtManifest {
    pub(crate) repository: RepoName,
    pub(crate) digest: Digest,
    pub(crate) tags: Vec<Tag>,
    /// Whether another manifest of the repository lists it.
    pub(crate) is_listed: bool,
}

impl Reader<'_> {
    /// The manifests that need what is lost, or one of `also`, among the next [`STEP_ROWS`] after
    /// `after`; and the last of those, none at the end.
    pub(crate) fn hurt_manifests(
        &self,
        also: &HashSet<String>,
        after: &RowKey,
    ) -> Result<Page<HurtManifest, RowKey>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT repository_id, digest FROM repository_manifests
             WHERE (repository_id, digest) > (?1, ?2) ORDER BY repository_id, digest LIMIT ?3",
        )?;
        let rows = statement.query_map(params![after.0, after.1, STEP_ROWS], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        let page: Vec<(RepoId, String)> = rows.collect::<Result<_, _>>()?;
        let mut found = Vec::new();
        for (repository, text) in &page {
            let Ok(digest) = text.parse::<Digest>() else { continue };
            if self.lost_part_of(*repository, &digest)?.is_some()
                || !also.is_empty() && self.needs_any(*repository, &digest, also)?
            {
                found.push(hurt_manifest(self, *repository, digest)?);
            }
        }
        let next = Page::of(page, STEP_ROWS, RowKey::clone).next;
        Ok(Page { entries: found, next })
    }
}

fn hurt_manifest(
    reader: &Reader<'_>,
    repository: RepoId,
    digest: Digest,
) -> Result<HurtManifest, StorageError> {
    let name = reader.repository_name(repository)?;
    let is_listed = reader.is_listed(repository, &digest)?;
    let tags = reader.tags_of(repository, &digest)?;
    Ok(HurtManifest { repository: name, digest, tags, is_listed })
}

impl Transaction<'_> {
    /// Calls a blob lost, if its row is still there.
    pub(crate) fn lose_blob(&self, digest: &Digest) -> Result<LossOutcome, StorageError> {
        let is_there = self
            .prepare_cached("SELECT 1 FROM blobs WHERE digest = ?1")?
            .exists(params![Text(&digest)])?;
        if !is_there {
            return Ok(LossOutcome::IsGone);
        }
        let lost = self
            .change_all(
                "INSERT INTO lost_blobs (digest, lost_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            )?
            .execute(params![Text(&digest), self.now()])?;
        Ok(if lost > 0 { LossOutcome::Lost } else { LossOutcome::WasLost })
    }

    /// Calls a blob lost no more; false if it was not.
    pub(crate) fn regain_blob(&self, digest: &Digest) -> Result<bool, StorageError> {
        let mut statement = self.prepare_cached("DELETE FROM lost_blobs WHERE digest = ?1")?;
        Ok(statement.execute(params![Text(&digest)])? > 0)
    }

    /// Calls a manifest lost, if its bytes are still these.
    pub(crate) fn lose_manifest(
        &self,
        digest: &Digest,
        bytes: &[u8],
    ) -> Result<LossOutcome, StorageError> {
        let is_there = self
            .prepare_cached(
                "SELECT 1 FROM manifests WHERE digest = ?1 AND CAST(bytes AS BLOB) = ?2",
            )?
            .exists(params![Text(&digest), bytes])?;
        if !is_there {
            return Ok(LossOutcome::IsGone);
        }
        let lost = self
            .change_all(
                "INSERT INTO lost_manifests (digest, lost_at) VALUES (?1, ?2)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![Text(&digest), self.now()])?;
        Ok(if lost > 0 { LossOutcome::Lost } else { LossOutcome::WasLost })
    }

    /// Calls a manifest lost no more; false if it was not.
    pub(crate) fn regain_manifest(&self, digest: &Digest) -> Result<bool, StorageError> {
        let mut statement = self.prepare_cached("DELETE FROM lost_manifests WHERE digest = ?1")?;
        Ok(statement.execute(params![Text(&digest)])? > 0)
    }
}

/// The manifest ?2 of the repository ?1, and those that it lists and the repository holds, and so
/// on.
const WITHIN: &str = "
    WITH RECURSIVE within (digest) AS (
        VALUES (?2)
        UNION
        SELECT e.child FROM within w
        CROSS JOIN edges e
          ON e.repository_id = ?1 AND e.parent = w.digest AND e.kind = 'child'
        CROSS JOIN repository_manifests m ON m.repository_id = ?1 AND m.digest = e.child
    )";
/// Whether what the edge `e` of the repository ?1 names must be there as a blob. What an index
/// lists is a blob where the repository holds it as one and as no manifest: so are the parts of a
/// build cache.
const NEEDED_BLOB: &str = "(e.kind IN ('config', 'layer', 'blob') OR e.kind = 'child'
    AND EXISTS (SELECT 1 FROM repository_blobs b
                WHERE b.repository_id = ?1 AND b.digest = e.child)
    AND NOT EXISTS (SELECT 1 FROM repository_manifests c
                    WHERE c.repository_id = ?1 AND c.digest = e.child))";
