//! All open connections: what each is doing and since when, and whose it is, so that the stuck are
//! closed, and one of them gives way when there is no place for a newcomer.
//!
//! Who gives way: those on which nobody has logged in yet before all others, then those of whom
//! there are most, then the one that has stood still longest. So a crowd from one address makes
//! room out of itself, whatever its connections do or do not do. Nobody gives way who came only
//! now, but to somebody who has fewer: however fast they come, from one address or from many, each
//! has time to log in. Meanwhile those who have logged in give way,
//! first those of whom there are most, until a quarter of the places is without a login; but only
//! while nothing goes on with them. An upload that rests gives way too, after what has been idle
//! for a while: when it rests for longer than another body may, and those of whoever has more than
//! half of all places much sooner.
//!
//! Nobody keeps more than his share of the places, three quarters: who logs in once more loses
//! another connection of his with which nothing goes on. And if something goes on with each,
//! whoever has most of them loses one nonetheless, as soon as somebody has waited for a place for
//! longer than it takes those who only work to free one. So however many hold on to places
//! together, there are some for others.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::auth::network;
use crate::limits::Limits;
use crate::share::Owner;

mod crowd;
mod entry;
mod known_networks;
mod owned;
mod queue;
#[cfg(test)]
mod tests;

use crowd::State;
pub(super) use entry::{ConnectionPhase, Entry};
use queue::{Newcomer, Queue};

/// The table of open connections.
#[derive(Default)]
pub(super) struct Table {
    state: Mutex<State>,
    /// Newcomers for whom there is no place. It is locked before the state.
    queue: Mutex<Queue<TcpStream>>,
    /// How many these are.
    waiting: AtomicUsize,
    changed: Notify,
    /// Told of each connection that gets a place.
    came: Notify,
}

/// What became of connections for which there was no place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Crowding {
    /// Connections that gave way to newcomers.
    pub(super) gave_way: u64,
    /// Newcomers that were closed.
    pub(super) refused: u64,
}

/// A place in the table, given back when it is dropped.
pub(super) struct Slot {
    pub(super) table: Arc<Table>,
    number: u64,
    pub(super) entry: Arc<Entry>,
}

impl Table {
    /// Enters a connection, if there is a place that nobody has. Otherwise it waits, and comes with
    /// `next`.
    pub(super) fn come(
        self: &Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        limits: &Limits,
    ) -> Option<(TcpStream, Slot)> {
        let mut queue = self.queue();
        // For somebody who has sent nothing yet nobody gives way; those who wait do so for places
        // of others.
        if let Some(place) = self.enter_if_free(peer, limits) {
            queue.seated += 1;
            return Some((socket, place));
        }
        let is_one_dropped = queue.push(socket, peer, limits.waiting_connections);
        self.waiting.store(queue.count(), Ordering::Relaxed);
        self.lock().crowding.refused += u64::from(is_one_dropped);
        if queue.count() == 1 {
            self.changed.notify_one();
        }
        None
    }

    /// Resolves when it is time to accept one more: while those who wait are many and get places
    /// soon, the others wait in the system's queue.
    pub(super) async fn ready(&self, limits: &Limits) {
        while self.is_worth_waiting_for(limits) {
            tokio::time::sleep(RETRY_TIME).await;
        }
    }

    fn is_worth_waiting_for(&self, limits: &Limits) -> bool {
        let mut queue = self.queue();
        let silent = queue.drop_silent(limits.waiting_connections);
        self.waiting.store(queue.count(), Ordering::Relaxed);
        self.lock().crowding.refused += silent as u64;
        queue.is_worth_waiting_for(limits.waiting_connections, limits.connections)
    }

    /// The next of those who wait, if there is a place for one of them now.
    pub(super) fn next(self: &Arc<Self>, limits: &Limits) -> Option<(TcpStream, Slot)> {
        let mut queue = self.queue();
        let late = queue.drop_late(limits.place_time);
        let mut state = self.lock();
        state.crowding.refused += late as u64;
        let mut room = state.room(limits);
        let next = queue.next(|network, waited| room.of(network, waited));
        self.waiting.store(queue.count(), Ordering::Relaxed);
        let (room, Newcomer { socket, peer, .. }) = next?;
        state.take(room);
        Some((socket, self.placed(&mut state, peer)))
    }

    /// Resolves when it is time to ask for the next one who waits.
    pub(super) async fn changed(&self) {
        let changed = self.changed.notified();
        match self.waiting.load(Ordering::Relaxed) {
            0 => changed.await,
            // That one has been idle for long enough is told by nobody.
            _ => drop(tokio::time::timeout(RETRY_TIME, changed).await),
        }
    }

    /// Lets nobody wait any longer.
    pub(super) fn dismiss(&self) {
        *self.queue() = Queue::default();
    }

    /// Whether a connection is to be given back after the next answer: somebody waits for a place,
    /// and nobody has logged in on this one.
    pub(super) fn is_wanted(&self, entry: &Entry) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0 && !entry.is_known()
    }

    /// Notes that somebody logged in on a connection. Of whoever has more than his share then,
    /// another one is closed.
    pub(super) fn set_owner(&self, entry: &Entry, owner: &Owner, limits: &Limits) {
        if entry.crowd().owner != *owner {
            self.queue().known.note(network(entry.peer.ip()));
            self.lock().give(entry, owner, limits);
        }
    }

    /// Resolves when there is a connection, or something to be told.
    pub(super) async fn occupied(&self) {
        while self.lock().is_quiet() {
            self.came.notified().await;
        }
    }

    /// What happened since this was asked last.
    pub(super) fn take_crowding(&self) -> Crowding {
        std::mem::take(&mut self.lock().crowding)
    }

    /// Enters a connection, if nobody has to give way for it.
    fn enter_if_free(self: &Arc<Self>, peer: SocketAddr, limits: &Limits) -> Option<Slot> {
        let mut state = self.lock();
        let is_free = state.room(limits).is_free_for(network(peer.ip()));
        is_free.then(|| self.placed(&mut state, peer))
    }

    fn placed(self: &Arc<Self>, state: &mut State, peer: SocketAddr) -> Slot {
        let (number, entry) = state.insert(peer, Instant::now());
        self.came.notify_one();
        Slot { table: Arc::clone(self), number, entry }
    }

    /// Closes every connection that exceeded its time.
    pub(super) fn close_overdue(&self, limits: &Limits) {
        let state = self.lock();
        state.entries.values().filter(|entry| entry.is_overdue(limits)).for_each(|e| e.close());
    }

    fn queue(&self) -> MutexGuard<'_, Queue<TcpStream>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.table.lock().remove(self.number);
        self.table.changed.notify_one();
    }
}

/// How often it is looked for a place, at least, while there is none.
const RETRY_TIME: Duration = Duration::from_millis(5);
/// How long a connection waits before it gives way: the next request may be under way already.
const SETTLED_TIME: Duration = Duration::from_millis(100);
