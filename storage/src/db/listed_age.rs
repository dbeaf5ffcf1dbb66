//! Which manifests came for an index: clients push the images of a list by their digests, and then
//! the list.
//!
//! How long a manifest had been there when the first index that lists it came is noted when either
//! of the two is pushed, so that collection can tell what came for an index, and goes when that is
//! gone for good, from what somebody pushed by its digest and an index listed later. A program
//! before this one noted nothing: of what it left, the times at which both were pushed last tell
//! it, as long as both are there.

use oci::Digest;
use rusqlite::params;

use super::column::Text;
use super::key::RepoId;
use super::transaction::Transaction;
use crate::error::StorageError;

impl Transaction<'_> {
    /// Notes how old a manifest and those that it lists were when the first index that lists them
    /// came, where that is not noted yet and such an index is there.
    ///
    /// Older rows have no tick of their push. The store's clock began near the wall clock, but
    /// later than some of them: of two differences that both may be too small, the larger one
    /// counts, since what is older stays.
    pub(super) fn note_listed(
        &self,
        repository: RepoId,
        manifest: &Digest,
    ) -> Result<(), StorageError> {
        self.note_some_listed(repository, manifest, usize::MAX).map(drop)
    }

    /// Notes the ages that [`Transaction::note_listed`] does, of `limit` manifests at most; returns
    /// of how many.
    pub(super) fn note_some_listed(
        &self,
        repository: RepoId,
        manifest: &Digest,
        limit: usize,
    ) -> Result<usize, StorageError> {
        let is_due = |digest: &str| {
            format!(
                "EXISTS (SELECT 1 FROM repository_manifests m WHERE m.repository_id = ?1
                           AND m.digest = {digest} AND m.listed_age IS NULL)
                 AND EXISTS (SELECT 1 FROM edges e JOIN repository_manifests i
                               ON i.repository_id = e.repository_id AND i.digest = e.parent
                             WHERE e.repository_id = ?1 AND e.child = {digest}
                             AND e.kind = 'child')"
            )
        };
        let mut statement = self.prepare_cached(&format!(
            "UPDATE repository_manifests AS c SET listed_age =
                 (SELECT min(max(0,
                             coalesce(i.pushed_tick, i.pushed_at)
                             - coalesce(c.pushed_tick, c.pushed_at),
                             iif(c.pushed_tick IS NULL, i.pushed_at - c.pushed_at, 0)))
                  FROM edges e JOIN repository_manifests i
                    ON i.repository_id = e.repository_id AND i.digest = e.parent
                  WHERE e.repository_id = ?1 AND e.child = c.digest AND e.kind = 'child')
             WHERE c.repository_id = ?1
               AND c.digest IN (SELECT ?2 WHERE {}
                                UNION ALL SELECT n.child FROM edges n WHERE n.repository_id = ?1
                                  AND n.parent = ?2 AND n.kind = 'child' AND {} LIMIT ?3)",
            is_due("?2"),
            is_due("n.child")
        ))?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(statement.execute(params![repository, Text(&manifest), limit])?)
    }
}
