//! What tags lead to: what they name, and downwards what an index lists and what refers to it.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::ops::ControlFlow;

use super::{CollectionRun, Flow};
use crate::db::Reader;
use crate::db::descendants::Below;
use crate::db::key::{HeldDigest, RepoId};

/// Manifests that tags lead to. Of each 8 bytes are kept: two that share them count as one, which
/// among a hundred million is hardly ever so.
#[derive(Default)]
pub(super) struct Reached {
    keys: RandomState,
    seen: HashSet<u64>,
}

impl Reached {
    /// Whether a tag leads to this manifest.
    pub(super) fn has(&self, manifest: &HeldDigest) -> bool {
        self.seen.contains(&self.keys.hash_one(manifest))
    }

    /// False if it was there already.
    fn add(&mut self, manifest: &HeldDigest) -> bool {
        self.seen.insert(self.keys.hash_one(manifest))
    }
}

impl CollectionRun<'_> {
    /// Walks down from all tags. Each manifest is met once for each that lies above it, and what is
    /// below it is walked once.
    pub(super) fn reach(&mut self, reached: &mut Reached) -> Flow {
        let mut after = (RepoId::BEFORE_ALL, String::new());
        loop {
            let page = |reader: &Reader<'_>| reader.tagged(&after);
            let page = self.store.database.read(page)?;
            let last = page.last().map(|(held, tag)| (held.repository, tag.clone()));
            let mut found: Vec<HeldDigest> = page.into_iter().map(|(held, _)| held).collect();
            let mut rest: Vec<Below> = Vec::new();
            loop {
                for manifest in found {
                    if !self.leaving.contains(&manifest) && reached.add(&manifest) {
                        rest.extend(Below::all_of(&manifest));
                    }
                }
                if self.step()?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                if rest.is_empty() {
                    break;
                }
                let walk = |reader: &Reader<'_>| reader.walk_below(&mut rest);
                (found, _) = self.store.database.read(walk)?;
            }
            match last {
                Some(last) => after = last,
                None => return Ok(ControlFlow::Continue(())),
            }
        }
    }
}
