//! Those who wait for a verification. The turn goes around the addresses, within an address around
//! the user names, and within a name by who came first.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::ring::Ring;

/// Those who wait to be called with a `T`.
pub(super) struct Waiters<T>(Mutex<State<T>>);

struct State<T> {
    /// The number of the last one who came.
    last: u64,
    waiting: Ring<IpAddr, Ring<String, VecDeque<Waiting<T>>>>,
}

struct Waiting<T> {
    number: u64,
    called: oneshot::Sender<T>,
}

impl<T> Waiters<T> {
    /// Takes a place for somebody at this address who tries to log in under this name.
    pub(super) fn join<'a>(&'a self, address: IpAddr, name: &'a str) -> Waiter<'a, T> {
        let (called, call) = oneshot::channel();
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        let names = state.waiting.of(address);
        names.of(name.to_owned()).push_back(Waiting { number, called });
        Waiter { waiters: self, address, name, number, call }
    }

    /// Takes out whose turn it is, to be called.
    pub(super) fn next(&self) -> Option<oneshot::Sender<T>> {
        let next = self.lock().waiting.next(|names| names.next(VecDeque::pop_front));
        next.map(|waiting| waiting.called)
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        let state = self.lock();
        let names = state.waiting.values().flat_map(Ring::values);
        names.map(VecDeque::len).sum()
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Waiters<T> {
    fn default() -> Self {
        Self(Mutex::new(State { last: 0, waiting: Ring::default() }))
    }
}

/// A place among those who wait, left when it is dropped. What its owner was called with and did
/// not take is dropped then, too.
pub(super) struct Waiter<'a, T> {
    waiters: &'a Waiters<T>,
    address: IpAddr,
    name: &'a str,
    number: u64,
    call: oneshot::Receiver<T>,
}

impl<T> Waiter<'_, T> {
    /// Waits to be called.
    pub(super) async fn called(mut self) -> T {
        match (&mut self.call).await {
            Ok(call) => call,
            // Nobody is taken out without being called.
            Err(_) => std::future::pending().await,
        }
    }
}

impl<T> Drop for Waiter<'_, T> {
    fn drop(&mut self) {
        let (mut state, name) = (self.waiters.lock(), self.name.to_owned());
        let names = state.waiting.of(self.address);
        names.of(name.clone()).retain(|waiting| waiting.number != self.number);
        names.tidy(&name);
        state.waiting.tidy(&self.address);
    }
}
