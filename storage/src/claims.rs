//! Who works on the file of a digest: a commit, which puts it there, or collection, which takes it
//! away. One at a time for each digest: a commit whose row cannot be written takes its file back,
//! which must not be the file that another commit relies on.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::digest::Digest;

/// The digests that are being worked on.
#[derive(Default)]
pub(crate) struct Claims {
    held: Mutex<HashSet<Digest>>,
    freed: Condvar,
}

impl Claims {
    /// Claims a digest for a commit. Waits while its file is being taken away, which is one short
    /// step of collection, or put there by another commit, which brings the same bytes.
    pub(crate) fn commit(&self, digest: &Digest) -> CommitClaim<'_> {
        let mut held = self.lock();
        while !held.insert(*digest) {
            held = self.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        CommitClaim { claims: self, digest: *digest }
    }

    /// Claims those of the digests that nobody works on. The others are in use, so their files
    /// stay for this time.
    pub(crate) fn remove(&self, digests: impl IntoIterator<Item = Digest>) -> RemovalClaim<'_> {
        let mut held = self.lock();
        let free = |digest: &Digest| !held.contains(digest);
        let digests: Vec<Digest> = digests.into_iter().filter(free).collect();
        held.extend(digests.iter().copied());
        RemovalClaim { claims: self, digests }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Digest>> {
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
        self.claims.lock().remove(&self.digest);
        self.claims.freed.notify_all();
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
    use std::thread::ScopedJoinHandle;

    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn a_commit_waits_for_who_has_its_digest_and_a_removal_leaves_what_is_being_committed() {
        let claims = Claims::default();
        let [a, b] = ["a", "b"].map(|text| Digest::of(Algorithm::Sha256, text.as_bytes()));
        let commit = claims.commit(&a);
        let removal = claims.remove([a, b]);
        assert_eq!(removal.digests(), [b]);
        std::thread::scope(|scope| {
            let waiting = [a, b].map(|digest| {
                let claims = &claims;
                scope.spawn(move || drop(claims.commit(&digest)))
            });
            assert!(!waiting.iter().any(ScopedJoinHandle::is_finished), "two have one digest");
            drop((commit, removal));
            for waiting in waiting {
                waiting.join().unwrap();
            }
        });
        assert_eq!(claims.remove([a, b]).digests(), [a, b]);
    }
}
