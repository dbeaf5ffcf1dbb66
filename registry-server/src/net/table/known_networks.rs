//! Networks from which somebody logged in: whoever comes from there waits for a place beside those
//! from elsewhere, however many networks these come from.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;

/// The networks from which somebody logged in, those of them that were the last to become known.
#[derive(Default)]
pub(super) struct KnownNetworks {
    networks: HashSet<IpAddr>,
    order: VecDeque<IpAddr>,
}

impl KnownNetworks {
    /// Notes that somebody logged in from there.
    pub(super) fn note(&mut self, network: IpAddr) {
        if !self.networks.insert(network) {
            return;
        }
        self.order.push_back(network);
        if self.order.len() > MOST
            && let Some(first) = self.order.pop_front()
        {
            self.networks.remove(&first);
        }
    }

    /// Whether somebody did.
    pub(super) fn contains(&self, network: &IpAddr) -> bool {
        self.networks.contains(network)
    }
}

/// The most networks that are remembered: as many as a site has nodes.
const MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_remembered() {
        let mut known = KnownNetworks::default();
        let network = |number: usize| IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
        for number in 0..=MOST {
            known.note(network(number));
            known.note(network(number));
        }
        assert!(!known.contains(&network(0)) && known.contains(&network(1)));
        assert_eq!((known.networks.len(), known.order.len()), (MOST, MOST));
    }
}
