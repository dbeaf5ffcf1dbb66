//! Holding deletions off: while somebody copies what the store names, no file of it may go, and no
//! manifest.
//!
//! Who copies takes a [`DeletionHold`]. Who unlinks (collection) takes an [`Unlinking`] for
//! each short step and gets none while a hold lasts; it goes on with something else, or tries again
//! later. So nobody waits long: a hold waits for the steps under way, and these wait for nothing.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The holds on one store's files.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeletionHolds(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    unlinked: Condvar,
}

#[derive(Debug, Default)]
struct State {
    holds: usize,
    unlinking: usize,
}

/// While it lives, collection unlinks no file that the store names, and drops no manifest.
#[derive(Debug)]
#[must_use = "deletions go on when it is dropped"]
pub struct DeletionHold(Arc<Shared>);

/// The right to unlink files and to drop manifests, for one short step.
#[derive(Debug)]
#[must_use = "the right ends when it is dropped"]
pub(crate) struct Unlinking(Arc<Shared>);

impl DeletionHolds {
    /// Holds deletions off, as soon as the steps that unlink now have ended.
    pub(crate) fn hold(&self) -> DeletionHold {
        let mut state = self.0.lock();
        // First, so that no further step begins while this one waits.
        state.holds += 1;
        while state.unlinking > 0 {
            state = self.0.unlinked.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        DeletionHold(Arc::clone(&self.0))
    }

    /// The right to unlink, for one short step; none while deletions are held off.
    pub(crate) fn begin_unlinking(&self) -> Option<Unlinking> {
        let mut state = self.0.lock();
        if state.holds > 0 {
            return None;
        }
        state.unlinking += 1;
        Some(Unlinking(Arc::clone(&self.0)))
    }
}

impl Drop for DeletionHold {
    fn drop(&mut self) {
        self.0.lock().holds -= 1;
    }
}

impl Drop for Unlinking {
    fn drop(&mut self) {
        self.0.lock().unlinking -= 1;
        self.0.unlinked.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn nobody_unlinks_while_deletions_are_held_off() {
        let holds = DeletionHolds::default();
        let (first, second) = (holds.hold(), holds.hold());
        assert!(holds.begin_unlinking().is_none());
        drop(first);
        assert!(holds.begin_unlinking().is_none());
        drop(second);
        assert!(holds.begin_unlinking().is_some());
    }

    #[test]
    fn a_hold_waits_for_the_step_under_way_and_lets_no_other_begin() {
        let holds = DeletionHolds::default();
        let step = holds.begin_unlinking().unwrap();
        let (sender, held) = mpsc::channel();
        let other = holds.clone();
        let thread = std::thread::spawn(move || {
            let hold = other.hold();
            sender.send(()).unwrap();
            hold
        });
        // It has announced itself once no step may begin.
        while holds.begin_unlinking().is_some() {
            std::thread::yield_now();
        }
        assert_eq!(held.try_recv(), Err(mpsc::TryRecvError::Empty));
        drop(step);
        held.recv().unwrap();
        drop(thread.join().unwrap());
        assert!(holds.begin_unlinking().is_some());
    }
}
