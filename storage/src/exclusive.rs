//! Digests on which one thread at a time works.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::digest::Digest;

/// The digests that are taken now.
#[derive(Debug, Default)]
pub(crate) struct Exclusive {
    taken: Mutex<HashSet<Digest>>,
    given_back: Condvar,
}

impl Exclusive {
    /// Waits until nobody else has the digest, and takes it until the value is dropped.
    pub(crate) fn take(&self, digest: &Digest) -> Taken<'_> {
        let mut taken = self.lock();
        while !taken.insert(*digest) {
            taken = self.given_back.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        Taken { of: self, digest: *digest }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A digest that is taken.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    of: &'a Exclusive,
    digest: Digest,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.of.lock().remove(&self.digest);
        self.of.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn who_comes_second_waits_for_the_same_digest_and_for_no_other() {
        let digest = |content: &[u8]| Digest::of(Algorithm::Sha256, content);
        let (exclusive, is_done) = (Exclusive::default(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let first = exclusive.take(&digest(b"a"));
            drop(exclusive.take(&digest(b"b")));
            let second = scope.spawn(|| {
                let _second = exclusive.take(&digest(b"a"));
                assert!(is_done.load(Ordering::SeqCst), "two had it at once");
            });
            is_done.store(true, Ordering::SeqCst);
            drop(first);
            second.join().unwrap();
        });
    }
}
