//! Who has how many connections, and which of them goes first.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::{ConnectionPhase, Entry};
use super::owned::Crowd;
use super::{Crowding, SETTLED_TIME};
use crate::auth::network;
use crate::limits::{LOGIN_TIME, Limits, SILENT_TIME};
use crate::share::Owner;

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
    /// Whether there is no connection, and nothing to be told.
    pub(super) fn is_quiet(&self) -> bool {
        self.entries.is_empty() && self.crowding == Crowding::default()
    }

    /// What room there is for newcomers.
    pub(super) fn room<'a>(&'a self, limits: &'a Limits) -> Rooms<'a> {
        Rooms { state: self, limits, going: None }
    }

    /// Closes whoever gives way for it.
    pub(super) fn take(&mut self, room: Room) {
        if let Room::Of(number) = room {
            self.evict(number);
        }
    }

    /// Enters a connection that was accepted at this time.
    pub(super) fn insert(&mut self, peer: SocketAddr, born: Instant) -> (u64, Arc<Entry>) {
        let crowd = self.join(&Owner::Address(network(peer.ip())));
        let entry = Arc::new(Entry::new(peer, born, crowd));
        self.last += 1;
        self.entries.insert(self.last, Arc::clone(&entry));
        (self.last, entry)
    }

    /// Makes a connection somebody's. If he has more than his share then, another one of his goes
    /// with which nothing goes on. If there is none, one goes once a newcomer waits for it.
    pub(super) fn give(&mut self, entry: &Entry, owner: &Owner, limits: &Limits) {
        // Its place is somebody else's already, and it counts nowhere.
        if entry.is_evicted() {
            return;
        }
        let crowd = self.join(owner);
        let before = entry.join(Arc::clone(&crowd));
        self.leave(&before);
        if crowd.count() <= limits.connection_share() {
            return;
        }
        let others = self.entries.iter().filter(|(_, other)| {
            Arc::ptr_eq(&other.crowd(), &crowd)
                && !std::ptr::eq(Arc::as_ptr(other), entry)
                && stands_still(other)
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

    /// Who gives way when there is no place.
    fn going(&self, limits: &Limits) -> GivesWay {
        let mut going = GivesWay::default();
        let (mut stuck, mut crowded, mut resting) = (None, None, None);
        let (mut largest, owners) = (None, self.crowds.len() + 1);
        let lots = RandomState::new();
        for (number, entry) in &self.entries {
            let (most, still) = (entry.crowd().count(), entry.still_for());
            if entry.is_known() {
                let rested = rested_in_vain(entry, most, limits);
                let still = still.max(rested.min(LONG_TIME));
                // The next request may be under way already.
                if still >= SETTLED_TIME {
                    resting = resting.max(Some((most, still, rested, *number)));
                }
                // More than an equal part of all places: of those who have most there is always
                // one, since the newcomer's is an owner as well.
                if most.saturating_mul(owners) > limits.connections {
                    largest = largest.max(Some((most, dispensable(entry), *number)));
                }
                continue;
            }
            going.without_login += 1;
            if entry.is_stuck() {
                stuck = stuck.max(Some((most, still, *number)));
            }
            if most > 1 {
                // Those that came only now, last. Of those that stand still for as long anybody
                // goes: whoever knew which one could arrange that it is somebody else's.
                let came = entry.age() >= SILENT_TIME;
                crowded = crowded.max(Some((most, came, still, lots.hash_one(number), *number)));
            }
        }
        going.stuck = stuck.map(|(_, _, number)| number);
        going.crowded = crowded.map(|(most, .., number)| (most, number));
        going.resting = resting.map(|(most, _, _, number)| (most, number));
        going.largest = largest.map(|(_, _, number)| number);
        going
    }

    /// The same for a newcomer of whose address there are as many as may be: the one that stood
    /// still longest, but none that came only now.
    fn first_of_young(&self, newcomer: &Owner) -> Option<u64> {
        let own = self.entries.iter().filter(|(_, entry)| entry.crowd().owner == *newcomer);
        let stuck = own.filter(|(_, entry)| entry.is_stuck());
        let ranked = stuck.map(|(number, entry)| (entry.still_for(), *number));
        ranked.max().map(|(_, number)| number)
    }

    /// How many connections somebody has.
    fn count_of(&self, owner: &Owner) -> usize {
        self.crowds.get(owner).map_or(0, |crowd| crowd.count())
    }

    /// Who has how many.
    #[cfg(test)]
    pub(super) fn counts(&self) -> Vec<(Owner, usize)> {
        self.crowds.values().map(|crowd| (crowd.owner.clone(), crowd.count())).collect()
    }

    /// Counts one more connection of an owner.
    fn join(&mut self, owner: &Owner) -> Arc<Crowd> {
        let new = || Arc::new(Crowd::new(owner.clone()));
        let crowd = self.crowds.entry(owner.clone()).or_insert_with(new);
        crowd.add_one();
        Arc::clone(crowd)
    }

    /// Counts one less.
    fn leave(&mut self, crowd: &Crowd) {
        if crowd.take_one() {
            self.crowds.remove(&crowd.owner);
        }
    }
}

/// Room for a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is a place.
    Free,
    /// That of a connection which gives way.
    Of(u64),
}

/// What room there is for newcomers now.
pub(super) struct Rooms<'a> {
    state: &'a State,
    limits: &'a Limits,
    /// Who gives way, once that was asked for: it is the same for all newcomers, and costs a look
    /// at every connection.
    going: Option<GivesWay>,
}

