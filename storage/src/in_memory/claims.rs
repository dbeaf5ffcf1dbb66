//! Who works on the file of a digest: a commit, which puts it there, or collection and
//! verification, which take it away. One at a time for each digest: a commit whose row cannot be
//! written takes its file back, which must not be the file that another commit relies on.
//!
//! Commits of one digest that wait for each other share one publication: whoever began to wait
//! before a publication began, and still waits when it has succeeded, has nothing left to publish.
//! Its own bytes were right when it came, and bytes that are just as right got their name, were
//! synced and have their row since then.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use oci::Digest;

/// The digests that are being worked on.
#[derive(Default)]
pub(crate) struct Claims {
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    held: HashSet<Digest>,
    /// How many publications have begun, of whatever digest; the last one has this number.
    begun: u64,
    /// Commits that wait for their turn, by their digest.
    waiting: HashMap<Digest, Waiting>,
}

/// The commits that wait for one digest.
#[derive(Default)]
struct Waiting {
    commits: usize,
    /// The number of the last publication that succeeded while one of them waited; 0 for none.
    published: u64,
}

/// What a commit does when its turn has come.
pub(crate) enum Turn<'a> {
    /// It publishes its bytes.
    Publish(Publication<'a>),
    /// It relies on a publication that began and succeeded while it waited.
    Rely,
}

impl Claims {
    /// Claims one digest. Waits while somebody else works on it: a commit, or one short step of
    /// collection or verification.
    pub(crate) fn claim(&self, digest: &Digest) -> Claim<'_> {
        let mut state = self.lock();
        while !state.held.insert(*digest) {
            state = self.wait(state);
        }
        self.claimed(digest)
    }

    /// Claims these digests, each as [`Claims::claim`] does. They are taken in the order in which
    /// everybody takes them who takes more than one, and nobody who has one alone waits for
    /// another: so no two wait for each other.
    pub(crate) fn claim_each(&self, digests: &BTreeSet<Digest>) -> Claim<'_> {
        let mut claim = Claim { claims: self, digests: Vec::with_capacity(digests.len()) };
        let mut state = self.lock();
        for digest in digests {
            while !state.held.insert(*digest) {
                state = self.wait(state);
            }
            claim.digests.push(*digest);
        }
        drop(state);
        claim
    }

    /// Claims those of the digests that nobody works on, and waits for nobody.
    pub(crate) fn claim_free(&self, digests: impl IntoIterator<Item = Digest>) -> Claim<'_> {
        let mut state = self.lock();
        let digests = digests.into_iter().filter(|digest| state.held.insert(*digest)).collect();
        Claim { claims: self, digests }
    }

    /// Claims one digest for a commit whose bytes were found right, unless somebody else publishes
    /// it first, from beginning to end.
    pub(crate) fn claim_to_publish(&self, digest: &Digest) -> Turn<'_> {
        let mut state = self.lock();
        let came = state.begun;
        let mut is_waiting = false;
        let is_covered = loop {
            if state.waiting.get(digest).is_some_and(|waiting| waiting.published > came) {
                break true;
            }
            if state.held.insert(*digest) {
                break false;
            }
            if !is_waiting {
                state.waiting.entry(*digest).or_default().commits += 1;
                is_waiting = true;
            }
            state = self.wait(state);
        };
        if is_waiting && let Some(waiting) = state.waiting.get_mut(digest) {
            waiting.commits -= 1;
            if waiting.commits == 0 {
                state.waiting.remove(digest);
            }
        }
        if is_covered {
            return Turn::Rely;
        }
        state.begun += 1;
        Turn::Publish(Publication { claim: self.claimed(digest), number: state.begun })
    }

    /// How many publications have begun.
    #[cfg(test)]
    pub(crate) fn publications(&self) -> u64 {
        self.lock().begun
    }

    /// How many commits wait for a digest.
    #[cfg(test)]
    pub(crate) fn waiting(&self, digest: &Digest) -> usize {
        self.lock().waiting.get(digest).map_or(0, |waiting| waiting.commits)
    }

    fn claimed(&self, digest: &Digest) -> Claim<'_> {
        Claim { claims: self, digests: vec![*digest] }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.freed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A claim on digests, until it is dropped.
pub(crate) struct Claim<'a> {
    claims: &'a Claims,
    digests: Vec<Digest>,
}

impl Claim<'_> {
    /// The digests that are claimed.
    pub(crate) fn digests(&self) -> &[Digest] {
        &self.digests
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = self.claims.lock();
        for digest in &self.digests {
            state.held.remove(digest);
        }
        self.claims.freed.notify_all();
    }
}

/// A claim on the digest that its holder publishes now.
pub(crate) struct Publication<'a> {
    claim: Claim<'a>,
    number: u64,
}

impl Publication<'_> {
    /// Ends it: file and row are in place and durable. Whoever has waited since before it began
    /// relies on it.
    pub(crate) fn succeeded(self) {
        let mut state = self.claim.claims.lock();
        for digest in &self.claim.digests {
            if let Some(waiting) = state.waiting.get_mut(digest) {
                waiting.published = self.number;
            }
        }
    }
}

#[cfg(test)]
mod tests;
