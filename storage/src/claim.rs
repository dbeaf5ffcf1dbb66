//! Who works on the file of a blob: one at a time for each digest.
//!
//! A push looks whether a blob is stored, puts the file in place and writes the row; whoever takes
//! files away looks at the row and removes the file. Each does both under a claim on the digest, so
//! that no file that was just promised is taken away.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::digest::Digest;

/// The digests whose files somebody works on.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    taken: Mutex<HashSet<Digest>>,
    given_back: Condvar,
}

impl Claims {
    /// Takes the claim on a digest, and waits while somebody else has it.
    pub(crate) fn take(&self, digest: &Digest) -> Claim<'_> {
        let is_taken = |taken: &mut HashSet<Digest>| taken.contains(digest);
        let taken = self.given_back.wait_while(self.lock(), is_taken);
        taken.unwrap_or_else(PoisonError::into_inner).insert(*digest);
        Claim { claims: self, digest: *digest }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to work on the file of a digest, until it is dropped.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    claims: &'a Claims,
    digest: Digest,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.claims.lock().remove(&self.digest);
        self.claims.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn a_digest_is_worked_on_by_one_at_a_time_and_others_do_not_wait() {
        let (claims, digest) =
            (Claims::default(), |text: &[u8]| Digest::of(Algorithm::Sha256, text));
        let (a, b) = (digest(b"a"), digest(b"b"));
        let (sender, order) = mpsc::channel();
        let first = claims.take(&a);
        std::thread::scope(|scope| {
            let second = sender.clone();
            let claims = &claims;
            scope.spawn(move || {
                let _claim = claims.take(&a);
                second.send("second").unwrap();
            });
            drop(claims.take(&b));
            sender.send("first").unwrap();
            drop(first);
        });
        assert_eq!(order.try_iter().collect::<Vec<_>>(), ["first", "second"]);
    }
}
