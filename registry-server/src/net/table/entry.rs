//! One connection, as the table sees it: what goes on with it, and since when.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::owned::Crowd;
use crate::api::resting::Rest;
use crate::limits::{LOGIN_TIME, Limits, SILENT_TIME, WAITING_TIME};
use crate::share::Owner;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::net) enum ConnectionPhase {
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

impl ConnectionPhase {
    fn of(number: u8) -> Self {
        [Self::Handshake, Self::Idle, Self::Head, Self::Busy]
            .into_iter()
            .find(|phase| *phase as u8 == number)
            .unwrap_or(Self::Flushing)
    }
}

/// One connection, as the table sees it.
#[derive(Debug)]
pub(in crate::net) struct Entry {
    pub(in crate::net) peer: SocketAddr,
    born: Instant,
    phase: AtomicU8,
    /// Milliseconds after `born` at which the phase began.
    since: AtomicU64,
    /// Milliseconds after `born` since which the client does not read, or next to nothing; 0 if it
    /// does.
    blocked: AtomicU64,
    /// Milliseconds after `born` at which the client had read all there was, the last time.
    drained: AtomicU64,
    /// Whether something waits for the client to read now.
    is_pending: AtomicBool,
    /// Bytes that the client took since it was blocked.
    taken: AtomicUsize,
    /// Whose it is, nobody's in particular before a login, and how many he has.
    crowd: Mutex<Arc<Crowd>>,
    /// Whether the rest of an answered request's body is still being read.
    draining: AtomicBool,
    /// Whether anything came on it yet.
    has_spoken: AtomicBool,
    /// Milliseconds after `born` at which some of an answer was written, the last time.
    written: AtomicU64,
    /// Since when the body of its request rests, if it does.
    pub(in crate::net) rest: Arc<Rest>,
    /// Whether it gave its place to a newcomer, and how long the body of its request had been
    /// resting when that was decided, if it did.
    evicted: OnceLock<Option<Duration>>,
    closing: Notify,
}

impl Entry {
    /// A connection that was accepted at this time, one of this crowd.
    pub(super) fn new(peer: SocketAddr, born: Instant, crowd: Arc<Crowd>) -> Self {
        Self {
            peer,
            born,
            phase: AtomicU8::new(ConnectionPhase::Handshake as u8),
            since: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            drained: AtomicU64::new(0),
            is_pending: AtomicBool::new(false),
            taken: AtomicUsize::new(0),
            crowd: Mutex::new(crowd),
            draining: AtomicBool::new(false),
            has_spoken: AtomicBool::new(false),
            written: AtomicU64::new(0),
            rest: Arc::default(),
            evicted: OnceLock::new(),
            closing: Notify::new(),
        }
    }

    pub(in crate::net) fn phase(&self) -> ConnectionPhase {
        ConnectionPhase::of(self.phase.load(Ordering::Acquire))
    }

    pub(in crate::net) fn enter(&self, phase: ConnectionPhase) {
        self.since.store(self.now(), Ordering::Release);
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Notes that what comes now belongs to the body of a request that was answered already, or
    /// that it ended: only then does the wait for the next request begin.
    pub(in crate::net) fn set_draining(&self, is_draining: bool) {
        self.draining.store(is_draining, Ordering::Release);
        if !is_draining && self.phase() == ConnectionPhase::Idle {
            // The phase may be another one by now, and is left alone.
            self.since.store(self.now(), Ordering::Release);
        }
    }

    pub(in crate::net) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(in crate::net) fn is_evicted(&self) -> bool {
        self.evicted.get().is_some()
    }

    /// How long an upload had been resting that gave its place to a newcomer, if its client still
    /// waits for the answer. More of it may have come since that was decided, and it is told all
    /// the same; but not behind an answer that has begun.
    pub(in crate::net) fn gave_up_after(&self) -> Option<Duration> {
        let rested = self.evicted.get().copied().flatten()?;
        (self.phase() == ConnectionPhase::Busy && !self.is_blocked()).then_some(rested)
    }

    /// Whether something waits for the client to read, which it does not.
    pub(in crate::net) fn is_blocked(&self) -> bool {
        self.blocked_for().is_some()
    }

    /// Notes that something waits for the client to read. If it had read all there was only just
    /// before, it is as far behind as it was then.
    pub(in crate::net) fn set_blocked(&self) {
        self.is_pending.store(true, Ordering::Relaxed);
        let now = self.now().max(1);
        let since = self.blocked.load(Ordering::Relaxed);
        let kept_up = now.saturating_sub(self.drained.load(Ordering::Relaxed)) > KEPT_UP_MS;
        let has_drained = self.drained.load(Ordering::Relaxed) >= since;
        if since == 0 || (has_drained && kept_up) {
            self.taken.store(0, Ordering::Relaxed);
            self.blocked.store(now, Ordering::Relaxed);
        }
    }

    /// Notes that the client took so many bytes. A few of them are no progress.
    pub(in crate::net) fn took(&self, bytes: usize) {
        self.written.store(self.now(), Ordering::Relaxed);
        self.is_pending.store(false, Ordering::Relaxed);
        if self.blocked.load(Ordering::Relaxed) == 0 {
            return;
        }
        if self.taken.fetch_add(bytes, Ordering::Relaxed) + bytes >= PROGRESS_BYTES {
            self.blocked.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that the client has taken all there was.
    pub(in crate::net) fn set_drained(&self) {
        self.is_pending.store(false, Ordering::Relaxed);
        if self.blocked.load(Ordering::Relaxed) != 0 {
            self.drained.store(self.now().max(1), Ordering::Relaxed);
        }
    }

    /// Since when the client is behind; none if it is not.
    fn blocked_for(&self) -> Option<Duration> {
        let since = self.blocked.load(Ordering::Relaxed);
        (since != 0 && self.is_pending.load(Ordering::Relaxed)).then(|| self.for_long(since))
    }

    /// For how long the client has kept it standing still: it says nothing, or does not read. While
    /// a request is being answered it waits for us; but without a login not for ever, since those
    /// who wait for their first login could be anybody, and have every place.
    pub(super) fn still_for(&self) -> Duration {
        let blocked = self.blocked_for().unwrap_or_default();
        match self.phase() {
            ConnectionPhase::Busy if !self.is_known() => {
                let written = self.for_long(self.written.load(Ordering::Relaxed));
                let waiting = self.in_phase_for().min(written);
                if waiting >= WAITING_TIME { waiting.max(blocked) } else { blocked }
            }
            ConnectionPhase::Busy | ConnectionPhase::Flushing => blocked,
            ConnectionPhase::Handshake | ConnectionPhase::Idle | ConnectionPhase::Head => {
                self.in_phase_for().max(blocked)
            }
        }
    }

    /// Notes that something came on it.
    pub(in crate::net) fn set_spoken(&self) {
        self.has_spoken.store(true, Ordering::Relaxed);
    }

    /// Whether a connection without a login stood still for longer than each may.
    pub(super) fn is_stuck(&self) -> bool {
        let time = match self.has_spoken.load(Ordering::Relaxed) {
            true => LOGIN_TIME,
            false => SILENT_TIME,
        };
        self.still_for() >= time
    }

    /// Whether somebody has logged in on it.
    pub(super) fn is_known(&self) -> bool {
        matches!(self.crowd().owner, Owner::User(_))
    }

    /// Whose it is.
    pub(in crate::net) fn owner(&self) -> Owner {
        self.crowd().owner.clone()
    }

    /// Whose it is, and how many he has.
    pub(super) fn crowd(&self) -> Arc<Crowd> {
        Arc::clone(&self.crowd.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes it one of another crowd, and returns the one before.
    pub(super) fn join(&self, crowd: Arc<Crowd>) -> Arc<Crowd> {
        let mut own = self.crowd.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *own, crowd)
    }

    /// Closes it for somebody else.
    pub(super) fn evict(&self) {
        self.evicted.get_or_init(|| self.rest.lasted());
        self.close();
    }

    /// What it does it has done since it was opened.
    #[cfg(test)]
    pub(super) fn rewind(&self) {
        self.since.store(0, Ordering::Release);
    }

    /// For how long it has been open.
    pub(super) fn age(&self) -> Duration {
        self.born.elapsed()
    }

    /// Resolves when the connection is to be closed.
    pub(in crate::net) async fn closing(&self) {
        self.closing.notified().await;
    }

    pub(super) fn close(&self) {
        self.closing.notify_one();
    }

    pub(super) fn in_phase_for(&self) -> Duration {
        self.for_long(self.since.load(Ordering::Acquire))
    }

    pub(super) fn is_overdue(&self, limits: &Limits) -> bool {
        if self.blocked_for().is_some_and(|time| time > limits.write_idle_time) {
            return true;
        }
        let bound = match self.phase() {
            ConnectionPhase::Handshake => limits.handshake_time,
            ConnectionPhase::Idle => limits.keep_alive_time,
            ConnectionPhase::Head => limits.head_time,
            // Bounded by the reads of the body and by the writes above.
            ConnectionPhase::Busy | ConnectionPhase::Flushing => return false,
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

/// A client that has read all and has more to read within this time, in milliseconds, did not keep
/// up: it sends requests faster than it reads answers.
const KEPT_UP_MS: u64 = 1000;
/// Bytes that a client takes before it counts as one that reads.
const PROGRESS_BYTES: usize = 64 * 1024;
