//! How many connections somebody has.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::share::Owner;

/// All connections of one owner.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) owner: Owner,
    /// How many there are. It is changed under the table's lock.
    count: AtomicUsize,
}

impl Crowd {
    /// Of somebody who has none yet.
    pub(super) fn new(owner: Owner) -> Self {
        Self { owner, count: AtomicUsize::new(0) }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts one more.
    pub(super) fn add_one(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one less. Says whether it was the last.
    pub(super) fn take_one(&self) -> bool {
        self.count.fetch_sub(1, Ordering::Relaxed) == 1
    }
}
