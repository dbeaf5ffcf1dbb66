//! The gate before the reading connections. It is open, but while the log of the database is
//! truncated: readers that overlap would keep it growing for ever.
//!
//! Both sides wait no longer than one bound: a reader for the gate, and who closed it for the
//! readers that are inside. So nobody waits for ever for somebody who waits for him, whatever a
//! reader does meanwhile: even if it reads again, or waits for a write.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The gate of one database.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    most_wait: Duration,
}

#[derive(Debug, Default)]
struct State {
    readers: usize,
    is_closed: bool,
}

/// A reader that is inside.
pub(super) struct Inside<'a>(&'a Gate);

/// The gate is closed and nobody is inside, but readers that waited for too long.
pub(super) struct Closed<'a>(&'a Gate);

impl Gate {
    /// An open gate at which nobody waits longer than this.
    pub(super) fn new(most_wait: Duration) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), most_wait }
    }

    /// Lets a reader in, until what this returns is dropped.
    pub(super) fn enter(&self) -> Inside<'_> {
        let is_closed = |state: &mut State| state.is_closed;
        let waited = self.changed.wait_timeout_while(self.lock(), self.most_wait, is_closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.readers += 1;
        Inside(self)
    }

    /// Closes the gate and waits until nobody is inside. If somebody stays, it is open again.
    pub(super) fn close(&self) -> Option<Closed<'_>> {
        let mut state = self.lock();
        state.is_closed = true;
        // From here on its end opens the gate.
        let closed = Closed(self);
        let is_used = |state: &mut State| state.readers > 0;
        let waited = self.changed.wait_timeout_while(state, self.most_wait, is_used);
        let is_empty = waited.unwrap_or_else(PoisonError::into_inner).0.readers == 0;
        is_empty.then_some(closed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.readers = state.readers.saturating_sub(1);
        if state.readers == 0 {
            self.0.changed.notify_all();
        }
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.lock().is_closed = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
