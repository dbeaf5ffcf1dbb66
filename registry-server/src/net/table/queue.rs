//! Newcomers for whom there is no place yet: in turn by their networks, so that however many come
//! from one, somebody from another is the next but few; and every second place is for those from
//! where somebody logged in already, however many networks the others come from. Whoever has sent
//! nothing yet gets none: he would only hold it.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::SETTLED_TIME;
use super::known_networks::KnownNetworks;
use crate::auth::network;

/// A connection of which it can be told whether anything came on it.
pub(super) trait Speaker {
    /// Whether something came, were it the end, as far as it is known.
    fn has_spoken(&self) -> bool;

    /// Whether nothing has come up to now.
    fn is_silent(&self) -> bool;
}

impl Speaker for TcpStream {
    fn has_spoken(&self) -> bool {
        // What is known of it, without asking the system.
        self.try_io(Interest::READABLE, || Ok(())).is_ok()
    }

    fn is_silent(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(recv(self, &mut [0_u8], flags), Err(Errno::AGAIN))
    }
}

/// Somebody who waits.
pub(super) struct Newcomer<S> {
    pub(super) socket: S,
    pub(super) peer: SocketAddr,
    since: Instant,
}

/// All who wait.
pub(super) struct Queue<S> {
    /// Whose turn it is, one after the other.
    turns: VecDeque<IpAddr>,
    /// Those of each network, the oldest first; of none there are none.
    networks: HashMap<IpAddr, VecDeque<Newcomer<S>>>,
    count: usize,
    /// From where somebody logged in.
    pub(super) known: KnownNetworks,
    /// Whether the last one who got a place came from there.
    was_known: bool,
    /// How many got a place so far, those who did not have to wait for it among them.
    pub(super) seated: u64,
    /// How quickly they do.
    pace: Option<Pace>,
}

/// How quickly places changed hands when it was measured the last time.
struct Pace {
    since: Instant,
    /// How many had got a place by then.
    seated: u64,
    is_quick: bool,
}

impl<S> Default for Queue<S> {
    fn default() -> Self {
        Self {
            turns: VecDeque::new(),
            networks: HashMap::new(),
            count: 0,
            known: KnownNetworks::default(),
            was_known: false,
            seated: 0,
            pace: None,
        }
    }
}

impl<S: Speaker> Queue<S> {
    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Lets somebody wait. With more than `most` the last one of the network that has most of them
    /// is dropped, of one that is not known before others, and true is returned.
    pub(super) fn push(&mut self, socket: S, peer: SocketAddr, most: usize) -> bool {
        let network = network(peer.ip());
        let own = self.networks.entry(network).or_default();
        if own.is_empty() {
            self.turns.push_back(network);
        }
        own.push_back(Newcomer { socket, peer, since: Instant::now() });
        self.count += 1;
        let is_too_many = self.count > most;
        if is_too_many {
            self.drop_one();
        }
        is_too_many
    }

    /// Takes the next one for whom there is room, with what `room` says of it, given his network
    /// and how long he has waited. A network whose turn it was is the last one then.
    pub(super) fn next<R>(
        &mut self,
        mut room: impl FnMut(IpAddr, Duration) -> Option<R>,
    ) -> Option<(R, Newcomer<S>)> {
        let mut found = self.turns.iter().enumerate().filter_map(|(turn, network)| {
            let own = self.networks.get(network)?;
            let first = own.iter().position(|newcomer| newcomer.socket.has_spoken())?;
            let room = room(*network, own[first].since.elapsed())?;
            Some((self.known.contains(network), turn, first, room))
        });
        let candidate = found.next()?;
        let (is_known, turn, first, room) = match candidate.0 == self.was_known {
            true => found.find(|other| other.0 != self.was_known).unwrap_or(candidate),
            false => candidate,
        };
        self.was_known = is_known;
        let network = self.turns.remove(turn)?;
        let newcomer = self.networks.get_mut(&network)?.remove(first)?;
        self.count -= 1;
        self.seated += 1;
        match self.networks.get(&network).is_some_and(|own| !own.is_empty()) {
            true => self.turns.push_back(network),
            false => drop(self.networks.remove(&network)),
        }
        Some((room, newcomer))
    }

