//! What tags name, and what lies below manifests: what an index lists, and what refers to one.

use oci::Digest;
use rusqlite::params;

use super::column::{Text, parsed};
use super::key::{HeldDigest, RepoId, STEP_ROWS, held};
use super::transaction::Reader;
use crate::error::StorageError;

impl Reader<'_> {
    /// A page of what tags name, each with its tag, after a repository and a tag.
    pub(crate) fn tagged(
        &self,
        after: &(RepoId, String),
    ) -> Result<Vec<(HeldDigest, String)>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT repository_id, digest, name FROM tags
             WHERE (repository_id, name) > (?1, ?2) ORDER BY repository_id, name LIMIT ?3",
        )?;
        let rows = statement
            .query_map(params![after.0, after.1, STEP_ROWS], |row| Ok((held(row)?, row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// What lies directly below a manifest: what it lists, or what refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Below {
    of: HeldDigest,
    way: Way,
    /// In the order of their digests.
    after: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Children,
    Referrers,
}

impl Below {
    /// Both of them, from the beginning.
    pub(crate) fn all_of(of: &HeldDigest) -> [Self; 2] {
        [Way::Children, Way::Referrers].map(|way| Self {
            of: of.clone(),
            way,
            after: String::new(),
        })
    }
}

impl Reader<'_> {
    /// Takes from the end of `rest` what lies below manifests, as far as one read reaches: those
    /// that their repository holds, and the manifests of which all children are found.
    pub(crate) fn walk_below(
        &self,
        rest: &mut Vec<Below>,
    ) -> Result<(Vec<HeldDigest>, Vec<HeldDigest>), StorageError> {
        let mut children = self.prepare_cached(
            "SELECT child, EXISTS (SELECT 1 FROM repository_manifests m
                                   WHERE m.repository_id = e.repository_id AND m.digest = e.child)
             FROM edges e WHERE repository_id = ?1 AND parent = ?2 AND kind = 'child' AND child > ?3
             ORDER BY child LIMIT ?4",
        )?;
        let mut referrers = self.prepare_cached(
            "SELECT digest, 1 FROM repository_manifests INDEXED BY referrers
             WHERE repository_id = ?1 AND subject = ?2 AND digest > ?3 ORDER BY digest LIMIT ?4",
        )?;
        let (mut found, mut walked, mut left) = (Vec::new(), Vec::new(), STEP_ROWS);
        while left > 0
            && let Some(mut below) = rest.pop()
        {
            let statement = match below.way {
                Way::Children => &mut children,
                Way::Referrers => &mut referrers,
            };
            let HeldDigest { repository, digest } = &below.of;
            let mut rows =
                statement.query(params![repository, Text(&digest), below.after, left])?;
            let (mut last, mut count) = (None, 0);
            while let Some(row) = rows.next()? {
                let digest: Digest = parsed(row, 0)?;
                if row.get(1)? {
                    found.push(HeldDigest { repository: *repository, digest });
                }
                count += 1;
                last = Some(digest);
            }
            drop(rows);
            match last.filter(|_| count == left) {
                Some(last) => {
                    below.after = last.to_string();
                    rest.push(below);
                }
                None if below.way == Way::Children => walked.push(below.of),
                None => {}
            }
            // Looking for nothing is work, too.
            left = left.saturating_sub(count + 1);
        }
        Ok((found, walked))
    }
}
