//! A number that grows with each change of a user.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often users were changed since the store was opened, so that whoever remembers a password
/// can tell whether it still holds.
#[derive(Debug, Default)]
pub(crate) struct UsersVersion(AtomicU64);

impl UsersVersion {
    /// The number now.
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Tells everybody of a change.
    pub(crate) fn grow(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