    /// Whether whoever comes next had better be left to the system's queue for now: `most` wait
    /// here, each with something to say, and places change hands so quickly that nobody can be
    /// holding them. Otherwise there would be no end to it, and whoever comes from elsewhere would
    /// not be seen behind them.
    pub(super) fn is_worth_waiting_for(&mut self, most: usize, places: usize) -> bool {
        if self.count < most {
            return false;
        }
        // Once in a while it is not known yet, and believed.
        let new = || Pace { since: Instant::now(), seated: self.seated, is_quick: true };
        let pace = self.pace.get_or_insert_with(new);
        let elapsed = pace.since.elapsed();
        if elapsed >= TRUST_TIME {
            *pace = new();
        } else if elapsed >= MEASURE_TIME {
            let is_quick = self.seated - pace.seated > places as u64;
            *pace = Pace { is_quick, ..new() };
        }
        pace.is_quick
    }

    /// With `most` who wait, drops those of them who could have sent something and did not, and
    /// says how many they were.
    pub(super) fn drop_silent(&mut self, most: usize) -> usize {
        if self.count < most {
            return 0;
        }
        self.drop_all(|newcomer| {
            newcomer.since.elapsed() >= SETTLED_TIME && newcomer.socket.is_silent()
        })
    }

    /// Drops those who have waited for this long, and says how many they were.
    pub(super) fn drop_late(&mut self, time: Duration) -> usize {
        self.drop_all(|newcomer| newcomer.since.elapsed() >= time)
    }

    fn drop_all(&mut self, is_to_go: impl Fn(&Newcomer<S>) -> bool) -> usize {
        let before = self.count;
        for own in self.networks.values_mut() {
            own.retain(|newcomer| !is_to_go(newcomer));
        }
        self.count = self.networks.values().map(VecDeque::len).sum();
        if self.count < before {
            self.networks.retain(|_, own| !own.is_empty());
            self.turns.retain(|network| self.networks.contains_key(network));
        }
        before - self.count
    }

    fn drop_one(&mut self) {
        let known = &self.known;
        let size =
            |(network, own): &(&IpAddr, &mut VecDeque<_>)| (own.len(), !known.contains(network));
        let Some((network, own)) = self.networks.iter_mut().max_by_key(size) else {
            return;
        };
        let network = *network;
        own.pop_back();
        self.count -= 1;
        if own.is_empty() {
            self.networks.remove(&network);
            self.turns.retain(|turn| *turn != network);
        }
    }
}

