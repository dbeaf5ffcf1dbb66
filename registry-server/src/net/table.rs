//! All open connections: what each is doing and since when, so that the idle can be told from the
//! busy, and the stuck be closed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::limits::Limits;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// The TLS handshake is under way.
    Handshake,
    /// Waiting for the first byte of a request.
    Idle,
    /// A request's head is arriving.
    Head,
    /// A request is being answered.
    Busy,
    /// The answer is made; its last bytes are on their way.
    Flushing,
}

impl Phase {
    fn of(number: u8) -> Self {
        [Self::Handshake, Self::Idle, Self::Head, Self::Busy]
            .into_iter()
            .find(|phase| *phase as u8 == number)
            .unwrap_or(Self::Flushing)
    }
}

/// One connection, as the table sees it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) peer: SocketAddr,
    born: Instant,
    phase: AtomicU8,
    /// Milliseconds after `born` at which the phase began.
    since: AtomicU64,
    /// Milliseconds after `born` since which the client does not read; 0 if it does.
    blocked: AtomicU64,
    /// Whether the rest of an answered request's body is still being read.
    draining: AtomicBool,
    /// Whether it gave its place to a newcomer.
    evicted: AtomicBool,
    closing: Notify,
}

impl Entry {
    fn new(peer: SocketAddr) -> Self {
        Self {
            peer,
            born: Instant::now(),
            phase: AtomicU8::new(Phase::Handshake as u8),
            since: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            evicted: AtomicBool::new(false),
            closing: Notify::new(),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        Phase::of(self.phase.load(Ordering::Acquire))
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.since.store(self.now(), Ordering::Release);
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Notes that what comes now belongs to the body of a request that was answered already, or
    /// that it ended: only then does the wait for the next request begin.
    pub(super) fn set_draining(&self, is_draining: bool) {
        self.draining.store(is_draining, Ordering::Release);
        if !is_draining && self.phase() == Phase::Idle {
            self.enter(Phase::Idle);
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(super) fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Acquire)
    }

    /// Notes that the client does not read, or that it does again.
    pub(super) fn set_blocked(&self, is_blocked: bool) {
        match (is_blocked, self.blocked.load(Ordering::Relaxed)) {
            (true, 0) => self.blocked.store(self.now().max(1), Ordering::Relaxed),
            (false, since) if since != 0 => self.blocked.store(0, Ordering::Relaxed),
            _ => {}
        }
    }

    /// Resolves when the connection is to be closed.
    pub(super) async fn closing(&self) {
        self.closing.notified().await;
    }

    fn close(&self) {
        self.closing.notify_one();
    }

    fn in_phase_for(&self) -> Duration {
        self.for_long(self.since.load(Ordering::Acquire))
    }

    fn is_overdue(&self, limits: &Limits) -> bool {
        let blocked = self.blocked.load(Ordering::Relaxed);
        if blocked != 0 && self.for_long(blocked) > limits.write_idle_time {
            return true;
        }
        let bound = match self.phase() {
            Phase::Handshake => limits.handshake_time,
            Phase::Idle => limits.keep_alive_time,
            Phase::Head => limits.head_time,
            // Bounded by the reads of the body and by the writes above.
            Phase::Busy | Phase::Flushing => return false,
        };
        self.in_phase_for() > bound
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn for_long(&self, since: u64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(since))
    }
}

/// The table of open connections.
#[derive(Default)]
pub(super) struct Table {
    entries: Mutex<(u64, HashMap<u64, Arc<Entry>>)>,
    /// Newcomers for whom there is no place.
    waiting: AtomicUsize,
    freed: Notify,
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
        if let Some(place) = self.enter(peer, limits.connections) {
            return Some(place);
        }
        let _waiting = Waiting::begin(self);
        let come = async {
            loop {
                // That one is idle for long enough is told by nobody.
                let _ = tokio::time::timeout(SETTLED_TIME, self.freed.notified()).await;
                if let Some(place) = self.enter(peer, limits.connections) {
                    break place;
                }
            }
        };
        tokio::time::timeout(limits.place_time, come).await.ok()
    }

    /// Whether somebody waits for a place: who has one gives it back after the next answer.
    pub(super) fn is_crowded(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Enters a connection. At the limit the one that waits longest for a request is closed for
    /// it. If every one is busy, or began to wait only now, the newcomer gets no place.
    fn enter(self: &Arc<Self>, peer: SocketAddr, most: usize) -> Option<Place> {
        let mut entries = self.lock();
        if entries.1.len() >= most {
            let waiting = |entry: &&Arc<Entry>| {
                matches!(entry.phase(), Phase::Handshake | Phase::Idle | Phase::Head)
            };
            let longest =
                entries.1.iter().filter(|(_, e)| waiting(e)).max_by_key(|(_, e)| e.in_phase_for());
            let (&number, longest) = longest?;
            if longest.in_phase_for() < SETTLED_TIME {
                return None;
            }
            if let Some(entry) = entries.1.remove(&number) {
                entry.evicted.store(true, Ordering::Release);
                entry.close();
            }
        }
        let entry = Arc::new(Entry::new(peer));
        entries.0 += 1;
        let number = entries.0;
        entries.1.insert(number, Arc::clone(&entry));
        Some(Place { table: Arc::clone(self), number, entry })
    }

    /// Closes every connection that exceeded its time.
    pub(super) fn close_overdue(&self, limits: &Limits) {
        self.lock().1.values().filter(|entry| entry.is_overdue(limits)).for_each(|e| e.close());
    }

    fn lock(&self) -> MutexGuard<'_, (u64, HashMap<u64, Arc<Entry>>)> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.lock().1.remove(&self.number);
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

/// How long a connection waits before it gives way: the next request may be under way already.
const SETTLED_TIME: Duration = Duration::from_millis(100);
