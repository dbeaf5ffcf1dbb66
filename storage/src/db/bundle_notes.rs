//! Notes of bundles that were written here or taken here. A note counts once it is whole: what was
//! cut short, and what is being forgotten, is nobody's.

use std::collections::{BTreeMap, HashMap};

use oci::Digest;
use rusqlite::{OptionalExtension, params};

use super::column::{Text, parsed};
use super::export::IS_WHOLE;
use super::transaction::{Reader, Transaction};
use crate::bundle_note::{BundleVolume, KnownBundle, VolumeNote};
use crate::error::{StorageError, Trouble};
use crate::import_number::ImportNumber;

impl Transaction<'_> {
    /// Begins to note a volume that an import took, or that this registry wrote; none if it is
    /// noted.
    pub(crate) fn begin_note(
        &self,
        volume: &BundleVolume,
        taken_by: Option<ImportNumber>,
    ) -> Result<Option<VolumeNote>, StorageError> {
        let BundleVolume { bundle, checksum, registry, made, volume, volumes } = volume;
        let (is_taken, import) = (taken_by.is_some(), taken_by.map(ImportNumber::row));
        let is_noted = self
            .prepare_cached(
                "SELECT 1 FROM bundle_volumes WHERE bundle = ?1 AND volume = ?2 AND volumes = ?3
                 AND checksum = ?4 AND registry = ?5 AND made_at = ?6
                 AND (import_id IS NOT NULL) = ?7 AND noted_at IS NOT NULL",
            )?
            .exists(params![bundle, volume, volumes, Text(checksum), registry, made, is_taken])?;
        if is_noted {
            self.execute(
                "UPDATE imports SET bundle = ?2, bundle_checksum = ?3 WHERE id = ?1",
                params![import, bundle, Text(checksum)],
            )?;
            return Ok(None);
        }
        self.execute(
            "INSERT INTO bundle_volumes
                 (bundle, checksum, registry, made_at, volume, volumes, import_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![bundle, Text(checksum), registry, made, volume, volumes, import],
        )?;
        Ok(Some(VolumeNote::of_row(self.last_insert_rowid())))
    }

    /// Adds digests to a note, as a row; false if it was forgotten by now.
    pub(crate) fn add_to_note(
        &self,
        note: VolumeNote,
        digests: &[Digest],
    ) -> Result<bool, StorageError> {
        let mut statement = self.prepare_cached(
            "INSERT INTO bundle_digests (volume_id, part, count, digests)
             SELECT id, (SELECT coalesce(max(part) + 1, 0) FROM bundle_digests
                         WHERE volume_id = ?1), ?2, ?3
             FROM bundle_volumes WHERE id = ?1 AND noted_at IS NULL",
        )?;
        Ok(statement.execute(params![note.row(), digests.len(), packed(digests)])? > 0)
    }

    /// Ends a note, which has so many digests; false if it has others by now, and does not count.
    pub(crate) fn end_note(&self, note: VolumeNote, digests: u64) -> Result<bool, StorageError> {
        let is_whole = self.execute(
            "UPDATE bundle_volumes SET noted_at = ?2 WHERE id = ?1 AND noted_at IS NULL
             AND ?3 = (SELECT coalesce(sum(count), 0) FROM bundle_digests WHERE volume_id = ?1)",
            params![note.row(), self.now(), digests],
        )? > 0;
        if is_whole {
            self.execute(
                "UPDATE imports SET bundle = v.bundle, bundle_checksum = v.checksum
                 FROM bundle_volumes v WHERE v.id = ?1 AND imports.id = v.import_id",
                [note.row()],
            )?;
        }
        Ok(is_whole)
    }

    /// Forgets something of the oldest volume, if more is remembered than is to be; false if not.
    pub(crate) fn forget_of_oldest_note(&self) -> Result<bool, StorageError> {
        let count = |table: &str| -> Result<u64, StorageError> {
            Ok(self.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?)
        };
        let volumes = count("bundle_volumes")?;
        if volumes <= REMEMBERED_VOLUMES && count("bundle_digests")? <= REMEMBERED_ROWS {
            return Ok(false);
        }
        let oldest = "SELECT min(id) FROM bundle_volumes";
        let oldest: i64 = self.query_row(oldest, [], |row| row.get(0))?;
        self.execute("UPDATE bundle_volumes SET noted_at = NULL WHERE id = ?1", [oldest])?;
        let forgotten = self.execute(
            "DELETE FROM bundle_digests WHERE volume_id = ?1 AND part IN
             (SELECT part FROM bundle_digests WHERE volume_id = ?1 ORDER BY part DESC LIMIT ?2)",
            params![oldest, FORGOTTEN_ROWS],
        )?;
        if forgotten < FORGOTTEN_ROWS {
            self.execute("DELETE FROM bundle_volumes WHERE id = ?1", [oldest])?;
        }
        Ok(true)
    }
}

