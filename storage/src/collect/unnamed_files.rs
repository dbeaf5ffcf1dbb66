//! How long collection has known a file that no row names: one that a crash left, one that was put
//! aside, half of an upload session. It is noted when a run first meets it, and goes when a later
//! run finds it noted for long enough.

use std::time::Duration;

use oci::Digest;

use crate::content::upload::UploadId;
use crate::db::key::STEP_ROWS;
use crate::error::StorageError;
use crate::store::Store;

impl Store {
    /// Which of these files have been known for this time. Those that nobody met before are noted,
    /// unless it is a dry run; no time at all is what every file was known for.
    pub(crate) fn known_for(
        &self,
        names: &[String],
        time: Duration,
        is_dry_run: bool,
    ) -> Result<Vec<bool>, StorageError> {
        if time.is_zero() {
            return Ok(vec![true; names.len()]);
        }
        let until = self.database.clock().ago(time);
        let mut known = Vec::new();
        for step in names.chunks(STEP_ROWS) {
            let since = self.database.read(|reader| reader.files_seen_since(step))?;
            let new = step.iter().zip(&since).filter(|(_, since)| since.is_none());
            let new: Vec<String> = new.map(|(name, _)| name.clone()).collect();
            if !new.is_empty() && !is_dry_run {
                self.database.step_to_free(move |transaction| transaction.note_seen_files(&new))?;
            }
            known.extend(since.iter().map(|since| since.is_some_and(|tick| tick <= until)));
        }
        Ok(known)
    }

    /// Forgets the files that are gone, or that a row names by now.
    pub(super) fn forget_named_files(&self) -> Result<(), StorageError> {
        let mut after = String::new();
        loop {
            let page = self.database.read(|reader| reader.seen_files(&after))?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(last);
            let mut gone = Vec::new();
            for name in page {
                if !self.is_unnamed(&name)? {
                    gone.push(name);
                }
            }
            if !gone.is_empty() {
                self.database
                    .step_to_free(move |transaction| transaction.forget_seen_files(&gone))?;
            }
        }
    }

    /// Whether a file is there and no row names it.
    fn is_unnamed(&self, name: &str) -> Result<bool, StorageError> {
        if let Some(name) = name.strip_prefix(DAMAGED) {
            return Ok(self.content.is_set_aside(name));
        }
        if let Some(id) = name.strip_prefix(UPLOAD) {
            return Ok(id.parse().is_ok_and(|id| self.sessions.is_half(id)));
        }
        let Ok(digest) = name.parse::<Digest>() else { return Ok(false) };
        if !matches!(self.content.bytes_under_name(&digest), Ok(Some(_))) {
            return Ok(false);
        }
        let without_row = self.database.read(|reader| reader.without_rows(&[digest]))?;
        Ok(!without_row.is_empty())
    }
}

/// What a file that was put aside is called here.
pub(super) fn damaged_name(file: &str) -> String {
    format!("{DAMAGED}{file}")
}

/// What half of an upload session is called here.
pub(crate) fn upload_name(id: &UploadId) -> String {
    format!("{UPLOAD}{id}")
}

const DAMAGED: &str = "damaged/";
const UPLOAD: &str = "uploads/";
