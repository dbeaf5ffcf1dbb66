//! Which blobs and manifests a client was lately told to be there, so that it will name them in a
//! manifest without pushing them. Collection leaves those for the grace time.
//!
//! It is kept in memory: an answer must not wait for the disk. When the store is closed it is
//! written down (`promises.rs`), for the process that comes next. One that comes after a crash does
//! not know what was answered before it, and removes no blobs until it is older than the grace
//! time.
//!
//! What is told and what is taken must not cross. A reader first enters the blob here and then
//! looks whether it is there; collection first condemns it here and then takes it. So either the
//! reader finds it condemned and waits for the end of that one step, or collection finds it entered
//! and leaves it, or it was gone before the reader looked.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use oci::{Algorithm, Digest};

use super::promises::Promises;
use crate::clock::{Clock, ticks};

/// What clients were told.
pub(crate) struct ToldDigests {
    clock: Arc<Clock>,
    state: Mutex<State>,
    released: Condvar,
}

struct State {
    /// The first tick from which on everything is known that was told.
    since: i64,
    /// At which tick a blob was told to be in a repository. Two that share a key are kept a little
    /// longer, which harms nobody.
    told: HashMap<u64, i64>,
    condemned: HashSet<u64>,
    /// A run with a shorter grace than usual must not forget what the next one needs.
    longest_grace: Duration,
    is_closed: bool,
}

impl ToldDigests {
    /// Goes on with what an earlier process knew, or begins to remember.
    pub(crate) fn new(clock: Arc<Clock>, before: Option<Promises>) -> Self {
        // Of the tick that has begun, a part belongs to whoever was there before.
        let nothing = || Promises { since: clock.now().saturating_add(1), told: Vec::new() };
        let Promises { since, told } = before.unwrap_or_else(nothing);
        let state = State {
            since,
            told: told.into_iter().collect(),
            condemned: HashSet::new(),
            longest_grace: REMEMBERED,
            is_closed: false,
        };
        Self { clock, state: Mutex::new(state), released: Condvar::new() }
    }

