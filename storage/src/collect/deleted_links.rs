//! Blobs that were deleted while a deleted manifest named them.

use std::ops::ControlFlow;

use super::{CollectionRun, Flow};
use crate::db::Transaction;
use crate::db::key::{After, HeldDigest};

impl CollectionRun<'_> {
    /// Blobs that were deleted and can no longer be brought back with a manifest.
    pub(super) fn deleted_links(&mut self) -> Flow {
        let mut after: After = None;
        loop {
            let (leaving, begin) = (&self.leaving, &after);
            let (last, due) = self.store.database.read(|reader| {
                let page = reader.deleted_links(begin)?;
                let (last, mut due) = (page.last().cloned(), Vec::new());
                for link in page {
                    let is_leaving = |manifest: &HeldDigest| leaving.contains(manifest);
                    if !reader.is_named(&link, &is_leaving)? {
                        due.push(link);
                    }
                }
                Ok((last, due))
            })?;
            if self.is_dry_run {
                due.iter().for_each(|held| *self.unlinked.entry(held.digest).or_default() += 1);
            } else if !due.is_empty() {
                let release =
                    move |transaction: &Transaction<'_>| transaction.release_deleted_links(&due);
                self.store.database.step_to_free(release)?;
            }
            if self.step()?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if last.is_none() {
                return Ok(ControlFlow::Continue(()));
            }
            after = last;
        }
    }
}
