//! Changes of tags beyond those that are kept of one repository. Pushes look after that now and
//! then; here nothing is left out.

use std::ops::ControlFlow;

use super::{Flow, Run};
use crate::db::forget;

impl Run<'_> {
    pub(super) fn surplus_changes(&mut self) -> Flow {
        let mut after = 0;
        loop {
            let next = self.store.database.read(|c| forget::next_repository(c, after))?;
            let Some(repository) = next else { return Ok(ControlFlow::Continue(())) };
            after = repository;
            let surplus = self.store.database.read(|c| forget::surplus(c, repository))?;
            let Some(last) = surplus else { continue };
            if self.is_dry_run {
                // Those that are old are counted already.
                let old = self.history_ends();
                let count =
                    self.store.database.read(|c| forget::count(c, repository, last, old))?;
                self.done.tag_changes += count;
                continue;
            }
            loop {
                let forget = move |c: &_| forget::forget_until(c, repository, last);
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