/// How long it is measured: places of those who hold them are free in half of that.
const MEASURE_TIME: Duration = Duration::from_secs(2);
/// How long what was measured is believed.
const TRUST_TIME: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// A number below this has something to say.
    impl Speaker for usize {
        fn has_spoken(&self) -> bool {
            *self < SILENT
        }

        fn is_silent(&self) -> bool {
            !self.has_spoken()
        }
    }

    const SILENT: usize = 100;

    fn peer(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 1)
    }

    /// Who comes next, until there is room for nobody.
    fn all(queue: &mut Queue<usize>, room: impl Fn(IpAddr) -> bool) -> Vec<usize> {
        let next =
            || queue.next(|ip, _| room(ip).then_some(())).map(|(_, newcomer)| newcomer.socket);
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn networks_take_turns() {
        let mut queue = Queue::default();
        for (number, from) in
            ["127.0.0.2", "127.0.0.2", "127.0.0.2", "2001:db8::1"].iter().enumerate()
        {
            assert!(!queue.push(number, peer(from), 9));
        }
        assert!(!queue.push(4, peer("127.0.0.1"), 9));
        assert!(!queue.push(5, peer("2001:db8::2"), 9));
        let is_v4 = |ip: IpAddr| ip.is_ipv4();
        assert_eq!(all(&mut queue, is_v4), [0, 4, 1, 2], "who has no room holds up nobody");
        assert_eq!((all(&mut queue, |_| true), queue.count()), (vec![3, 5], 0));
        assert!(queue.turns.is_empty() && queue.networks.is_empty());
    }

    #[test]
    fn the_largest_crowd_makes_room_out_of_itself() {
        let mut queue = Queue::default();
        for number in 0..10 {
            assert_eq!(queue.push(number, peer("127.0.0.2"), 3), number >= 3);
        }
        assert!(queue.push(10, peer("127.0.0.1"), 3), "one of the others was dropped");
        assert_eq!(queue.count(), 3);
        assert_eq!(all(&mut queue, |_| true), [0, 10, 1]);
    }

    #[test]
    fn every_second_place_is_for_those_from_where_somebody_logged_in() {
        let mut queue = Queue::default();
        queue.known.note("127.0.0.9".parse().unwrap());
        for number in 0..4 {
            queue.push(number, peer(&format!("127.0.1.{number}")), 9);
        }
        queue.push(8, peer("127.0.0.9"), 9);
        queue.push(9, peer("127.0.0.9"), 9);
        assert_eq!(all(&mut queue, |_| true), [8, 0, 9, 1, 2, 3]);
        for number in 0..4 {
            queue.push(number, peer(&format!("127.0.1.{number}")), 9);
        }
        queue.push(9, peer("127.0.0.9"), 9);
        assert!(queue.push(5, peer("127.0.1.5"), 5));
        assert!(all(&mut queue, |_| true).contains(&9), "one of the others was dropped");
    }

    #[test]
    fn who_says_nothing_gets_no_place_and_is_the_first_to_go() {
        let mut queue = Queue::default();
        for number in [SILENT, 0, SILENT + 1, 1] {
            queue.push(number, peer("127.0.0.1"), 4);
        }
        assert_eq!(queue.drop_silent(4), 0, "they came only now");
        assert_eq!(all(&mut queue, |_| true), [0, 1]);
        std::thread::sleep(SETTLED_TIME);
        assert_eq!(queue.drop_silent(3), 0, "one more may wait");
        assert_eq!((queue.drop_silent(2), queue.count()), (2, 0));
        assert!(queue.turns.is_empty() && queue.networks.is_empty());
    }

    #[test]
    fn a_full_queue_is_waited_for_as_long_as_it_moves() {
        let mut queue = Queue::default();
        let come = |queue: &mut Queue<usize>| queue.push(0, peer("127.0.0.1"), 1);
        assert!(!queue.is_worth_waiting_for(1, 2), "it is empty");
        come(&mut queue);
        assert!(queue.is_worth_waiting_for(1, 2), "nobody knows yet");
        for _ in 0..3 {
            assert!(queue.next(|_, _| Some(())).is_some());
            come(&mut queue);
        }
        let later = |queue: &mut Queue<usize>, time| queue.pace.as_mut().unwrap().since -= time;
        later(&mut queue, MEASURE_TIME);
        assert!(queue.is_worth_waiting_for(1, 2), "three went, and there are two places");
        later(&mut queue, MEASURE_TIME);
        assert!(!queue.is_worth_waiting_for(1, 2), "nobody went");
        assert!(queue.next(|_, _| Some(())).is_some());
        come(&mut queue);
        assert!(!queue.is_worth_waiting_for(1, 2), "one alone, in no time");
        later(&mut queue, TRUST_TIME);
        assert!(queue.is_worth_waiting_for(1, 2), "that was long ago");
    }

    #[test]
    fn nobody_waits_for_longer_than_that() {
        let mut queue = Queue::default();
        queue.push(0, peer("127.0.0.1"), 3);
        assert_eq!(queue.drop_late(Duration::from_secs(3600)), 0);
        assert_eq!((queue.drop_late(Duration::ZERO), queue.count()), (1, 0));
        assert!(queue.turns.is_empty() && queue.networks.is_empty());
    }
}
