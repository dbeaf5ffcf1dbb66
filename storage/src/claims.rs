//! Who works on the file of a digest: a commit, which puts it there, or collection and
//! verification, which take it away. One at a time for each digest: a commit whose row cannot be
//! written takes its file back, which must not be the file that another commit relies on.

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
    /// Claims one digest. Waits while somebody else works on it: another commit, or one short step
    /// of collection or verification.
    pub(crate) fn claim(&self, digest: &Digest) -> Claim<'_> {
        let mut held = self.lock();
        while !held.insert(*digest) {
            held = self.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        Claim { claims: self, digests: vec![*digest] }
    }

    /// Claims those of the digests that nobody works on, and waits for nobody.
    pub(crate) fn claim_free(&self, digests: impl IntoIterator<Item = Digest>) -> Claim<'_> {
        let mut held = self.lock();
        let digests = digests.into_iter().filter(|digest| held.insert(*digest)).collect();
        Claim { claims: self, digests }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut held = self.claims.lock();
        for digest in &self.digests {
            held.remove(digest);
        }
        self.claims.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn a_digest_is_claimed_once_and_whoever_needs_it_waits() {
        let claims = Claims::default();
        let [a, b] = ["a", "b"].map(|text| Digest::of(Algorithm::Sha256, text.as_bytes()));
        let commit = claims.claim(&a);
        let removal = claims.claim_free([a, b]);
        assert_eq!(removal.digests(), [b]);
        std::thread::scope(|scope| {
            let (tell, told) = mpsc::channel();
            for digest in [a, b] {
                let (claims, tell) = (&claims, tell.clone());
                scope.spawn(move || {
                    drop(claims.claim(&digest));
                    tell.send(()).unwrap();
                });
            }
            // Long enough for threads that do not wait.
            assert!(told.recv_timeout(Duration::from_millis(200)).is_err(), "two have one digest");
            drop((commit, removal));
            told.iter().take(2).for_each(drop);
        });
        assert_eq!(claims.claim_free([a, b]).digests(), [a, b]);
        assert!(claims.lock().is_empty());
    }
}
