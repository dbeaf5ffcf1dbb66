//! Newcomers for whom there is no place yet: in turn by their networks, so that however many come
//! from one, somebody from another is the next but few.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::auth::network;

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
}

impl<S> Default for Queue<S> {
    fn default() -> Self {
        Self { turns: VecDeque::new(), networks: HashMap::new(), count: 0 }
    }
}

impl<S> Queue<S> {
    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Lets somebody wait. With more than `most` the last one of the network that has most of them
    /// is dropped, and true is returned.
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

    /// Takes the next one for whom there is room, with what `room` says of it. A network whose turn
    /// it was is the last one then.
    pub(super) fn next<R>(
        &mut self,
        mut room: impl FnMut(IpAddr) -> Option<R>,
    ) -> Option<(R, Newcomer<S>)> {
        let found = self.turns.iter().enumerate();
        let (turn, room) =
            found.filter_map(|(turn, ip)| room(*ip).map(|room| (turn, room))).next()?;
        let network = self.turns.remove(turn)?;
        let newcomer = self.networks.get_mut(&network)?.pop_front()?;
        self.count -= 1;
        match self.networks.get(&network).is_some_and(|own| !own.is_empty()) {
            true => self.turns.push_back(network),
            false => drop(self.networks.remove(&network)),
        }
        Some((room, newcomer))
    }

    /// Drops those who have waited for this long, and says how many they were.
    pub(super) fn drop_late(&mut self, time: Duration) -> usize {
        let before = self.count;
        for own in self.networks.values_mut() {
            while own.front().is_some_and(|newcomer| newcomer.since.elapsed() >= time) {
                own.pop_front();
                self.count -= 1;
            }
        }
        if self.count < before {
            self.networks.retain(|_, own| !own.is_empty());
            self.turns.retain(|network| self.networks.contains_key(network));
        }
        before - self.count
    }

    fn drop_one(&mut self) {
        let Some((network, own)) = self.networks.iter_mut().max_by_key(|(_, own)| own.len()) else {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 1)
    }

    /// Who comes next, until there is room for nobody.
    fn all(queue: &mut Queue<usize>, room: impl Fn(IpAddr) -> bool) -> Vec<usize> {
        let next = || queue.next(|ip| room(ip).then_some(())).map(|(_, newcomer)| newcomer.socket);
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
    fn nobody_waits_for_longer_than_that() {
        let mut queue = Queue::default();
        queue.push(0, peer("127.0.0.1"), 3);
        assert_eq!(queue.drop_late(Duration::from_secs(3600)), 0);
        assert_eq!((queue.drop_late(Duration::ZERO), queue.count()), (1, 0));
        assert!(queue.turns.is_empty() && queue.networks.is_empty());
    }
}
