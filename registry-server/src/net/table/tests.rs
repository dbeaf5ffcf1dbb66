//! The table alone: who gives way to whom.

use super::*;
use crate::limits::LOGIN_TIME;

/// A table with its limits, whose connections are as old as the test says.
struct Scene {
    table: Arc<Table>,
    limits: Limits,
    places: Vec<Slot>,
}

impl Scene {
    fn new(connections: usize) -> Self {
        let limits = Limits { connections, ..Limits::default() };
        Self { table: Arc::default(), limits, places: Vec::new() }
    }

    /// Enters a connection that has been open for so many seconds; which one it is.
    fn come(&mut self, from: &str, seconds: u64) -> Option<usize> {
        self.come_after(Duration::ZERO, from, seconds)
    }

    /// The same for somebody who has waited for a place.
    fn come_after(&mut self, waited: Duration, from: &str, seconds: u64) -> Option<usize> {
        let peer = SocketAddr::new(from.parse().unwrap(), 1);
        let born = Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        let mut state = self.table.lock();
        let room = state.room(&self.limits).of(network(peer.ip()), waited)?;
        state.take(room);
        let (number, entry) = state.insert(peer, born);
        drop(state);
        entry.set_spoken();
        self.places.push(Slot { table: Arc::clone(&self.table), number, entry });
        Some(self.places.len() - 1)
    }

    fn entry(&self, which: usize) -> &Entry {
        &self.places[which].entry
    }

    /// Somebody logs in on it, and it is busy from then on.
    fn log_in(&self, which: usize, name: &str) {
        self.entry(which).enter(ConnectionPhase::Busy);
        let owner = Owner::User(name.parse().unwrap());
        self.table.set_owner(self.entry(which), &owner, &self.limits);
    }

    /// Those that gave way.
    fn gone(&self) -> Vec<usize> {
        (0..self.places.len()).filter(|which| self.entry(*which).is_evicted()).collect()
    }
}

#[test]
fn whoever_has_more_than_his_share_loses_one_of_his_own() {
    let mut scene = Scene::new(8);
    for number in 0..6 {
        let which = scene.come("127.0.0.1", 10 + number).unwrap();
        scene.log_in(which, "bully");
    }
    assert_eq!(scene.gone(), [0; 0], "six of eight is a share");
    let which = scene.come("127.0.0.1", 10).unwrap();
    scene.log_in(which, "victim");
    assert_eq!(scene.gone(), [0; 0], "one of somebody else");
    let which = scene.come("127.0.0.1", 100).unwrap();
    scene.log_in(which, "bully");
    assert_eq!(scene.gone(), [0; 0], "something goes on with each");
    assert_eq!(scene.come("127.0.0.1", 0), None, "one may come free by itself");
    assert!(scene.come_after(LOGIN_TIME, "127.0.0.1", 0).is_some());
    assert_eq!(scene.gone(), [7], "the one that was open longest");
    scene.entry(2).enter(ConnectionPhase::Idle);
    scene.entry(2).rewind();
    let which = scene.places.len() - 1;
    scene.log_in(which, "bully");
    assert_eq!(scene.gone(), [2, 7], "one that is idle goes at once");
}

#[test]
fn of_one_address_there_are_no_more_than_a_share_and_each_has_time_to_log_in() {
    let mut scene = Scene::new(8);
    for _ in 0..6 {
        scene.come("127.0.0.1", 0).unwrap();
    }
    assert_eq!(scene.come("127.0.0.1", 0), None, "all came only now");
    assert!(scene.come("127.0.0.2", 0).is_some());
    let mut scene = Scene::new(8);
    for number in 0..6 {
        scene.come("2001:db8::1", 10 - number).unwrap();
    }
    assert!(scene.come("2001:db8::2", 0).is_some(), "the same network");
    assert_eq!(scene.gone(), [0]);
}

#[test]
fn whoever_comes_alone_has_time_to_log_in_however_many_come_from_elsewhere() {
    let mut scene = Scene::new(8);
    for number in 0..6 {
        let which = scene.come("127.0.0.1", 10 + number).unwrap();
        scene.log_in(which, "bully");
    }
    scene.come("127.0.1.1", 0).unwrap();
    scene.come("127.0.1.2", 0).unwrap();
    assert_eq!(scene.come("127.0.1.3", 0), None, "nobody had his time");
    assert_eq!(scene.gone(), [0; 0]);
}

