//! Files among the blobs that have no row: what a crash between a file and its row leaves.

use std::ops::ControlFlow;

use oci::Digest;

use super::unnamed_files::damaged_name;
use super::{CollectionRun, Flow};
use crate::db::key::STEP_ROWS;
use crate::error::StorageError;
use crate::layout::Layout;

impl CollectionRun<'_> {
    /// Removes the files that have no row and have been known for the grace time.
    pub(super) fn stray_files(&mut self) -> Flow {
        for (algorithm, prefix) in Layout::shards() {
            let listing = self.store.content.list(algorithm, prefix)?;
            self.done.foreign_files += listing.foreign.len() as u64;
            for step in listing.blobs.chunks(STEP_ROWS) {
                self.stray_step(step)?;
                if self.step()?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Removes what was put aside because it is damaged, after the time in which anything else
    /// that was removed could be had back.
    pub(super) fn damaged_files(&mut self) -> Result<(), StorageError> {
        let files = self.store.content.all_set_aside()?;
        let names: Vec<String> = files.iter().map(|file| damaged_name(&file.name)).collect();
        let may_go = self.store.known_for(&names, self.keep.deleted, self.is_dry_run)?;
        for (file, _) in files.into_iter().zip(may_go).filter(|(_, may_go)| *may_go) {
            // Another run may have been here.
            if !self.is_dry_run && !file.remove()? {
                continue;
            }
            self.done.damaged_files += 1;
            self.done.damaged_bytes += file.bytes;
        }
        Ok(())
    }

    fn stray_step(&mut self, digests: &[Digest]) -> Result<(), StorageError> {
        let without_rows =
            |digests: &[Digest]| self.store.database.read(|reader| reader.without_rows(digests));
        let suspects = without_rows(digests)?;
        if suspects.is_empty() {
            return Ok(());
        }
        let Some(_unlinking) = self.store.begin_unlinking() else { return Ok(()) };
        // A commit puts the file in place before it writes the row, so only with the claim is it
        // certain that no row is on its way.
        let claim = self.store.claims.claim_free(suspects);
        let strays = without_rows(claim.digests())?;
        let names: Vec<String> = strays.iter().map(Digest::to_string).collect();
        let may_go = self.store.known_for(&names, self.keep.grace, self.is_dry_run)?;
        for (digest, _) in strays.iter().zip(may_go).filter(|(_, may_go)| *may_go) {
            let content = &self.store.content;
            let Some(bytes) = content.bytes_under_name(digest)? else { continue };
            // It may have gone by itself.
            if !self.is_dry_run && !content.remove(digest)? {
                continue;
            }
            self.done.stray_files += 1;
            self.done.stray_bytes += bytes;
        }
        Ok(())
    }
}
