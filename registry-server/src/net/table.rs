//! All open connections: what each is doing and since when, and whose it is, so that the stuck are
//! closed, and one of them gives way when there is no place for a newcomer.
//!
//! Who gives way: those on which nobody has logged in yet before all others, then those of whom
//! there are most, then the one that has stood still longest. So a crowd from one address makes
//! room out of itself, whatever its connections do or do not do. Nobody gives way who came only now,
//! but to somebody who has fewer: however fast they come, from one address or from many, each has
//! time to log in. Meanwhile those who have logged in give way, first those of whom there are most,
//! until a quarter of the places is without a login; but only while nothing goes on with them. An
//! upload that rests gives way too, after what has been idle for a while: when it rests for longer
//! than another body may, and those of whoever has more than half of all places much sooner.
//!
//! Nobody has more than his share of the places, three quarters: who logs in once more loses another
//! connection of his, whatever goes on with it. So there are always some for others.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::limits::Limits;
use crate::share::Owner;

mod crowd;
mod entry;
#[cfg(test)]
mod tests;

use crowd::State;
pub(super) use entry::{Entry, Phase};

/// The table of open connections.
#[derive(Default)]
pub(super) struct Table {
    state: Mutex<State>,
    /// Newcomers for whom there is no place.
    waiting: AtomicUsize,
    freed: Notify,
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
pub(super) struct Place {
    pub(super) table: Arc<Table>,
    number: u64,
    pub(super) entry: Arc<Entry>,
}

impl Table {
    /// Enters a connection, as soon as there is a place for it. There is none if none comes free
    /// in time.
    pub(super) async fn place(
        self: &Arc<Self>,
        peer: SocketAddr,
        limits: &Limits,
    ) -> Option<Place> {
        if let Some(place) = self.enter(peer, limits) {
            return Some(place);
        }
        let _waiting = Waiting::begin(self);
        let come = async {
            loop {
                // That one is idle for long enough is told by nobody.
                let _ = tokio::time::timeout(RETRY_TIME, self.freed.notified()).await;
                if let Some(place) = self.enter(peer, limits) {
                    break place;
                }
            }
        };
        let place = tokio::time::timeout(limits.place_time, come).await.ok();
        self.lock().crowding.refused += u64::from(place.is_none());
        place
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
            self.lock().give(entry, owner, limits);
        }
    }

    /// What happened since this was asked last.
    pub(super) fn take_crowding(&self) -> Crowding {
        std::mem::take(&mut self.lock().crowding)
    }

    /// Enters a connection. At the limit another one is closed for it. If none may be, the newcomer
    /// gets no place.
    fn enter(self: &Arc<Self>, peer: SocketAddr, limits: &Limits) -> Option<Place> {
        let mut state = self.lock();
        let (number, entry) =
            state.make_room(peer, limits).then(|| state.insert(peer, Instant::now()))?;
        Some(Place { table: Arc::clone(self), number, entry })
    }

    /// Closes every connection that exceeded its time.
    pub(super) fn close_overdue(&self, limits: &Limits) {
        let state = self.lock();
        state.entries.values().filter(|entry| entry.is_overdue(limits)).for_each(|e| e.close());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.lock().remove(self.number);
        self.table.freed.notify_one();
    }
}

/// A newcomer that waits for a place.
struct Waiting<'a>(&'a Table);

impl<'a> Waiting<'a> {
    fn begin(table: &'a Table) -> Self {
        table.waiting.fetch_add(1, Ordering::Relaxed);
        Self(table)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How often it is looked for a place, at least, while there is none.
const RETRY_TIME: Duration = Duration::from_millis(5);
/// How long a connection waits before it gives way: the next request may be under way already.
const SETTLED_TIME: Duration = Duration::from_millis(100);
/// The time that a connection has for its handshake and its first request at least.
const LOGIN_TIME: Duration = Duration::from_secs(1);
