//! What an export, and a receipt for another registry's, read of the database.

use oci::{Algorithm, Digest, RepoName};
use rusqlite::params;

use super::column::{Text, parsed};
use super::transaction::Reader;
use crate::error::StorageError;

impl Reader<'_> {
    /// Manifests of a repository, tagged or not, in the order of their digests, beginning after
    /// `after`; none if there is no such repository.
    pub(crate) fn manifests_in(
        &self,
        name: &RepoName,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<Digest>, StorageError> {
        let Some(id) = self.repository_id(name)? else { return Ok(Vec::new()) };
        let mut statement = self.prepare_cached(
            "SELECT digest FROM repository_manifests WHERE repository_id = ?1 AND digest > ?2
             ORDER BY digest LIMIT ?3",
        )?;
        let after = after.map_or_else(String::new, Digest::to_string);
        let rows = statement.query_map(params![id, after, limit], |row| parsed(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The whole ones of the blobs whose digests begin so, in the order of their digests.
    pub(crate) fn whole_blobs(
        &self,
        algorithm: Algorithm,
        prefix: u8,
    ) -> Result<Vec<Digest>, StorageError> {
        let from = format!("{algorithm}:{prefix:02x}");
        // Greater than every hexadecimal digit.
        let to = format!("{from}g");
        let mut statement = self.prepare_cached(&format!(
            "SELECT digest FROM blobs b WHERE digest > ?1 AND digest < ?2 AND {IS_WHOLE}
             ORDER BY digest"
        ))?;
        let rows = statement.query_map(params![from, to], |row| parsed(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The bytes of a manifest, whoever holds it or did, if they are what its digest names.
    pub(crate) fn kept_manifest(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StorageError> {
        let mut statement = self.prepare_cached("SELECT bytes FROM manifests WHERE digest = ?1")?;
        let mut rows = statement.query([Text(digest)])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let bytes = row.get_ref(0)?.as_bytes().map_err(rusqlite::Error::from)?.to_vec();
        Ok((Digest::of(digest.algorithm(), &bytes) == *digest).then_some(bytes))
    }
}

/// What a receipt may name of the blobs `b`: what a manifest beside it names, and is not lost. What
/// none names goes with the next collection.
pub(super) const IS_WHOLE: &str = "EXISTS (SELECT 1 FROM repository_blobs l JOIN edges e
        ON e.repository_id = l.repository_id AND e.child = l.digest
        WHERE l.digest = b.digest)
    AND NOT EXISTS (SELECT 1 FROM lost_blobs l WHERE l.digest = b.digest)";
