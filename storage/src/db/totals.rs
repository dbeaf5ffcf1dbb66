//! Which blobs only certain manifests hold, and how many bytes those are: what a removal frees.
//!
//! One call is one page and one short read; the caller goes on from where it ended.

use std::collections::HashSet;
use std::ops::AddAssign;

use oci::{Digest, RepoName};
use rusqlite::params;

use super::column::{Text, parsed};
use super::key::{EdgeKey, RepoId};
use super::transaction::Reader;
use crate::error::StorageError;

/// Blobs in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobTotal {
    /// How many there are.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl AddAssign for BlobTotal {
    fn add_assign(&mut self, other: Self) {
        self.blobs = self.blobs.saturating_add(other.blobs);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// What the manifests of a repository hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepositoryTotal {
    /// All of it, whoever else holds it.
    pub held: BlobTotal,
    /// What no other repository holds.
    pub held_alone: BlobTotal,
}

impl Reader<'_> {
    /// Adds up a page of the blobs of one manifest that no manifest holds but those in `gone`.
    /// `seen` grows, so that each blob counts once. Returns where the next page begins, if there is
    /// one.
    pub(crate) fn only_held_by(
        &self,
        name: &RepoName,
        manifest: &Digest,
        gone: &HashSet<Digest>,
        seen: &mut HashSet<Digest>,
        after: Option<&EdgeKey>,
    ) -> Result<(BlobTotal, Option<EdgeKey>), StorageError> {
        let Some(id) = self.repository_id(name)? else { return Ok(Default::default()) };
        let nowhere = (String::new(), String::new());
        let after = after.map_or(nowhere, |(kind, child)| (kind.clone(), child.to_string()));
        let mut page = self.prepare_cached(
            "SELECT kind, child FROM edges
             WHERE repository_id = ?1 AND parent = ?2 AND (kind, child) > (?3, ?4)
             ORDER BY kind, child LIMIT ?5",
        )?;
        let mut size = self.prepare_cached(
            "SELECT b.size FROM repository_blobs l JOIN blobs b ON b.digest = l.digest
             WHERE l.repository_id = ?1 AND l.digest = ?2",
        )?;
        let mut holders = self.prepare_cached(
            "SELECT e.repository_id, e.parent FROM repository_blobs l
             JOIN edges e ON e.repository_id = l.repository_id AND e.child = l.digest
             JOIN repository_manifests m ON m.repository_id = e.repository_id
             AND m.digest = e.parent
             WHERE l.digest = ?1",
        )?;
        let (mut space, mut last, mut count) = (BlobTotal::default(), None, 0);
        let mut rows = page.query(params![id, Text(manifest), after.0, after.1, PAGE_ENTRIES])?;
        while let Some(row) = rows.next()? {
            let place: EdgeKey = (row.get(0)?, parsed(row, 1)?);
            let blob = place.1;
            count += 1;
            last = Some(place);
            // What an index lists may be a blob that the repository holds. A subject is none.
            if last.as_ref().is_some_and(|(kind, _)| kind == "subject") || !seen.insert(blob) {
                continue;
            }
            let mut others = holders.query([Text(&blob)])?;
            let mut is_free = true;
            while let Some(row) = others.next()? {
                let (repository, parent): (RepoId, Digest) = (row.get(0)?, parsed(row, 1)?);
                if repository != id || !gone.contains(&parent) {
                    is_free = false;
                    break;
                }
            }
            if is_free {
                for bytes in size.query_map(params![id, Text(&blob)], |row| row.get(0))? {
                    space += BlobTotal { blobs: 1, bytes: bytes? };
                }
            }
        }
        Ok((space, last.filter(|_| count == PAGE_ENTRIES)))
    }

    /// Adds up a page of the blobs that manifests of this repository hold. Returns the last blob of
    /// the page, if another page may follow.
    pub(crate) fn held_in(
        &self,
        name: &RepoName,
        after: Option<&Digest>,
    ) -> Result<(RepositoryTotal, Option<Digest>), StorageError> {
        let Some(id) = self.repository_id(name)? else { return Ok(Default::default()) };
        let after = after.map_or_else(String::new, Digest::to_string);
        let mut page = self.prepare_cached(
            "SELECT l.digest, b.size FROM repository_blobs l JOIN blobs b ON b.digest = l.digest
             WHERE l.repository_id = ?1 AND l.digest > ?2 ORDER BY l.digest LIMIT ?3",
        )?;
        let mut here = self.prepare_cached(
            "SELECT 1 FROM edges e
             JOIN repository_manifests m ON m.repository_id = e.repository_id
             AND m.digest = e.parent
             WHERE e.repository_id = ?1 AND e.child = ?2 LIMIT 1",
        )?;
        let mut elsewhere = self.prepare_cached(
            "SELECT 1 FROM repository_blobs l
             JOIN edges e ON e.repository_id = l.repository_id AND e.child = l.digest
             JOIN repository_manifests m ON m.repository_id = e.repository_id
             AND m.digest = e.parent
             WHERE l.digest = ?1 AND l.repository_id <> ?2 LIMIT 1",
        )?;
        let (mut space, mut last, mut count) = (RepositoryTotal::default(), None, 0);
        let mut rows = page.query(params![id, after, PAGE_ENTRIES])?;
        while let Some(row) = rows.next()? {
            let (blob, bytes): (Digest, u64) = (parsed(row, 0)?, row.get(1)?);
            count += 1;
            last = Some(blob);
            if here.exists(params![id, Text(&blob)])? {
                let one = BlobTotal { blobs: 1, bytes };
                space.held += one;
                if !elsewhere.exists(params![Text(&blob), id])? {
                    space.held_alone += one;
                }
            }
        }
        Ok((space, last.filter(|_| count == PAGE_ENTRIES)))
    }
}

/// Rows of one page.
const PAGE_ENTRIES: usize = 1000;
