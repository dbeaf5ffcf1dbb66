//! The blobs that manifests need: each repository must hold those of its own.

use oci::{Digest, Manifest};

use super::Finding;
use super::walk::VerificationRun;
use crate::content::BlobDamage;
use crate::db::key::STEP_ROWS;
use crate::db::unheld_blobs::{ROWS_EACH, Unheld};
use crate::db::verify::HoldingRepository;
use crate::db::{Reader, Transaction};
use crate::error::StorageError;

impl VerificationRun<'_> {
    /// Lets a repository hold again what a manifest of it needs. What has no row gets one that is
    /// lost, so that the manifest is not answered; if it has a file, that is read later on.
    pub(super) fn check_needed(
        &mut self,
        holder: &HoldingRepository,
        manifest: &Manifest,
    ) -> Result<(), StorageError> {
        let (repository, digest) = (holder.repository, *manifest.digest());
        let needed: Vec<Digest> = manifest.required_blobs().copied().collect();
        for step in needed.chunks(STEP_ROWS / ROWS_EACH) {
            let unheld = |reader: &Reader<'_>| reader.unheld(repository, step);
            let unheld = self.store.database.read_afresh(unheld)?;
            if unheld.is_empty() {
                continue;
            }
            let file = |unheld: &Unheld| self.store.content.file_size(&unheld.digest);
            let files = unheld.iter().map(file).collect::<Result<Vec<_>, _>>()?;
            let again: Vec<(Unheld, u64)> =
                unheld.iter().zip(&files).map(|(blob, file)| (*blob, file.unwrap_or(0))).collect();
            let again = move |transaction: &Transaction<'_>| {
                transaction.hold_again(repository, &digest, &again)
            };
            if !self.how.is_dry_run && !self.store.database.step_to_mend(again)? {
                return Ok(());
            }
            let name = |reader: &Reader<'_>| reader.repository_name(repository);
            let name = self.store.database.read_afresh(name)?;
            for (Unheld { digest, is_known }, file) in unheld.into_iter().zip(files) {
                self.verified.add(match is_known || file.is_some() {
                    true => Finding::Unheld { repository: name.clone(), digest },
                    false => Finding::Blob { digest, damage: BlobDamage::Missing, put_aside: None },
                });
            }
        }
        Ok(())
    }
}
