//! Blobs that a manifest needs and its repository does not hold: what no verb leaves behind, and a
//! bad disk or somebody else's hand in the database may.

use oci::Digest;
use rusqlite::params;

use super::column::Text;
use super::key::RepoId;
use super::transaction::{Reader, Transaction};
use crate::error::StorageError;

/// A blob that a repository should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unheld {
    /// The blob.
    pub(crate) digest: Digest,
    /// Whether the store knows it. If not, its size is not known either.
    pub(crate) is_known: bool,
}

impl Reader<'_> {
    /// Those of `needed` that a repository does not hold.
    pub(crate) fn unheld(
        &self,
        repository: RepoId,
        needed: &[Digest],
    ) -> Result<Vec<Unheld>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM blobs WHERE digest = ?2),
                    EXISTS (SELECT 1 FROM repository_blobs
                    WHERE repository_id = ?1 AND digest = ?2)",
        )?;
        let mut unheld = Vec::new();
        for &digest in needed {
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let (is_known, is_linked) =
                statement.query_row(params![repository, Text(&digest)], row)?;
            if !(is_known && is_linked) {
                unheld.push(Unheld { digest, is_known });
            }
        }
        Ok(unheld)
    }
}

impl Transaction<'_> {
    /// Lets a repository hold what one of its manifests needs; false if it does not hold the
    /// manifest any more. A blob that the store does not know gets this size and is lost, until its
    /// file was read and is good, or it is pushed.
    pub(crate) fn hold_again(
        &self,
        repository: RepoId,
        manifest: &Digest,
        blobs: &[(Unheld, u64)],
    ) -> Result<bool, StorageError> {
        if !self.holds_manifest(repository, manifest)? {
            return Ok(false);
        }
        let mut stand_in = self.prepare_cached(
            "INSERT INTO blobs (digest, size, created_at) VALUES (?1, ?2, ?3)
             ON CONFLICT DO NOTHING",
        )?;
        let mut link = self.link_statement(
            repository,
            "INSERT INTO repository_blobs (repository_id, digest, linked_at) VALUES (?1, ?2, tick())
             ON CONFLICT DO NOTHING",
        )?;
        for (Unheld { digest, is_known }, size) in blobs {
            if !is_known && stand_in.execute(params![Text(&digest), size, self.now()])? > 0 {
                self.lose_blob(digest)?;
            }
            link.execute(params![repository, Text(&digest)])?;
        }
        Ok(true)
    }
}

/// Rows that one blob may cost.
pub(crate) const ROWS_EACH: usize = 3;
