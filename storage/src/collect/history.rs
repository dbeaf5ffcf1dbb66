//! Changes of tags that are old, and those beyond what is kept of one repository. Pushes look after
//! the latter now and then; here nothing is left out.

use std::ops::ControlFlow;

use super::{CollectionRun, Flow};
use crate::db::Transaction;
use crate::db::key::RepoId;

impl CollectionRun<'_> {
    /// Changes of tags until this tick are old.
    fn history_ends(&self) -> i64 {
        self.ago(self.keep.history.max(self.keep.deleted))
    }

    /// Those that are old.
    pub(super) fn tag_changes(&mut self) -> Flow {
        let until = self.history_ends();
        let mut left = self.store.database.read(|reader| reader.count_old_changes(until))?;
        self.done.tag_changes = left;
        while left > 0 && !self.is_dry_run {
            let forget = move |transaction: &Transaction<'_>| transaction.forget_old_changes(until);
            let forgotten = self.store.database.step_to_free(forget)? as u64;
            // Another run may have forgotten the rest.
            left = if forgotten == 0 { 0 } else { left.saturating_sub(forgotten) };
            if self.step()?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Those beyond what is kept of their repository.
    pub(super) fn surplus_changes(&mut self) -> Flow {
        let mut after = RepoId::BEFORE_ALL;
        loop {
            let next = self.store.database.read(|reader| reader.next_repository(after))?;
            let Some(repository) = next else { return Ok(ControlFlow::Continue(())) };
            after = repository;
            let surplus =
                self.store.database.read(|reader| reader.surplus_of_history(repository))?;
            let Some(last) = surplus else { continue };
            if self.is_dry_run {
                // Those that are old are counted already.
                let old = self.history_ends();
                let count = self
                    .store
                    .database
                    .read(|reader| reader.count_forgettable(repository, last, old))?;
                self.done.tag_changes += count;
                continue;
            }
            loop {
                let forget = move |transaction: &Transaction<'_>| {
                    transaction.forget_changes_until(repository, last)
                };
                let forgotten = self.store.database.step_to_free(forget)?;
                self.done.tag_changes += forgotten as u64;
                if self.step()?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                if forgotten == 0 {
                    break;
                }
            }
        }
    }
}