impl Reader<'_> {
    /// The bundles all of whose volumes were taken here, or written here: the newest first.
    pub(crate) fn known_bundles(&self, is_taken: bool) -> Result<Vec<KnownBundle>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT bundle, checksum, registry, volumes, made_at, volume, id,
                    (SELECT coalesce(sum(count), 0) FROM bundle_digests WHERE volume_id = v.id)
             FROM bundle_volumes v
             WHERE noted_at IS NOT NULL AND (import_id IS NOT NULL) = ?1 ORDER BY id DESC",
        )?;
        let mut rows = statement.query([is_taken])?;
        let (mut order, mut found) = (Vec::new(), HashMap::<BundleKey, Volumes>::new());
        while let Some(row) = rows.next()? {
            let (bundle, registry): (String, String) = (row.get(0)?, row.get(2)?);
            let (checksum, volumes): (Digest, u32) = (parsed(row, 1)?, row.get(3)?);
            let (made, volume): (i64, u32) = (row.get(4)?, row.get(5)?);
            let note = (VolumeNote::of_row(row.get(6)?), row.get(7)?);
            let key = (bundle, checksum, registry, volumes, made);
            let found = found.entry(key.clone()).or_default();
            if found.is_empty() {
                order.push(key);
            }
            found.insert(volume, note);
        }
        let known = |key: BundleKey| {
            let notes = found.remove(&key)?;
            let (bundle, checksum, registry, volumes, made) = key;
            let digests = notes.values().fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
            let is_whole = notes.len() == volumes as usize;
            let volumes = notes.into_values().map(|(note, _)| note).collect();
            let known = KnownBundle { bundle, checksum, registry, made, volumes, digests };
            is_whole.then_some(known)
        };
        Ok(order.into_iter().filter_map(known).collect())
    }

    /// The digests that stand in one row of a note, counted from 0; none behind the last one, and
    /// of a note that does not count.
    pub(crate) fn noted_digests(
        &self,
        note: VolumeNote,
        part: u32,
    ) -> Result<Option<Vec<Digest>>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT d.digests FROM bundle_volumes v JOIN bundle_digests d ON d.volume_id = v.id
             WHERE v.id = ?1 AND v.noted_at IS NOT NULL AND d.part = ?2",
        )?;
        let row = params![note.row(), part];
        let bytes: Option<Vec<u8>> = statement.query_row(row, |row| row.get(0)).optional()?;
        let damaged = || Trouble::DatabaseDamaged("a note of a bundle makes no sense".to_owned());
        let read = |bytes: Vec<u8>| unpacked(&bytes).ok_or_else(|| damaged().into());
        bytes.map(read).transpose()
    }

    /// How many bytes each of these blobs has, of those that are whole.
    pub(crate) fn whole_sizes(&self, digests: &[Digest]) -> Result<Vec<Option<u64>>, StorageError> {
        let query = format!("SELECT size FROM blobs b WHERE digest = ?1 AND {IS_WHOLE}");
        let mut statement = self.prepare_cached(&query)?;
        let mut size = |digest: &Digest| {
            Ok(statement.query_row([Text(digest)], |row| row.get(0)).optional()?)
        };
        digests.iter().map(&mut size).collect()
    }
}

/// What is said of a bundle by all of its volumes: its number, its sum, who wrote it, how many
/// volumes it has, and when.
type BundleKey = (String, Digest, String, u32, i64);

/// The notes of a bundle's volumes, by their numbers, each with how many digests it has.
type Volumes = BTreeMap<u32, (VolumeNote, u64)>;

/// Digests as a row has them.
fn packed(digests: &[Digest]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for digest in digests {
        // 32 or 64.
        bytes.push(digest.bytes().len() as u8);
        bytes.extend_from_slice(digest.bytes());
    }
    bytes
}

fn unpacked(mut bytes: &[u8]) -> Option<Vec<Digest>> {
    let mut digests = Vec::new();
    while let Some((count, rest)) = bytes.split_first() {
        let (digest, rest) = rest.split_at_checked(usize::from(*count))?;
        digests.push(Digest::from_bytes(digest)?);
        bytes = rest;
    }
    Some(digests)
}

/// The most digests that a row has.
pub(crate) const ROW_DIGESTS: usize = 256;
/// Volumes that are remembered: what is older only makes the next export larger.
const REMEMBERED_VOLUMES: u64 = 1024;
/// Rows with their digests that are remembered: of four million digests, some 140 MB.
const REMEMBERED_ROWS: u64 = 16_384;
/// Rows that one step forgets.
const FORGOTTEN_ROWS: usize = 64;

#[cfg(test)]
mod tests;
