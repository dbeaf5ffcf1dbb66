//! Who works on the file of a digest: commits, which put it there, or collection, which takes it
//! away. The two exclude each other for each digest; commits of one digest do not, since all of
//! them bring the same bytes.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::digest::Digest;

/// The digests that are being worked on.
#[derive(Default)]
pub(crate) struct Claims {
    held: Mutex<HashMap<Digest, Held>>,
    freed: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    /// By so many commits.
    Commits(usize),
    /// By collection or verification.
    Removal,
}

impl Claims {
    /// Claims a digest for a commit. Waits while its file is being taken away, which is one short
    /// step of collection.
    pub(crate) fn commit(&self, digest: &Digest) -> CommitClaim<'_> {
        let mut held = self.lock();
        loop {
            match held.get_mut(digest) {
                Some(Held::Removal) => {
                    held = self.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
                }
                Some(Held::Commits(count)) => {
                    *count += 1;
                    break;
                }
                None => {
                    held.insert(*digest, Held::Commits(1));
                    break;
                }
            }
        }
        CommitClaim { claims: self, digest: *digest }
    }

    /// Claims one digest, and waits while anybody else works on it.
    pub(crate) fn remove_one(&self, digest: &Digest) -> RemovalClaim<'_> {
        let is_held = |held: &mut HashMap<Digest, Held>| held.contains_key(digest);
        let held = self.freed.wait_while(self.lock(), is_held);
        held.unwrap_or_else(PoisonError::into_inner).insert(*digest, Held::Removal);
        RemovalClaim { claims: self, digests: vec![*digest] }
    }

    /// Claims those of the digests that nobody works on. The others are in use, so their files
    /// stay for this time.
    pub(crate) fn remove(&self, digests: impl IntoIterator<Item = Digest>) -> RemovalClaim<'_> {
        let mut held = self.lock();
        let free = |digest: &Digest| !held.contains_key(digest);
        let digests: Vec<Digest> = digests.into_iter().filter(free).collect();
        held.extend(digests.iter().map(|digest| (*digest, Held::Removal)));
        RemovalClaim { claims: self, digests }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A commit's claim, until it is dropped.
pub(crate) struct CommitClaim<'a> {
    claims: &'a Claims,
    digest: Digest,
}

impl Drop for CommitClaim<'_> {
    fn drop(&mut self) {
        let mut held = self.claims.lock();
        match held.get_mut(&self.digest) {
            Some(Held::Commits(count)) if *count > 1 => *count -= 1,
            _ => {
                held.remove(&self.digest);
                self.claims.freed.notify_all();
            }
        }
    }
}

/// A claim on digests whose files may be taken away, until it is dropped.
pub(crate) struct RemovalClaim<'a> {
    claims: &'a Claims,
    digests: Vec<Digest>,
}

impl RemovalClaim<'_> {
    /// The digests that were free.
    pub(crate) fn digests(&self) -> &[Digest] {
        &self.digests
    }
}

impl Drop for RemovalClaim<'_> {
    fn drop(&mut self) {
        let mut held = self.claims.lock();
        for digest in &self.digests {
            held.remove(digest);
        }
        self.claims.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn a_commit_waits_for_a_removal_and_a_removal_leaves_what_is_being_committed() {
        let claims = Claims::default();
        let [a, b] = ["a", "b"].map(|text| Digest::of(Algorithm::Sha256, text.as_bytes()));
        let commits = [claims.commit(&a), claims.commit(&a)];
        let removal = claims.remove([a, b]);
        assert_eq!(removal.digests(), [b]);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| drop(claims.commit(&b)));
            assert!(claims.remove([a]).digests().is_empty(), "two commits hold it");
            assert!(!waiting.is_finished(), "the removal holds it");
            drop(removal);
            waiting.join().unwrap();
        });
        for commit in commits {
            assert!(claims.remove([a]).digests().is_empty());
            drop(commit);
        }
        assert_eq!(claims.remove([a]).digests(), [a]);
    }

    #[test]
    fn who_must_remove_a_file_waits_for_whoever_works_on_it() {
        let (claims, digest) = (Claims::default(), Digest::of(Algorithm::Sha256, b"a"));
        for is_commit in [true, false] {
            let commit = is_commit.then(|| claims.commit(&digest));
            let removal = (!is_commit).then(|| claims.remove([digest]));
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| drop(claims.remove_one(&digest)));
                assert!(!waiting.is_finished());
                drop((commit, removal));
                waiting.join().unwrap();
            });
            assert!(claims.lock().is_empty());
        }
    }
}
