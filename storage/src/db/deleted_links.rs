//! Blobs that were deleted while a deleted manifest of their repository named them.
//!
//! To everybody the repository holds them no more: whoever asks reads `repository_blobs` alone. But
//! as long as the manifest can be restored, so can they, and collection leaves their files.

use oci::Digest;
use rusqlite::params;

use super::column::Text;
use super::key::{After, HeldDigest, RepoId, STEP_ROWS, held, row_key};
use super::transaction::{Reader, Transaction};
use crate::error::StorageError;

impl Transaction<'_> {
    /// Keeps a blob that a repository held until now, if a deleted manifest of it names the blob.
    pub(super) fn keep_deleted_link(
        &self,
        repository: RepoId,
        blob: &Digest,
    ) -> Result<(), StorageError> {
        self.prepare_cached(
            "INSERT INTO deleted_links (repository_id, digest)
                 SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM edges
                                             WHERE repository_id = ?1 AND child = ?2
                                               AND kind <> 'subject')
                 ON CONFLICT DO NOTHING",
        )?
        .execute(params![repository, Text(&blob)])?;
        Ok(())
    }

    /// Lets a repository hold a blob again that was kept for it.
    pub(super) fn bring_link_back(
        &self,
        repository: RepoId,
        blob: &Digest,
    ) -> Result<(), StorageError> {
        self.link_statement(
            repository,
            "INSERT INTO repository_blobs (repository_id, digest, linked_at)
                 SELECT repository_id, digest, tick() FROM deleted_links
                 WHERE repository_id = ?1 AND digest = ?2 ON CONFLICT DO NOTHING",
        )?
        .execute(params![repository, Text(&blob)])?;
        self.prepare_cached("DELETE FROM deleted_links WHERE repository_id = ?1 AND digest = ?2")?
            .execute(params![repository, Text(&blob)])?;
        Ok(())
    }
}

impl Reader<'_> {
    /// A page of all that are kept.
    pub(crate) fn deleted_links(&self, after: &After) -> Result<Vec<HeldDigest>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT repository_id, digest FROM deleted_links
             WHERE (repository_id, digest) > (?1, ?2) ORDER BY repository_id, digest LIMIT ?3",
        )?;
        let (repository, digest) = row_key(after);
        let rows = statement.query_map(params![repository, Text(&digest), STEP_ROWS], held)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Transaction<'_> {
    /// Keeps these no longer, where no manifest names them any more.
    pub(crate) fn release_deleted_links(&self, links: &[HeldDigest]) -> Result<(), StorageError> {
        let mut statement = self.prepare_cached(
            "DELETE FROM deleted_links WHERE repository_id = ?1 AND digest = ?2
             AND NOT EXISTS (SELECT 1 FROM edges WHERE repository_id = ?1 AND child = ?2)",
        )?;
        for HeldDigest { repository, digest } in links {
            statement.execute(params![repository, Text(&digest)])?;
        }
        Ok(())
    }
}
