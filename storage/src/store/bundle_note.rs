//! Remembering bundles: what an export noted of those that it wrote, and an import of those that it
//! took, so that a receipt can name them and an export knows what they held.

use oci::Digest;

use super::Store;
use crate::bundle_note::{BundleVolume, KnownBundle, VolumeNote};
use crate::db::bundle_notes::ROW_DIGESTS;
use crate::error::StorageError;
use crate::import_number::ImportNumber;

impl Store {
    /// Begins to note a volume that an import took, or, without one, that this registry wrote; none
    /// if it is noted. The oldest notes are forgotten for it, if there are too many. Durable on
    /// return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn begin_volume_note(
        &self,
        volume: BundleVolume,
        taken_by: Option<ImportNumber>,
    ) -> Result<Option<VolumeNote>, StorageError> {
        let note = self.database.write(move |it| it.begin_note(&volume, taken_by))?;
        self.forget_oldest_notes()?;
        Ok(note)
    }

    /// Adds digests to a note; false if it was forgotten meanwhile. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn add_to_volume_note(
        &self,
        note: VolumeNote,
        digests: &[Digest],
    ) -> Result<bool, StorageError> {
        for digests in digests.chunks(ROW_DIGESTS) {
            let digests = digests.to_vec();
            if !self.database.write(move |it| it.add_to_note(note, &digests))? {
                return Ok(false);
            }
            self.forget_oldest_notes()?;
        }
        Ok(true)
    }

    /// Ends a note of so many digests: from here on it counts. False if it does not, since some of
    /// it was forgotten meanwhile. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn end_volume_note(&self, note: VolumeNote, digests: u64) -> Result<bool, StorageError> {
        self.database.write(move |it| it.end_note(note, digests))
    }

    /// The bundles all of whose volumes were taken here, or else written here, as far as they are
    /// remembered: the newest first.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn known_bundles(&self, is_taken: bool) -> Result<Vec<KnownBundle>, StorageError> {
        self.database.read(|reader| reader.known_bundles(is_taken))
    }

    /// A page of the digests of a note, counted from 0; none behind the last one, and of a note
    /// that was forgotten.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn noted_digests(
        &self,
        note: VolumeNote,
        page: u32,
    ) -> Result<Option<Vec<Digest>>, StorageError> {
        self.database.read(|reader| reader.noted_digests(note, page))
    }

    /// The size of each of these blobs that some repository holds and that are not lost.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn whole_sizes(&self, digests: &[Digest]) -> Result<Vec<Option<u64>>, StorageError> {
        self.database.read(|reader| reader.whole_sizes(digests))
    }

    fn forget_oldest_notes(&self) -> Result<(), StorageError> {
        while self.database.step_to_free(|it| it.forget_of_oldest_note())? {}
        Ok(())
    }
}