impl Rooms<'_> {
    /// Whether there are places that nobody has.
    fn are_free(&self) -> bool {
        self.state.entries.len() < self.limits.connections
    }

    /// Whether there is one for a newcomer from this network.
    pub(super) fn is_free_for(&self, network: IpAddr) -> bool {
        let own = self.state.count_of(&Owner::Address(network));
        own < self.limits.connection_share() && self.are_free()
    }

    /// The room for a newcomer from this network who has waited for so long; none if nobody gives
    /// way to him now.
    pub(super) fn of(&mut self, network: IpAddr, waited: Duration) -> Option<Room> {
        let newcomer = Owner::Address(network);
        let own = self.state.count_of(&newcomer);
        if own >= self.limits.connection_share() {
            return self.state.first_of_young(&newcomer).map(Room::Of);
        }
        if self.are_free() {
            return Some(Room::Free);
        }
        let going = self.going.get_or_insert_with(|| self.state.going(self.limits));
        going.to(own, waited, self.limits).map(Room::Of)
    }
}

/// Who gives way to newcomers, if the table is full.
#[derive(Default)]
struct GivesWay {
    /// How many connections there are without a login.
    without_login: usize,
    /// One of them that had its time.
    stuck: Option<u64>,
    /// One of the largest crowd among them, and how many that is.
    crowded: Option<(usize, u64)>,
    /// One with a login with which nothing goes on, and how many its owner has.
    resting: Option<(usize, u64)>,
    /// One with a login of whoever has most of them, whatever goes on with it.
    largest: Option<u64>,
}

impl GivesWay {
    /// Who gives way to somebody who has `own` connections without a login.
    ///
    /// Those without a login go before the others. Where none of them may, since each came only
    /// now, they may take from the others until they have a quarter of all places. And where no
    /// place comes free by itself in the time in which one does of those who only work, they take
    /// from whoever has most.
    fn to(&self, own: usize, waited: Duration, limits: &Limits) -> Option<u64> {
        let more_than_own = |of: Option<(usize, u64)>| of.filter(|(most, _)| own < *most);
        let has_few = self.without_login < limits.connections - limits.connection_share();
        let resting = match self.without_login {
            0 => self.resting,
            _ => more_than_own(self.resting).filter(|_| has_few),
        };
        let crowded = more_than_own(self.crowded).map(|(_, number)| number);
        let largest = self.largest.filter(|_| waited >= LOGIN_TIME);
        crowded.or(self.stuck).or(resting.map(|(_, number)| number)).or(largest)
    }
}

/// How long an upload has been resting, if that is for longer than it may while somebody wants its
/// place.
fn rested_in_vain(entry: &Entry, most: usize, limits: &Limits) -> Duration {
    let patience = match most > limits.connections / 2 {
        true => CROWD_REST_TIME.min(limits.body_idle_time),
        false => limits.body_idle_time,
    };
    entry.rest.lasted().filter(|lasted| *lasted > patience).unwrap_or_default()
}

/// How soon a connection goes before others of its owner: first what is idle, then what rests, then
/// what stands still, then what has been open longest.
fn dispensable(entry: &Entry) -> (bool, Duration, Duration, Duration) {
    let still = entry.still_for();
    let is_idle = entry.phase() == ConnectionPhase::Idle && still >= SETTLED_TIME;
    (is_idle, rested_for_long(entry).unwrap_or_default(), still, entry.age())
}

/// Whether nothing goes on with a connection.
fn stands_still(entry: &Entry) -> bool {
    entry.still_for() >= SETTLED_TIME || rested_for_long(entry).is_some()
}

fn rested_for_long(entry: &Entry) -> Option<Duration> {
    entry.rest.lasted().filter(|lasted| *lasted >= CROWD_REST_TIME)
}

/// How long an upload rests before it gives way, of whoever has more than half of all places: he
/// can go on with it, and has what nobody needs.
const CROWD_REST_TIME: Duration = Duration::from_secs(1);
/// How long a connection waits before it gives way sooner than an upload that rests: its client can
/// come again at no cost, but should not have to between any two requests.
const LONG_TIME: Duration = Duration::from_secs(10);
