//! Credentials that were right once: whoever has one of them waits for no verification again.
//!
//! Of each the keyed hash is kept, and the user as it was when the password was verified. When any
//! user changes, the user is read again before the next answer: as long as the stored hash of the
//! password is the same one, so is the verdict, and nobody else's change costs a verification.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use storage::User;

/// The keyed hash of a user name and a password.
pub(super) type Fingerprint = [u8; 32];

/// What is remembered.
pub(super) struct KnownCredentials {
    entries: Mutex<HashMap<Fingerprint, Entry>>,
    /// Credentials that are remembered at once; beyond that the one that was used longest ago is
    /// forgotten.
    most: usize,
}

struct Entry {
    user: Arc<User>,
    /// The users' version for which the user is current.
    version: u64,
    used: Instant,
}

/// What is known of a credential.
pub(super) enum Recalled {
    /// It is this user's.
    Current(Arc<User>),
    /// It was this user's before some user changed.
    Stale(Arc<User>),
}

impl KnownCredentials {
    /// Remembers at most so many.
    pub(super) fn new(most: usize) -> Self {
        Self { entries: Mutex::default(), most }
    }

    /// What is known of a credential, if it was right once. `version` is the users' one now.
    pub(super) fn recall(&self, fingerprint: &Fingerprint, version: u64) -> Option<Recalled> {
        let mut entries = self.lock();
        let entry = entries.get_mut(fingerprint)?;
        entry.used = Instant::now();
        let user = Arc::clone(&entry.user);
        Some(match entry.version == version {
            true => Recalled::Current(user),
            false => Recalled::Stale(user),
        })
    }

    /// Remembers that a credential is this user's, as of this version.
    pub(super) fn remember(&self, fingerprint: Fingerprint, user: User, version: u64) {
        let mut entries = self.lock();
        // An older credential of the same user is right no more, or is the same one.
        entries.retain(|other, entry| {
            *other == fingerprint
                || entry.user.name != user.name
                || entry.user.password_hash == user.password_hash
        });
        let user = Arc::new(user);
        entries.insert(fingerprint, Entry { user, version, used: Instant::now() });
        while entries.len() > self.most {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key);
            let Some(oldest) = oldest else { return };
            entries.remove(&oldest);
        }
    }

    /// Forgets a credential.
    pub(super) fn forget(&self, fingerprint: &Fingerprint) {
        self.lock().remove(fingerprint);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Fingerprint, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use storage::Role;

    use storage::UserId;

    use super::*;

    fn user(name: &str, password_hash: &str) -> User {
        User {
            id: UserId::default(),
            name: name.parse().unwrap(),
            role: Role::Pull,
            password_hash: password_hash.to_owned(),
        }
    }

    fn knows(known: &KnownCredentials, fingerprint: u8) -> bool {
        known.recall(&[fingerprint; 32], 0).is_some()
    }

    #[test]
    fn the_one_that_was_used_longest_ago_is_forgotten() {
        let known = KnownCredentials::new(2);
        known.remember([1; 32], user("a", "x"), 0);
        known.remember([2; 32], user("b", "x"), 0);
        assert!(knows(&known, 1));
        known.remember([3; 32], user("c", "x"), 0);
        assert_eq!([1, 2, 3].map(|one| knows(&known, one)), [true, false, true]);
    }

    #[test]
    fn a_new_password_takes_the_place_of_the_old_one() {
        let known = KnownCredentials::new(9);
        known.remember([1; 32], user("a", "old"), 0);
        known.remember([2; 32], user("b", "x"), 0);
        known.remember([3; 32], user("a", "new"), 1);
        assert_eq!([1, 2, 3].map(|one| knows(&known, one)), [false, true, true]);
        assert!(matches!(known.recall(&[3; 32], 1), Some(Recalled::Current(_))));
        assert!(matches!(known.recall(&[2; 32], 1), Some(Recalled::Stale(_))));
        known.forget(&[2; 32]);
        assert!(!knows(&known, 2));
    }
}