    /// How much it remembers.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().told.len()
    }

    /// For how long it knows all that was told.
    pub(crate) fn age(&self) -> Duration {
        self.clock.since(self.lock().since)
    }

    /// Ends it, and returns what it knows: from here on, nobody may be told anything.
    pub(crate) fn close(&self) -> Promises {
        let mut state = self.lock();
        state.is_closed = true;
        let told = state.told.iter().map(|(&key, &tick)| (key, tick)).collect();
        Promises { since: state.since, told }
    }

    /// Enters a blob of a repository before it is looked for; false if nobody may be told any
    /// more. Waits while a step of collection decides over it.
    pub(crate) fn tell(&self, repository: &str, digest: &Digest) -> bool {
        let (key, now) = (key(repository, digest), self.clock.now());
        let state = self.released.wait_while(self.lock(), |state| state.condemned.contains(&key));
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if !state.is_closed {
            state.told.insert(key, now);
        }
        !state.is_closed
    }

    /// Enters a blob as [`ToldDigests::tell`] does, if that waits for nobody: neither for a step of
    /// collection nor for whoever looks at all that was told. False if it would.
    pub(crate) fn tell_at_once(&self, repository: &str, digest: &Digest) -> bool {
        let (key, now) = (key(repository, digest), self.clock.now());
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let may_be_told = !state.is_closed && !state.condemned.contains(&key);
        if may_be_told {
            state.told.insert(key, now);
        }
        may_be_told
    }

    /// Takes back what was entered for a blob that turned out to be absent, or is removed: no more
    /// is remembered than the store holds.
    pub(crate) fn take_back(&self, repository: &str, digest: &Digest) {
        let key = key(repository, digest);
        self.lock().told.remove(&key);
    }

    /// Condemns a blob of a repository, unless somebody was told of it within `grace`.
    pub(crate) fn condemn(&self, repository: &str, digest: &Digest, grace: Duration) -> bool {
        let (key, now) = (key(repository, digest), self.clock.now());
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
            let key = key(repository, digest);
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
        let now = self.clock.now();
        let mut state = self.lock();
        let longest = state.longest_grace.max(grace);
        state.longest_grace = longest;
        state.told.retain(|_, at| is_within(*at, now, longest));
        // Of what was told before that it does not know all any more.
        state.since = state.since.max(now.saturating_sub(ticks(longest)));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is kept of a blob or a manifest of a repository, the same in every process.
fn key(repository: &str, digest: &Digest) -> u64 {
    // No name of a repository has an at sign.
    let pair = [repository.as_bytes(), b"@", digest.bytes()].concat();
    // Eight of the 32 bytes are as many as memory is kept for.
    let hash = Digest::of(Algorithm::Sha256, &pair);
    hash.bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Whether the tick `at` lies within `grace` of the tick `now`. The begun second counts, but for a
/// grace of zero, which leaves nothing.
fn is_within(at: i64, now: i64, grace: Duration) -> bool {
    !grace.is_zero() && now.saturating_sub(at) <= ticks(grace).saturating_add(1)
}

/// How long it is remembered at least what was told.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    #[test]
    fn what_was_told_is_not_condemned_and_what_is_condemned_is_not_told() {
        let told_digests = ToldDigests::new(Arc::new(Clock::from(1)), None);
        let [told, other] = ["told", "other"].map(|t| Digest::of(Algorithm::Sha256, t.as_bytes()));
        told_digests.tell("a", &told);
        assert!(!told_digests.condemn("a", &told, GRACE));
        assert!(told_digests.condemn("a", &other, GRACE));
        told_digests.tell("b", &other);
        std::thread::scope(|scope| {
            let ((tell, told), told_digests) = (mpsc::channel(), &told_digests);
            scope.spawn(move || {
                told_digests.tell("a", &other);
                tell.send(()).unwrap();
            });
            // Long enough for a thread that does not wait.
            let early = told.recv_timeout(Duration::from_millis(200));
            assert!(early.is_err(), "collection decides over it");
            told_digests.release([("a", &other)].into_iter(), false);
            told.recv().unwrap();
        });
        assert!(!told_digests.condemn("a", &other, GRACE));
        told_digests.take_back("a", &other);
        assert!(told_digests.condemn("a", &other, GRACE));
        assert!(told_digests.condemn("a", &told, Duration::ZERO), "nothing is recent");
    }

    #[test]
    fn what_has_to_wait_is_not_told_at_once() {
        let told_digests = ToldDigests::new(Arc::new(Clock::from(1)), None);
        let [told, other] = ["told", "other"].map(|t| Digest::of(Algorithm::Sha256, t.as_bytes()));
        assert!(told_digests.tell_at_once("a", &told));
        assert!(!told_digests.condemn("a", &told, GRACE), "it was told");
        assert!(told_digests.condemn("a", &other, GRACE));
        assert!(!told_digests.tell_at_once("a", &other), "collection decides over it");
        assert!(told_digests.tell_at_once("b", &other));
        told_digests.release([("a", &other)].into_iter(), false);
        assert!(told_digests.tell_at_once("a", &other));
        let looking = told_digests.lock();
        assert!(!told_digests.tell_at_once("a", &told), "somebody looks at all of it");
        drop(looking);
        told_digests.close();
        assert!(!told_digests.tell_at_once("a", &told));
    }

    #[test]
    fn the_begun_second_counts() {
        assert!(is_within(5, 66, GRACE));
        assert!(!is_within(5, 67, GRACE));
        assert!(!is_within(5, 5, Duration::ZERO));
        assert!(is_within(5, i64::MAX, Duration::MAX), "the longest time is no short one");
    }

    #[test]
    fn the_longest_time_there_is_forgets_nothing() {
        let told_digests = ToldDigests::new(Arc::new(Clock::from(1)), None);
        let told = Digest::of(Algorithm::Sha256, b"told");
        told_digests.tell("a", &told);
        assert!(is_within(5, i64::MAX, Duration::MAX));
        told_digests.forget_old(Duration::from_secs(u64::MAX));
        assert!(!told_digests.condemn("a", &told, Duration::from_secs(u64::MAX)));
    }

    #[test]
    fn it_knows_all_of_no_longer_time_than_it_remembers() {
        let clock = Arc::new(Clock::from(1));
        let told_digests = ToldDigests::new(Arc::clone(&clock), None);
        clock.pass(3 * REMEMBERED);
        assert!(told_digests.age() > 2 * REMEMBERED);
        told_digests.forget_old(GRACE);
        // Whoever asks for more time now has to wait for it.
        assert!((REMEMBERED..REMEMBERED + GRACE).contains(&told_digests.age()));
    }

    #[test]
    fn nobody_is_told_anything_after_the_end() {
        let told_digests = ToldDigests::new(Arc::new(Clock::from(1)), None);
        let [told, late] = ["told", "late"].map(|t| Digest::of(Algorithm::Sha256, t.as_bytes()));
        assert!(told_digests.tell("a", &told));
        let known = told_digests.close();
        assert!(!told_digests.tell("a", &late));
        assert_eq!(known.told.len(), 1);
        let next = ToldDigests::new(Arc::new(Clock::from(1)), Some(known));
        assert!(!next.condemn("a", &told, GRACE) && next.condemn("b", &told, GRACE));
    }
}
