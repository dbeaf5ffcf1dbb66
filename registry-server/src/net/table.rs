//! All open connections: what each is doing and since when, and whose it is, so that the stuck are
//! closed, and one of them gives way when there is no place for a newcomer.
//!
//! Who gives way: those on which nobody has logged in yet before all others, then those of whom
//! there are most, then the one that has stood still longest. So a crowd from one address makes
//! room out of itself, whatever its connections do or do not do; and a client that has logged in is
//! closed only when all are such, and only while nothing goes on with it. An upload that rests
//! gives way too, after what has been idle for a while: when it rests for longer than another body
//! may, and those of whoever has more than half of all places much sooner. For one of its own crowd
//! nobody gives way who came only now: however fast they come, each has time to log in.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::api::rest::Rest;
use crate::auth::network;
use crate::limits::Limits;
use crate::share::Owner;

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
    /// Milliseconds after `born` since which the client does not read, or next to nothing; 0 if it
    /// does.
    blocked: AtomicU64,
    /// Milliseconds after `born` at which the client had read all there was, the last time.
    drained: AtomicU64,
    /// Whether something waits for the client to read now.
    is_pending: AtomicBool,
    /// Bytes that the client took since it was blocked.
    taken: AtomicUsize,
    /// Whose it is: nobody's in particular before a login.
    owner: Mutex<Arc<Owner>>,
    /// Whether the rest of an answered request's body is still being read.
    draining: AtomicBool,
    /// Since when the body of its request rests, if it does.
    pub(super) rest: Arc<Rest>,
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
            drained: AtomicU64::new(0),
            is_pending: AtomicBool::new(false),
            taken: AtomicUsize::new(0),
            owner: Mutex::new(Arc::new(Owner::Address(network(peer.ip())))),
            draining: AtomicBool::new(false),
            rest: Arc::default(),
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

    /// Whether something waits for the client to read, which it does not.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked_for().is_some()
    }

    /// Notes that something waits for the client to read. If it had read all there was only just
    /// before, it is as far behind as it was then.
    pub(super) fn set_blocked(&self) {
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
    pub(super) fn took(&self, bytes: usize) {
        self.is_pending.store(false, Ordering::Relaxed);
        if self.blocked.load(Ordering::Relaxed) == 0 {
            return;
        }
        if self.taken.fetch_add(bytes, Ordering::Relaxed) + bytes >= PROGRESS_BYTES {
            self.blocked.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that the client has taken all there was.
    pub(super) fn set_drained(&self) {
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

    /// For how long nothing went on by the client's doing. Of one on which nobody has logged in,
    /// only a new request counts as something.
    fn still_for(&self) -> Duration {
        match self.phase() {
            Phase::Busy | Phase::Flushing if self.is_known() => {
                self.blocked_for().unwrap_or_default()
            }
            _ => self.in_phase_for().max(self.blocked_for().unwrap_or_default()),
        }
    }

    /// Whether somebody has logged in on it.
    fn is_known(&self) -> bool {
        matches!(*self.owner(), Owner::User(_))
    }

    fn owner(&self) -> Arc<Owner> {
        Arc::clone(&self.owner.lock().unwrap_or_else(PoisonError::into_inner))
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
        if self.blocked_for().is_some_and(|time| time > limits.write_idle_time) {
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
    state: Mutex<State>,
    /// Newcomers for whom there is no place.
    waiting: AtomicUsize,
    freed: Notify,
}

#[derive(Default)]
struct State {
    last: u64,
    entries: HashMap<u64, Arc<Entry>>,
    /// How many connections each owner has.
    crowds: HashMap<Arc<Owner>, usize>,
    /// What happened since that was told last.
    crowding: Crowding,
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

    /// Notes that somebody logged in on a connection.
    pub(super) fn set_owner(&self, entry: &Entry, owner: Owner) {
        if *entry.owner() == owner {
            return;
        }
        let mut state = self.lock();
        let owner = state.join(owner);
        let before = {
            let mut own = entry.owner.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *own, owner)
        };
        state.leave(&before);
    }

    /// What happened since this was asked last.
    pub(super) fn take_crowding(&self) -> Crowding {
        std::mem::take(&mut self.lock().crowding)
    }

    /// Enters a connection. At the limit another one is closed for it. If none may be, the newcomer
    /// gets no place.
    fn enter(self: &Arc<Self>, peer: SocketAddr, limits: &Limits) -> Option<Place> {
        let mut state = self.lock();
        if state.entries.len() >= limits.connections {
            let number = state.first_to_go(&Owner::Address(network(peer.ip())), limits)?;
            state.crowding.gave_way += 1;
            if let Some(entry) = state.remove(number) {
                entry.evicted.store(true, Ordering::Release);
                entry.close();
            }
        }
        let entry = Arc::new(Entry::new(peer));
        let owner = state.join((*entry.owner()).clone());
        *entry.owner.lock().unwrap_or_else(PoisonError::into_inner) = owner;
        state.last += 1;
        let number = state.last;
        state.entries.insert(number, Arc::clone(&entry));
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

impl State {
    /// The connection that gives way to a newcomer; none if nobody does now.
    fn first_to_go(&self, newcomer: &Owner, limits: &Limits) -> Option<u64> {
        let crowd = |owner: &Owner| self.crowds.get(owner).copied().unwrap_or_default();
        let rank = |entry: &Entry| {
            let is_known = entry.is_known();
            let most = crowd(&entry.owner());
            let patience = match most > limits.connections / 2 {
                true => CROWD_REST_TIME.min(limits.body_idle_time),
                false => limits.body_idle_time,
            };
            let rested = entry.rest.lasted().filter(|lasted| *lasted > patience);
            let (still, rested) = (entry.still_for(), rested.unwrap_or_default());
            (Reverse(is_known), most, still.max(rested.min(LONG_TIME)), rested)
        };
        let ranked = self.entries.iter().map(|(number, entry)| (rank(entry), *number));
        let ((Reverse(is_known), most, still, _), number) = ranked.max()?;
        let may_go = match is_known {
            // The next request may be under way already.
            true => still >= SETTLED_TIME,
            false => still >= LOGIN_TIME || crowd(newcomer) < most,
        };
        may_go.then_some(number)
    }

    /// Counts one more connection of an owner.
    fn join(&mut self, owner: Owner) -> Arc<Owner> {
        let owner = match self.crowds.get_key_value(&owner) {
            Some((owner, _)) => Arc::clone(owner),
            None => Arc::new(owner),
        };
        *self.crowds.entry(Arc::clone(&owner)).or_default() += 1;
        owner
    }

    /// Counts one less.
    fn leave(&mut self, owner: &Arc<Owner>) {
        if let Some(count) = self.crowds.get_mut(owner) {
            *count -= 1;
            if *count == 0 {
                self.crowds.remove(owner);
            }
        }
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Entry>> {
        let entry = self.entries.remove(&number)?;
        self.leave(&entry.owner());
        Some(entry)
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
/// How long an upload rests before it gives way, of whoever has more than half of all places: he
/// can go on with it, and has what nobody needs.
const CROWD_REST_TIME: Duration = Duration::from_secs(1);
/// How long a connection waits before it gives way sooner than an upload that rests: its client can
/// come again at no cost, but should not have to between any two requests.
const LONG_TIME: Duration = Duration::from_secs(10);
/// How long a connection waits before it gives way: the next request may be under way already.
const SETTLED_TIME: Duration = Duration::from_millis(100);
/// The time that a connection has for its handshake and its first request at least.
const LOGIN_TIME: Duration = Duration::from_secs(1);
/// A client that has read all and has more to read within this time, in milliseconds, did not keep
/// up: it sends requests faster than it reads answers.
const KEPT_UP_MS: u64 = 1000;
/// Bytes that a client takes before it counts as one that reads.
const PROGRESS_BYTES: usize = 64 * 1024;
