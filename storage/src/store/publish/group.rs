//! Uploads that become blobs at the same time: once the content of each is synced and has its name,
//! their directories are synced at once, and one transaction has all their rows.
//!
//! A file system puts syncs that come together into one commit of its journal. Each that comes
//! alone takes a commit, or a flush of the disk at least, so whoever comes while a group is under
//! way waits for the next one.
//!
//! Nobody waits for company that is only hoped for. An upload whose content is being synced is on
//! its way, so a group lets those come that began before its first member was done. Each gets twice
//! the time that this one's own content took, since who came amid a commit waits for its end and
//! for the next. One that pushes alone waits for nobody, and neither does anybody for the long sync
//! of a large blob.
//!
//! What a failure means is decided where its upload is published. Here nothing is known of files,
//! and whoever drops out of a group keeps none of the others.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::db::{Database, PreparedWrite};

/// The uploads of a store that are on their way.
#[derive(Default)]
pub(crate) struct Groups {
    state: Mutex<State>,
    /// A group began, or is over.
    turn: Condvar,
    /// The sync of some content ended.
    synced: Condvar,
}

#[derive(Default)]
struct State {
    /// When the syncs of content began that have not ended, each by its number: but for those of
    /// large blobs.
    syncing: HashMap<u64, Instant>,
    /// The last of these numbers.
    number: u64,
    /// How many have joined the next group.
    joined: usize,
    /// How many groups have begun.
    begun: u64,
    /// Whether somebody lets others come to the next group, or a group is under way.
    is_busy: bool,
    /// Of the group under way, how many have not come to their rows.
    unsynced: usize,
    /// The rows of the others.
    writes: Vec<PreparedWrite>,
}

impl Groups {
    /// Tells that an upload is about to sync its content of so many bytes.
    pub(super) fn begin(&self, bytes: u64) -> ContentSync<'_> {
        let began = Instant::now();
        let mut state = self.lock();
        state.number += 1;
        let number = state.number;
        if bytes <= AWAITED_BYTES {
            state.syncing.insert(number, began);
        }
        ContentSync { groups: self, number, began }
    }

    /// Lets those come who began to sync their content before `done`, each for as long as `wait`.
    fn gather<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        done: Instant,
        wait: Duration,
    ) -> MutexGuard<'a, State> {
        loop {
            let expected = state.syncing.values().filter(|began| **began < done);
            let until = expected.map(|began| *began + wait).max();
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            match left {
                Some(left) if !left.is_zero() => {
                    let waited = self.synced.wait_timeout(state, left);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                _ => return state,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An upload that syncs its content. Dropped, it does not join a group.
pub(super) struct ContentSync<'a> {
    groups: &'a Groups,
    number: u64,
    began: Instant,
}

impl<'a> ContentSync<'a> {
    /// Joins the next group, now that the content is synced and has its name, and waits until it
    /// begins.
    pub(super) fn join(self, database: &'a Database) -> Member<'a> {
        let (groups, done) = (self.groups, Instant::now());
        let mut state = groups.lock();
        state.syncing.remove(&self.number);
        groups.synced.notify_all();
        state.joined += 1;
        let group = state.begun + 1;
        while state.begun < group {
            if state.is_busy {
                state = groups.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.is_busy = true;
            let wait = 2 * done.duration_since(self.began);
            state = groups.gather(state, done, wait.min(LONGEST_WAIT));
            state.begun += 1;
            state.unsynced = std::mem::take(&mut state.joined);
            groups.turn.notify_all();
        }
        drop(state);
        Member { groups, database, write: None }
    }
}

impl Drop for ContentSync<'_> {
    fn drop(&mut self) {
        if self.groups.lock().syncing.remove(&self.number).is_some() {
            self.groups.synced.notify_all();
        }
    }
}

/// A member of a group that is under way. Dropped, it leaves the group without a row.
pub(super) struct Member<'a> {
    groups: &'a Groups,
    database: &'a Database,
    write: Option<PreparedWrite>,
}

impl Member<'_> {
    /// Gives the member's row to the group: all are written when no member has a directory to sync
    /// any more.
    pub(super) fn write(mut self, write: PreparedWrite) {
        self.write = Some(write);
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        let mut state = self.groups.lock();
        state.writes.extend(self.write.take());
        state.unsynced -= 1;
        if state.unsynced > 0 {
            return;
        }
        // The next group syncs its directories while this one's rows are written.
        let writes = std::mem::take(&mut state.writes);
        state.is_busy = false;
        self.groups.turn.notify_all();
        drop(state);
        self.database.write_together(writes);
    }
}

/// A larger blob takes a while, and nobody waits for it.
const AWAITED_BYTES: u64 = 1024 * 1024;
/// However long a sync took, nobody waits longer for another.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
