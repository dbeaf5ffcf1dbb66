//! Pushing again what is there already: who finds that on a reading connection writes nothing.

use oci::{Manifest, MediaType, RepoName, Tag};
use rusqlite::{OptionalExtension, params};

use super::column::Text;
use super::transaction::Reader;
use crate::error::StorageError;

/// What a push of a manifest would change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    Nothing,
    /// Rows, or when it was pushed last.
    Something,
    /// The bytes that readers get, whatever the writing connection remembers of them.
    Bytes,
}

impl Reader<'_> {
    /// Finds out what a push of a manifest under these tags would change.
    ///
    /// The bytes are compared first, whoever holds them: they are stored once for all repositories
    /// and for what can be restored, and this push will be answered from them.
    pub(crate) fn change_by_push(
        &self,
        name: &RepoName,
        manifest: &Manifest,
        tags: &[Tag],
    ) -> Result<Change, StorageError> {
        let digest = manifest.digest();
        let mut statement = self.prepare_cached("SELECT bytes FROM manifests WHERE digest = ?1")?;
        let is_same = statement.query_row([Text(&digest)], |row| {
            Ok(row.get_ref(0)?.as_bytes().unwrap_or_default() == manifest.bytes().as_ref())
        });
        match is_same.optional()? {
            Some(true) => {}
            Some(false) => return Ok(Change::Bytes),
            None => return Ok(Change::Something),
        }
        let Some(id) = self.repository_id(name)? else { return Ok(Change::Something) };
        let mut statement = self.prepare_cached(
            "SELECT media_type, coalesce(pushed_tick > tick() - ?3, 0) AND pushed_tick <= tick()
                    AND NOT EXISTS (SELECT 1 FROM lost_manifests x WHERE x.digest = l.digest),
                    listed_age IS NOT NULL
             FROM repository_manifests l WHERE repository_id = ?1 AND digest = ?2",
        )?;
        let found = statement.query_row(params![id, Text(&digest), RENEWED_TICKS], |row| {
            let kept = row.get_ref(0)?.as_str().unwrap_or_default().parse::<MediaType>();
            let keeps_type = kept.is_ok_and(|kept| manifest.may_be(&kept));
            Ok((row.get::<_, bool>(1)? && keeps_type, row.get::<_, bool>(2)?))
        });
        let Some((is_fresh, was_listed)) = found.optional()? else {
            return Ok(Change::Something);
        };
        // One that came for an index which is gone is now pushed for itself.
        if !is_fresh || was_listed && !self.is_listed(id, digest)? {
            return Ok(Change::Something);
        }
        for name in tags {
            if self.tag_target(id, name)?.as_ref() != Some(digest) {
                return Ok(Change::Something);
            }
        }
        Ok(Change::Nothing)
    }
}

/// Ticks after which a push that changes nothing else renews when something was pushed last, so
/// that ages which are counted from there are true to within as much.
pub(super) const RENEWED_TICKS: i64 = 3600;