#[test]
fn of_those_who_may_go_the_first_goes() {
    let mut scene = Scene::new(8);
    for name in ["bully", "bully", "bully", "bully", "bully", "honest", "busy"] {
        let which = scene.come("127.0.0.1", 10).unwrap();
        scene.log_in(which, name);
        if name != "busy" {
            scene.entry(which).enter(ConnectionPhase::Idle);
            scene.entry(which).rewind();
        }
    }
    scene.come("127.0.1.1", 0).unwrap();
    assert!(scene.come("127.0.1.2", 0).is_some(), "not the one that came only now");
    let gone = scene.gone();
    assert!(matches!(gone.as_slice(), [0..=4]), "one of the largest crowd: {gone:?}");
    // A quarter of the places have no login now: no more are taken from those who have one.
    assert_eq!(scene.come("127.0.1.3", 0), None);
    // Not for one of many without a login either.
    let mut scene = Scene::new(16);
    for number in 0..13 {
        let which = scene.come("127.0.0.1", 10).unwrap();
        scene.log_in(which, &format!("honest{number}"));
        scene.entry(which).enter(ConnectionPhase::Idle);
        scene.entry(which).rewind();
    }
    for _ in 0..3 {
        scene.come("127.0.1.1", 0).unwrap();
    }
    assert_eq!(scene.come("127.0.1.1", 0), None);
    assert!(scene.come("127.0.1.2", 0).is_some(), "one of three for one of none");
    assert!(matches!(scene.gone().as_slice(), [13..=15]));
}

#[test]
fn who_logs_in_on_a_connection_that_gave_way_has_none() {
    let mut scene = Scene::new(2);
    let [first, second] = ["127.0.0.1", "127.0.0.2"].map(|from| scene.come(from, 10).unwrap());
    scene.log_in(second, "user");
    scene.come("127.0.0.3", 10).unwrap();
    assert_eq!(scene.gone(), [first]);
    scene.log_in(first, "late");
    let mut counts = scene.table.lock().counts();
    counts.retain(|(owner, _)| matches!(owner, Owner::User(_)));
    assert_eq!(counts, [(Owner::User("user".parse().unwrap()), 1)]);
    scene.places.clear();
    assert_eq!(scene.table.lock().counts(), []);
}

#[test]
fn who_waits_for_a_first_login_stands_still_only_after_a_while() {
    let waiting = |scene: &mut Scene, from: &str, seconds| {
        let login = scene.come(from, seconds).unwrap();
        scene.entry(login).enter(ConnectionPhase::Busy);
        scene.entry(login).rewind();
        login
    };
    let mut scene = Scene::new(8);
    let login = waiting(&mut scene, "127.0.0.1", 3);
    for _ in 0..4 {
        scene.come("127.0.0.1", 0).unwrap();
    }
    // Who says nothing goes before.
    let silent = scene.come("127.0.0.1", 3).unwrap();
    assert_eq!(scene.come("127.0.0.1", 0).map(|_| scene.gone()), Some(vec![silent]));
    assert_eq!(scene.come("127.0.0.1", 0), None);
    assert!(!scene.entry(login).is_evicted());
    // One from each of many networks: who has waited longest.
    let mut scene = Scene::new(8);
    for number in 0..8 {
        waiting(&mut scene, &format!("127.0.1.{number}"), 20 - number);
    }
    assert!(scene.come("127.0.0.1", 0).is_some());
    assert_eq!(scene.gone(), [0]);
}

#[test]
fn however_many_hold_on_to_places_together_somebody_else_gets_one() {
    for owners in [1, 2, 4, 8] {
        let mut scene = Scene::new(8);
        for number in 0..8 {
            let which = scene.come(&format!("127.0.0.{number}"), 10 + number).unwrap();
            scene.log_in(which, &format!("bully{}", number % owners));
        }
        assert_eq!(scene.come("127.0.1.1", 0), None, "{owners}: one may come free by itself");
        assert!(scene.come_after(LOGIN_TIME, "127.0.1.1", 0).is_some(), "{owners}");
        assert_eq!(scene.gone().len(), 1, "{owners}");
    }
}

#[test]
fn an_upload_that_gave_way_is_told_so_although_more_of_it_came_just_then() {
    let scene_after = |phase: ConnectionPhase| {
        let mut scene = Scene::new(2);
        let which = scene.come("127.0.0.1", 10).unwrap();
        scene.log_in(which, "bully");
        let entry = scene.entry(which);
        let resting = entry.rest.begin();
        entry.evict();
        drop(resting);
        entry.enter(phase);
        entry.gave_up_after().is_some()
    };
    assert!(scene_after(ConnectionPhase::Busy));
    assert!(!scene_after(ConnectionPhase::Flushing), "it has its answer");
    let mut scene = Scene::new(2);
    let which = scene.come("127.0.0.1", 10).unwrap();
    scene.log_in(which, "bully");
    scene.entry(which).evict();
    assert_eq!(scene.entry(which).gave_up_after(), None, "it did not rest");
}
