//! Who has how many connections, and which of them goes first.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::entry::{Entry, Phase};
use super::{Crowding, LOGIN_TIME, SETTLED_TIME};
use crate::auth::network;
use crate::limits::Limits;
use crate::share::Owner;

/// All connections of one owner.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) owner: Owner,
    /// How many there are. It is changed under the table's lock.
    count: AtomicUsize,
}

impl Crowd {
    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

/// What the table's lock is over.
#[derive(Default)]
pub(super) struct State {
    last: u64,
    pub(super) entries: HashMap<u64, Arc<Entry>>,
    crowds: HashMap<Owner, Arc<Crowd>>,
    /// What happened since that was told last.
    pub(super) crowding: Crowding,
}

impl State {
    /// Makes room for a newcomer, if there is none; false if nobody gives way to him now.
    pub(super) fn make_room(&mut self, peer: SocketAddr, limits: &Limits) -> bool {
        let newcomer = Owner::Address(network(peer.ip()));
        let going = if self.count_of(&newcomer) >= limits.connection_share() {
            self.first_of_young(&newcomer)
        } else if self.entries.len() >= limits.connections {
            self.first_to_go(&newcomer, limits)
        } else {
            return true;
        };
        going.inspect(|number| self.evict(*number)).is_some()
    }

    /// Enters a connection that was accepted at this time.
    pub(super) fn insert(&mut self, peer: SocketAddr, born: Instant) -> (u64, Arc<Entry>) {
        let crowd = self.join(&Owner::Address(network(peer.ip())));
        let entry = Arc::new(Entry::new(peer, born, crowd));
        self.last += 1;
        self.entries.insert(self.last, Arc::clone(&entry));
        (self.last, entry)
    }

    /// Makes a connection somebody's. If he has more than his share then, another one of his goes,
    /// whatever it does.
    pub(super) fn give(&mut self, entry: &Entry, owner: &Owner, limits: &Limits) {
        let crowd = self.join(owner);
        let before = entry.join(Arc::clone(&crowd));
        self.leave(&before);
        if crowd.count() <= limits.connection_share() {
            return;
        }
        let others = self.entries.iter().filter(|(_, other)| {
            Arc::ptr_eq(&other.crowd(), &crowd) && !std::ptr::eq(Arc::as_ptr(other), entry)
        });
        let first = others.max_by_key(|(_, other)| dispensable(other)).map(|(number, _)| *number);
        if let Some(number) = first {
            self.evict(number);
        }
    }

    /// Takes a connection out, if it is still there.
    pub(super) fn remove(&mut self, number: u64) -> Option<Arc<Entry>> {
        let entry = self.entries.remove(&number)?;
        self.leave(&entry.crowd());
        Some(entry)
    }

    fn evict(&mut self, number: u64) {
        self.crowding.gave_way += 1;
        if let Some(entry) = self.remove(number) {
            entry.evict();
        }
    }

    /// The connection that gives way to a newcomer; none if nobody does now.
    fn first_to_go(&self, newcomer: &Owner, limits: &Limits) -> Option<u64> {
        let rank = |entry: &Entry| {
            let is_known = entry.is_known();
            let most = entry.crowd().count();
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
            false => still >= LOGIN_TIME || self.count_of(newcomer) < most,
        };
        may_go.then_some(number)
    }

    /// The same for a newcomer of whose address there are as many as may be: the one that stood
    /// still longest, but none that came only now.
    fn first_of_young(&self, newcomer: &Owner) -> Option<u64> {
        let own = self.entries.iter().filter(|(_, entry)| entry.crowd().owner == *newcomer);
        let ranked = own.map(|(number, entry)| (entry.still_for(), *number));
        ranked.filter(|(still, _)| *still >= LOGIN_TIME).max().map(|(_, number)| number)
    }

    /// How many connections somebody has.
    fn count_of(&self, owner: &Owner) -> usize {
        self.crowds.get(owner).map_or(0, |crowd| crowd.count())
    }

    /// Counts one more connection of an owner.
    fn join(&mut self, owner: &Owner) -> Arc<Crowd> {
        let new = || Arc::new(Crowd { owner: owner.clone(), count: AtomicUsize::new(0) });
        let crowd = self.crowds.entry(owner.clone()).or_insert_with(new);
        crowd.count.fetch_add(1, Ordering::Relaxed);
        Arc::clone(crowd)
    }

    /// Counts one less.
    fn leave(&mut self, crowd: &Crowd) {
        if crowd.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.crowds.remove(&crowd.owner);
        }
    }
}

/// How soon a connection goes before others of its owner: first what is idle, then what rests, then
/// what stands still, then what has been open longest.
fn dispensable(entry: &Entry) -> (bool, Duration, Duration, Duration) {
    let still = entry.still_for();
    let is_idle = entry.phase() == Phase::Idle && still >= SETTLED_TIME;
    let rested = entry.rest.lasted().filter(|lasted| *lasted >= CROWD_REST_TIME);
    (is_idle, rested.unwrap_or_default(), still, entry.age())
}

/// How long an upload rests before it gives way, of whoever has more than half of all places: he
/// can go on with it, and has what nobody needs.
const CROWD_REST_TIME: Duration = Duration::from_secs(1);
/// How long a connection waits before it gives way sooner than an upload that rests: its client can
/// come again at no cost, but should not have to between any two requests.
const LONG_TIME: Duration = Duration::from_secs(10);
