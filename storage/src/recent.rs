//! Which blobs and manifests a client was lately told to be there, so that it will name them in a
//! manifest without pushing them. Collection leaves those for the grace time.
//!
//! It is kept in memory alone: an answer must not wait for the disk. A process that is younger than
//! the grace time does not know what was answered before it, and removes no blobs.
//!
//! What is told and what is taken must not cross. A reader first enters the blob here and then
//! looks whether it is there; collection first condemns it here and then takes it. So either the
//! reader finds it condemned and waits for the end of that one step, or collection finds it entered
//! and leaves it, or it was gone before the reader looked.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::digest::Digest;

/// What clients were told.
pub(crate) struct Recent {
    since: Instant,
    keys: RandomState,
    state: Mutex<State>,
    released: Condvar,
}

struct State {
    /// Seconds after `since` at which a blob was told to be in a repository. Two that share a key
    /// are kept a little longer, which harms nobody.
    told: HashMap<u64, u32>,
    condemned: HashSet<u64>,
    /// A run with a shorter grace than usual must not forget what the next one needs.
    longest_grace: Duration,
}

impl Recent {
    /// Begins to remember.
    pub(crate) fn new() -> Self {
        let (told, condemned, longest_grace) = (HashMap::new(), HashSet::new(), REMEMBERED);
        let state = Mutex::new(State { told, condemned, longest_grace });
        let released = Condvar::new();
        Self { since: Instant::now(), keys: RandomState::new(), state, released }
    }

    /// One that began some time ago.
    #[cfg(test)]
    pub(crate) fn begun(ago: Duration) -> Self {
        Self { since: Instant::now().checked_sub(ago).unwrap(), ..Self::new() }
    }

    /// How much it remembers.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().told.len()
    }

    /// How long it has remembered.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Enters a blob of a repository before it is looked for. Waits while a step of collection
    /// decides over it.
    pub(crate) fn tell(&self, repository: &str, digest: &Digest) {
        let (key, now) = (self.key(repository, digest), self.seconds());
        let state = self.released.wait_while(self.lock(), |state| state.condemned.contains(&key));
        state.unwrap_or_else(PoisonError::into_inner).told.insert(key, now);
    }

    /// Takes back what was entered for a blob that turned out to be absent, or is removed: no more
    /// is remembered than the store holds.
    pub(crate) fn take_back(&self, repository: &str, digest: &Digest) {
        let key = self.key(repository, digest);
        self.lock().told.remove(&key);
    }

    /// Condemns a blob of a repository, unless somebody was told of it within `grace`.
    pub(crate) fn condemn(&self, repository: &str, digest: &Digest, grace: Duration) -> bool {
        let (key, now) = (self.key(repository, digest), self.seconds());
        let mut state = self.lock();
        let is_recent = state.told.get(&key).is_some_and(|&at| is_within(at, now, grace));
        !is_recent && state.condemned.insert(key)
    }

    /// Ends the time in which nobody is told of these blobs. If they were taken, it is forgotten
    /// that anybody ever was: whoever links one of them again is seen by the row.
    pub(crate) fn release<'a>(
        &self,
        blobs: impl Iterator<Item = (&'a str, &'a Digest)>,
        are_taken: bool,
    ) {
        let mut state = self.lock();
        for (repository, digest) in blobs {
            let key = self.key(repository, digest);
            state.condemned.remove(&key);
            if are_taken {
                state.told.remove(&key);
            }
        }
        drop(state);
        self.released.notify_all();
    }

    /// Forgets what was told longer ago than any grace time that was asked for yet.
    pub(crate) fn forget_old(&self, grace: Duration) {
        let now = self.seconds();
        let mut state = self.lock();
        let longest = state.longest_grace.max(grace);
        state.longest_grace = longest;
        state.told.retain(|_, at| is_within(*at, now, longest));
    }

    fn key(&self, repository: &str, digest: &Digest) -> u64 {
        self.keys.hash_one((repository, digest))
    }

    fn seconds(&self) -> u32 {
        u32::try_from(self.since.elapsed().as_secs()).unwrap_or(u32::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the second `at` lies within `grace` of the second `now`. The begun second counts, but
/// for a grace of zero, which leaves nothing.
fn is_within(at: u32, now: u32, grace: Duration) -> bool {
    !grace.is_zero() && u64::from(now.saturating_sub(at)) <= grace.as_secs().saturating_add(1)
}

/// How long it is remembered at least what was told.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::digest::Algorithm;

    const GRACE: Duration = Duration::from_secs(60);

    #[test]
    fn what_was_told_is_not_condemned_and_what_is_condemned_is_not_told() {
        let recent = Recent::new();
        let [told, other] = ["told", "other"].map(|t| Digest::of(Algorithm::Sha256, t.as_bytes()));
        recent.tell("a", &told);
        assert!(!recent.condemn("a", &told, GRACE));
        assert!(recent.condemn("a", &other, GRACE));
        recent.tell("b", &other);
        std::thread::scope(|scope| {
            let ((tell, told), recent) = (mpsc::channel(), &recent);
            scope.spawn(move || {
                recent.tell("a", &other);
                tell.send(()).unwrap();
            });
            // Long enough for a thread that does not wait.
            let early = told.recv_timeout(Duration::from_millis(200));
            assert!(early.is_err(), "collection decides over it");
            recent.release([("a", &other)].into_iter(), false);
            told.recv().unwrap();
        });
        assert!(!recent.condemn("a", &other, GRACE));
        recent.take_back("a", &other);
        assert!(recent.condemn("a", &other, GRACE));
        assert!(recent.condemn("a", &told, Duration::ZERO), "nothing is recent");
    }

    #[test]
    fn the_begun_second_counts() {
        assert!(is_within(5, 66, GRACE));
        assert!(!is_within(5, 67, GRACE));
        assert!(!is_within(5, 5, Duration::ZERO));
        assert!(is_within(5, u32::MAX, Duration::MAX), "the longest time is no short one");
    }
}
