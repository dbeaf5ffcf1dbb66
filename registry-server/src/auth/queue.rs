//! Who verifies a password next. One at a time does, since each costs memory and a processor on
//! purpose; the others wait here, and nobody waits for somebody else's crowd.
//!
//! The turn goes around addresses and names (`waiters.rs`). So an address that tries thousands of
//! passwords costs each other address one verification, and a user behind the same address one for
//! each name that is tried there: or less, if it is right (`early.rs`).

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::waiters::Waiters;

/// Those who wait for their turn.
#[derive(Clone, Default)]
pub(super) struct Queue(Arc<State>);

#[derive(Default)]
struct State {
    /// Whether somebody has the turn. Whoever finds it so, or lets it go, has this until he has
    /// joined the others, or called one.
    is_taken: Mutex<bool>,
    waiters: Waiters<Turn>,
}

/// The right to verify, until it is dropped; then the next one has it.
pub(super) struct Turn(Queue);

impl Queue {
    /// Waits for the turn of somebody at this address who tries to log in under this name. Whoever
    /// stops waiting leaves the queue.
    pub(super) async fn turn(&self, address: IpAddr, name: &str) -> Turn {
        let place = {
            let mut is_taken = self.is_taken();
            if !*is_taken {
                // Nobody waits while nobody has the turn.
                *is_taken = true;
                return Turn(self.clone());
            }
            self.0.waiters.join(address, name)
        };
        place.called().await
    }

    /// How many wait.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.0.waiters.count()
    }

    fn is_taken(&self) -> MutexGuard<'_, bool> {
        self.0.is_taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut is_taken = self.0.is_taken();
        match self.0.0.waiters.next() {
            None => *is_taken = false,
            Some(next) => {
                drop(is_taken);
                // Whoever went away in this moment drops the turn, which calls the next one.
                drop(next.send(Self(self.0.clone())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    type Boxed<'a> = Pin<Box<dyn Future<Output = Turn> + 'a>>;

    /// Somebody who began to wait.
    fn begin<'a>(queue: &'a Queue, last: u8, name: &'a str) -> Boxed<'a> {
        let mut turn: Boxed<'a> = Box::pin(queue.turn(address(last), name));
        assert!(poll(&mut turn).is_none());
        turn
    }

    fn poll(turn: &mut Boxed<'_>) -> Option<Turn> {
        match turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    fn now(queue: &Queue) -> Turn {
        let mut turn = pin!(queue.turn(address(9), "first"));
        match turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => turn,
            Poll::Pending => panic!("nobody has it"),
        }
    }

    #[test]
    fn the_turn_goes_around_addresses_and_names() {
        let queue = Queue::default();
        let turn = now(&queue);
        let came = [
            (1, "guess"),
            (1, "guess"),
            (1, "guess"),
            (1, "ann"),
            (1, "other"),
            (2, "ann"),
            (1, "ann"),
        ];
        let mut waiting: Vec<Option<Boxed<'_>>> =
            came.iter().map(|(last, name)| Some(begin(&queue, *last, name))).collect();
        assert_eq!(queue.waiting(), came.len());
        drop(turn);
        let mut served = Vec::new();
        while served.len() < came.len() {
            let is_called = |one: &mut Option<Boxed<'_>>| one.as_mut().and_then(poll);
            let called: Vec<(usize, Turn)> = waiting
                .iter_mut()
                .enumerate()
                .filter_map(|(index, one)| is_called(one).map(|turn| (index, turn)))
                .collect();
            assert_eq!(called.len(), 1, "one at a time");
            for (index, turn) in called {
                served.push(index);
                waiting[index] = None;
                drop(turn);
            }
        }
        assert_eq!(served, [0, 5, 3, 4, 1, 6, 2]);
        assert_eq!(queue.waiting(), 0);
        drop(now(&queue));
    }

    #[test]
    fn whoever_stops_waiting_holds_nobody_up() {
        let queue = Queue::default();
        let turn = now(&queue);
        let gone = begin(&queue, 1, "gone");
        let called = begin(&queue, 2, "called");
        let mut last = begin(&queue, 3, "last");
        drop(gone);
        assert_eq!(queue.waiting(), 2);
        drop(turn);
        // This one was called, and goes without having looked.
        assert_eq!(queue.waiting(), 1);
        drop(called);
        assert!(poll(&mut last).is_some());
        assert_eq!(queue.waiting(), 0);
    }
}
