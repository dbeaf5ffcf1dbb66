//! What a run leaves that no tag leads to: how much it is, and why it stays.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::ops::{AddAssign, ControlFlow};

use serde::{Deserialize, Serialize};

use super::{Flow, Run};
use crate::db::Connection;
use crate::db::collect::{After, Held};
use crate::db::kept::{Keeper, Kept, Look};
use crate::digest::Digest;
use crate::error::StorageError;

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

    fn of(&mut self, keeper: Keeper) -> &mut Share {
        match keeper {
            Keeper::Index => &mut self.listed,
            Keeper::Subject => &mut self.referrers,
            Keeper::Time => &mut self.recent,
            Keeper::FormerTag => &mut self.once_tagged,
            Keeper::Nothing => &mut self.never_tagged,
        }
    }
}

impl Run<'_> {
    /// Adds up what stays without a tag.
    ///
    /// Of each blob that it looks at it remembers 8 bytes: two that share them count once, which
    /// among a hundred million is hardly ever so.
    pub(super) fn kept(&mut self) -> Flow {
        let (mut kept, mut seen) = (KeptUntagged::default(), HashSet::new());
        let keys = RandomState::new();
        let mut is_seen = |digest: &Digest| !seen.insert(keys.hash_one(digest));
        let mut after: After = None;
        loop {
            let (page, last) = self.look(|look| look.page(&after))?;
            for Kept { held, keeper, size } in page {
                let mut share = Share { manifests: 1, bytes: 0 };
                if !is_seen(&held.digest) {
                    share.bytes += size;
                }
                let mut place = None;
                loop {
                    let (bytes, next) =
                        self.look(|look| look.blobs(&held, place.as_ref(), &mut is_seen))?;
                    share.bytes += bytes;
                    place = next;
                    if place.is_none() {
                        break;
                    }
                }
                *kept.of(keeper) += share;
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

    /// One short read.
    fn look<T>(
        &self,
        work: impl FnOnce(&Look<'_>) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let clock = self.store.database.clock();
        let is_leaving = |held: &Held| self.leaving.contains(held);
        let (pushed_until, tagged_until) =
            (clock.ago(self.keep.grace), clock.ago(self.keep.deleted));
        self.store.database.read(|connection: &Connection| {
            work(&Look { connection, is_leaving: &is_leaving, pushed_until, tagged_until })
        })
    }
}
