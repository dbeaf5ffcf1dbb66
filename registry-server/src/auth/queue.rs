//! Who verifies a password next. One at a time does, since each costs memory and a processor on
//! purpose; the others wait here, and nobody waits for somebody else's crowd.
//!
//! The turn goes around the addresses, within an address around the user names, and within a name
//! by who came first. So an address that tries thousands of passwords costs each other address one
//! verification, and a user behind the same address one for each name that is tried there: or less,
//! if it is right (`early.rs`).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::ring::Ring;

/// Those who wait for their turn.
#[derive(Clone, Default)]
pub(super) struct Queue(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Whether somebody has the turn.
    is_taken: bool,
    /// The number of the last one who came.
    last: u64,
    waiting: Ring<IpAddr, Ring<String, VecDeque<Waiting>>>,
}

struct Waiting {
    number: u64,
    called: oneshot::Sender<Turn>,
}

/// The right to verify, until it is dropped; then the next one has it.
pub(super) struct Turn(Queue);

impl Queue {
    /// Waits for the turn of somebody at this address who tries to log in under this name. Whoever
    /// stops waiting leaves the queue.
    pub(super) async fn turn(&self, address: IpAddr, name: &str) -> Turn {
        let (called, turn) = oneshot::channel();
        let place = {
            let mut state = self.lock();
            if !state.is_taken {
                // Nobody waits while nobody has the turn.
                state.is_taken = true;
                return Turn(self.clone());
            }
            state.last += 1;
            let number = state.last;
            let names = state.waiting.of(address);
            names.of(name.to_owned()).push_back(Waiting { number, called });
            Place { queue: self, address, name, number }
        };
        match turn.await {
            Ok(turn) => {
                // It was taken from the queue when it was called.
                std::mem::forget(place);
                turn
            }
            // Only a queue that is gone calls nobody, and it lives as long as its turns.
            Err(_) => Turn(self.clone()),
        }
    }

    /// How many wait.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        let state = self.lock();
        let names = state.waiting.values().flat_map(Ring::values);
        names.map(VecDeque::len).sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let next = state.waiting.next(|names| names.next(VecDeque::pop_front));
        match next {
            None => state.is_taken = false,
            Some(next) => {
                drop(state);
                // Whoever went away in this moment drops the turn, which calls the next one.
                drop(next.called.send(Self(self.0.clone())));
            }
        }
    }
}

/// A place in the queue, left when it is dropped.
struct Place<'a> {
    queue: &'a Queue,
    address: IpAddr,
    name: &'a str,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        let names = state.waiting.of(self.address);
        names.of(self.name.to_owned()).retain(|waiting| waiting.number != self.number);
        names.tidy(&self.name.to_owned());
        state.waiting.tidy(&self.address);
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
