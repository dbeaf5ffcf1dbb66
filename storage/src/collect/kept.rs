//! What a run leaves that no tag leads to: how much it is, and why it stays.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::ops::{AddAssign, ControlFlow};

use oci::Digest;
use serde::{Deserialize, Serialize};

use super::reached::Reached;
use super::{CollectionRun, Flow};
use crate::db::Reader;
use crate::db::kept_by::{KeptBy, Listed, Look, NamingCursor};
use crate::db::key::{After, HeldDigest};
use crate::error::StorageError;
use crate::page::Page;

/// What lies in manifests that no tag leads to, by what keeps them: no tag names them, nor an index
/// that leads to them, nor what they refer to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptUntagged {
    /// Pushed by their digest, and never tagged.
    pub never_tagged: Share,
    /// Those that had a tag once.
    pub once_tagged: Share,
    /// Those that an index lists.
    pub listed: Share,
    /// Those that refer to another manifest.
    pub referrers: Share,
    /// Pushed within the grace time; or restoring something within the undo time would need them.
    pub recent: Share,
}

/// Manifests in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// How many.
    pub manifests: u64,
    /// Their own bytes, and those of the blobs that no other manifest holds: each blob once.
    pub bytes: u64,
}

impl AddAssign for Share {
    fn add_assign(&mut self, other: Self) {
        self.manifests += other.manifests;
        self.bytes += other.bytes;
    }
}

impl KeptUntagged {
    /// All of them.
    pub fn all(&self) -> Share {
        let Self { never_tagged, once_tagged, listed, referrers, recent } = *self;
        let mut all = Share::default();
        for share in [never_tagged, once_tagged, listed, referrers, recent] {
            all += share;
        }
        all
    }

    fn of(&mut self, keeper: KeptBy) -> &mut Share {
        match keeper {
            KeptBy::Index => &mut self.listed,
            KeptBy::Subject => &mut self.referrers,
            KeptBy::Time => &mut self.recent,
            KeptBy::FormerTag => &mut self.once_tagged,
            KeptBy::Nothing => &mut self.never_tagged,
        }
    }
}

impl CollectionRun<'_> {
    /// Adds up what stays without a tag.
    ///
    /// Of each blob that it looks at it remembers 8 bytes: two that share them count once, which
    /// among a hundred million is hardly ever so.
    pub(super) fn kept(&mut self) -> Flow {
        let mut reached = Reached::default();
        if self.reach(&mut reached)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let (mut kept, mut seen) = (KeptUntagged::default(), HashSet::new());
        let keys = RandomState::new();
        let mut is_seen = |digest: &Digest| !seen.insert(keys.hash_one(digest));
        let mut after: After = None;
        loop {
            let page = self.store.database.read(|reader| reader.held_manifests(&after))?;
            let last = page.last().map(|(held, _)| held.clone());
            let is_leaving = |held: &HeldDigest| self.leaving.contains(held);
            for (held, size) in page {
                if is_leaving(&held) || reached.has(&held) {
                    continue;
                }
                let mut share = Share { manifests: 1, bytes: 0 };
                if !is_seen(&held.digest) {
                    share.bytes += size;
                }
                share.bytes += self.bytes_of(&held, &reached, &mut is_seen)?;
                *kept.of(self.keeper_of(&held)?) += share;
            }
            if self.step()?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if last.is_none() {
                break;
            }
            after = last;
        }
        self.done.untagged_kept = Some(kept);
        Ok(ControlFlow::Continue(()))
    }

    /// What keeps a manifest that no tag leads to.
    fn keeper_of(&self, manifest: &HeldDigest) -> Result<KeptBy, StorageError> {
        let (mut after, mut can_be_listed) = (None, false);
        loop {
            match self.look(|look| look.listed(manifest, after))? {
                Listed::Now => return Ok(KeptBy::Index),
                Listed::Further(last, can_come_back) => {
                    (after, can_be_listed) = (Some(last), can_be_listed | can_come_back);
                }
                Listed::Never(can_come_back) => {
                    return self.look(|look| look.keeper(manifest, can_be_listed | can_come_back));
                }
            }
        }
    }

    /// The bytes of the blobs of a manifest that only manifests hold to which no tag leads.
    /// `is_seen` gets each blob, so that it counts once.
    fn bytes_of(
        &self,
        manifest: &HeldDigest,
        reached: &Reached,
        is_seen: &mut dyn FnMut(&Digest) -> bool,
    ) -> Result<u64, StorageError> {
        let (mut bytes, mut place) = (0, None);
        loop {
            let page = |reader: &Reader<'_>| reader.blobs_of(manifest, place.as_ref());
            let Page { entries: mut page, next } = self.store.database.read(page)?;
            page.retain(|(blob, _)| !is_seen(blob));
            let (mut rest, mut after) = (page.as_slice(), NamingCursor::default());
            while !rest.is_empty() {
                let needed = self.store.database.read(|reader| {
                    reader.are_needed(rest, &mut after, &|held| reached.has(held))
                })?;
                let (decided, others) = rest.split_at(needed.len());
                let free = decided.iter().zip(&needed).filter(|(_, is_needed)| !**is_needed);
                bytes += free.map(|((_, size), _)| size).sum::<u64>();
                rest = others;
            }
            place = next;
            if place.is_none() {
                return Ok(bytes);
            }
        }
    }

    /// One short read.
    fn look<T>(
        &self,
        work: impl FnOnce(&Look<'_>) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let clock = self.store.database.clock();
        let is_leaving = |held: &HeldDigest| self.leaving.contains(held);
        let (pushed_until, tagged_until) =
            (clock.ago(self.keep.grace), clock.ago(self.keep.deleted));
        self.store.database.read(|reader: &Reader<'_>| {
            work(&Look { reader, is_leaving: &is_leaving, pushed_until, tagged_until })
        })
    }
}
