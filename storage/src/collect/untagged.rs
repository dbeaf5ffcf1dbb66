//! Manifests without a tag that a rule lets go.
//!
//! One that goes may have kept others: those that it lists, and those that refer to it. So all
//! manifests are walked once for each rule, and after each that goes only those below it are looked
//! at again, by all rules. What is walked does not grow with how deep indexes lie in indexes.

use std::ops::ControlFlow;

use super::{CollectionRun, Flow};
use crate::clock::BEGINNING;
use crate::db::collect::{Rule, Untagged};
use crate::db::descendants::Below;
use crate::db::key::{After, HeldDigest, STEP_ROWS};
use crate::db::{Reader, Transaction};
use crate::error::StorageError;

impl CollectionRun<'_> {
    /// Untagged manifests, as long as there are any.
    pub(super) fn untagged_manifests(&mut self) -> Flow {
        // Never what a push brought just now and will name in an index.
        let until = self.ago(self.keep.grace);
        let within = i64::try_from(self.keep.listed_within.as_secs()).unwrap_or(i64::MAX);
        let mut rules = vec![Rule::Unlisted { until, within }];
        if let Some(time) = self.keep.untagged {
            let (until, since) = (self.ago(time.max(self.keep.grace)), self.ago(self.keep.deleted));
            rules.push(Rule::Untagged { until, since });
        }
        for &rule in &rules {
            if self.untagged_by(rule, &rules)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Those that a rule lets go, and what then any rule does.
    fn untagged_by(&mut self, rule: Rule, rules: &[Rule]) -> Flow {
        let mut after: After = None;
        loop {
            let page = self.store.database.read(|reader| reader.untagged(&after, rule))?;
            let last = page.last().map(|found| found.held.clone());
            let due = page.into_iter().filter(|found| found.is_due).collect();
            let mut rest = self.retire(due, rule)?;
            if self.step()?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            // What lies below the last of them is looked at first, so this is never long.
            while !rest.is_empty() {
                let walk = |reader: &Reader<'_>| reader.walk_below(&mut rest);
                let (found, walked) = self.store.database.read(walk)?;
                self.let_go(walked)?;
                for &rule in rules {
                    let due = |reader: &Reader<'_>| reader.due(&found, rule);
                    let due = self.store.database.read(due)?;
                    rest.extend(self.retire(due, rule)?);
                }
                if self.step()?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if last.is_none() {
                return Ok(ControlFlow::Continue(()));
            }
            after = last;
        }
    }

    /// Retires those of these manifests that nothing keeps and nobody was told of lately; returns
    /// what lies below them.
    fn retire(&mut self, due: Vec<Untagged>, rule: Rule) -> Result<Vec<Below>, StorageError> {
        let free = self.without_keeper(due)?;
        let mut below = Vec::new();
        for step in free.chunks(STEP_ROWS / 2) {
            let retired = self.retire_untold(step, rule)?;
            self.done.untagged_manifests += retired.len() as u64;
            below.extend(retired.iter().flat_map(Below::all_of));
        }
        Ok(below)
    }

    /// Those of these manifests that no other keeps.
    fn without_keeper(&mut self, due: Vec<Untagged>) -> Result<Vec<Untagged>, StorageError> {
        let (mut free, mut rest) = (Vec::new(), due.into_iter().peekable());
        while rest.peek().is_some() {
            let (leaving, passed) = (&self.leaving, &mut self.passed);
            let is_leaving = |manifest: &HeldDigest| leaving.contains(manifest);
            self.store.database.read(|reader| {
                let mut left = STEP_ROWS;
                while let Some(Untagged { held, .. }) = rest.peek() {
                    let mut place = passed.get(held).copied();
                    let is_kept = reader.is_kept(held, &mut place, &mut left, &is_leaving)?;
                    if let Some(place) = place {
                        passed.insert(held.clone(), place);
                    }
                    match is_kept {
                        Some(true) => drop(rest.next()),
                        Some(false) => free.extend(rest.next()),
                        None => break,
                    }
                }
                Ok(())
            })?;
        }
        Ok(free)
    }

    /// Retires manifests that nobody was told of lately; returns which.
    fn retire_untold(
        &mut self,
        manifests: &[Untagged],
        rule: Rule,
    ) -> Result<Vec<HeldDigest>, StorageError> {
        let (told, grace) = (&self.store.told, self.keep.grace);
        let is_untold = |found: &&Untagged| told.condemn(&found.name, &found.held.digest, grace);
        let due: Vec<&Untagged> = manifests.iter().filter(is_untold).collect();
        let step: Vec<HeldDigest> = due.iter().map(|found| found.held.clone()).collect();
        let outcome = if self.is_dry_run {
            // One that lies below two others is met twice.
            Ok(step.into_iter().filter(|held| self.leaving.insert(held.clone())).collect())
        } else {
            let retire = move |transaction: &Transaction<'_>| transaction.retire(&step, rule);
            self.store.database.step_to_free(retire)
        };
        let are_taken = outcome.is_ok() && !self.is_dry_run;
        told.release(due.iter().map(|found| (&*found.name, &found.held.digest)), are_taken);
        outcome
    }

    /// Lets retired manifests go, whose children are known.
    fn let_go(&self, mut manifests: Vec<HeldDigest>) -> Result<(), StorageError> {
        while !manifests.is_empty() && !self.is_dry_run {
            // What somebody copies now is deleted from here on, and goes with the next run.
            let Some(_unlinking) = self.store.begin_unlinking() else { return Ok(()) };
            let step = manifests.clone();
            let drop =
                move |transaction: &Transaction<'_>| transaction.drop_expired(&step, BEGINNING);
            manifests.drain(..self.store.database.step_to_free(drop)?);
        }
        Ok(())
    }
}
