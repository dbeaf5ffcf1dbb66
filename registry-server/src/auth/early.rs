//! Who may verify a password before the turn comes (`queue.rs`): somebody whose name there is,
//! while the one who has the turn rests because a password was wrong.
//!
//! Whoever guesses under ever new names would have each of them before the one right login behind
//! the same address. The names that there are are few, and a right password is told at once. A
//! wrong one is told when its turn comes and after as long as verifying takes, like one for a name
//! that nobody has; and since the rest is as long as a verification, the turns of the others come
//! at the same times as well. So nobody learns from an answer, or from when it comes, which names
//! there are.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::ring::Ring;

/// Those who wait for somebody's rest.
#[derive(Default)]
pub(super) struct Early(Mutex<State>);

#[derive(Default)]
struct State {
    /// The number of the last one who came.
    last: u64,
    waiting: Ring<IpAddr, Ring<String, VecDeque<Waiting>>>,
}

struct Waiting {
    number: u64,
    called: oneshot::Sender<Lent>,
}

/// The right to verify during somebody's rest, until it is dropped.
pub(super) struct Lent {
    _ended: oneshot::Sender<()>,
}

impl Early {
    /// Waits for the rest of somebody. Whoever stops waiting leaves.
    pub(super) async fn turn(&self, address: IpAddr, name: &str) -> Lent {
        let (called, turn) = oneshot::channel();
        let number = {
            let mut state = self.lock();
            state.last += 1;
            let number = state.last;
            let names = state.waiting.of(address);
            names.of(name.to_owned()).push_back(Waiting { number, called });
            number
        };
        let _place = Place { early: self, address, name, number };
        match turn.await {
            Ok(lent) => lent,
            // Nobody is taken from the queue without being called.
            Err(_) => std::future::pending().await,
        }
    }

    /// Lets the next one verify, and waits until that is done; does nothing if nobody waits.
    pub(super) async fn lend(&self) {
        loop {
            let next = self.lock().waiting.next(|names| names.next(VecDeque::pop_front));
            let Some(next) = next else { return };
            let (ended, end) = oneshot::channel();
            if next.called.send(Lent { _ended: ended }).is_ok() {
                // It says nothing: it is dropped.
                let _ = end.await;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those who wait, left when it is dropped.
struct Place<'a> {
    early: &'a Early,
    address: IpAddr,
    name: &'a str,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let (mut state, name) = (self.early.lock(), self.name.to_owned());
        let names = state.waiting.of(self.address);
        names.of(name.clone()).retain(|waiting| waiting.number != self.number);
        names.tidy(&name);
        state.waiting.tidy(&self.address);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn a_rest_is_lent_to_one_and_lasts_until_that_is_done() {
        let early = Early::default();
        let here = IpAddr::from([10, 0, 0, 1]);
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(early.lend()).poll(&mut context).is_ready(), "nobody waits");
        let mut gone = Box::pin(early.turn(here, "gone"));
        let mut first = pin!(early.turn(here, "ann"));
        let mut second = pin!(early.turn(here, "ann"));
        let mut third = pin!(early.turn(here, "bob"));
        assert!(gone.as_mut().poll(&mut context).is_pending());
        for waiting in [&mut first, &mut second, &mut third] {
            assert!(waiting.as_mut().poll(&mut context).is_pending());
        }
        drop(gone);
        // One for each name before the next one of the same.
        let mut lending = pin!(early.lend());
        assert!(lending.as_mut().poll(&mut context).is_pending());
        let Poll::Ready(lent) = first.as_mut().poll(&mut context) else { panic!("not called") };
        assert!(lending.as_mut().poll(&mut context).is_pending());
        drop(lent);
        assert!(lending.as_mut().poll(&mut context).is_ready());
        let mut lending = pin!(early.lend());
        assert!(lending.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(third.as_mut().poll(&mut context).is_ready(), "and it is done at once");
        assert!(lending.as_mut().poll(&mut context).is_ready());
    }
}
