//! Queues that take turns.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Queues that take turns. Those that are empty are not kept.
pub(super) struct Ring<K, Q> {
    order: VecDeque<K>,
    queues: HashMap<K, Q>,
}

/// Something that can be empty.
pub(super) trait Emptiness {
    /// Whether it is.
    fn is_empty(&self) -> bool;
}

impl<T> Emptiness for VecDeque<T> {
    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }
}

impl<K, Q> Emptiness for Ring<K, Q> {
    fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }
}

impl<K, Q> Default for Ring<K, Q> {
    fn default() -> Self {
        Self { order: VecDeque::new(), queues: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash, Q: Default + Emptiness> Ring<K, Q> {
    /// The queue of a key. If it is empty afterwards, it is to be tidied.
    pub(super) fn of(&mut self, key: K) -> &mut Q {
        self.queues.entry(key).or_insert_with_key(|key| {
            self.order.push_back(key.clone());
            Q::default()
        })
    }

    /// Takes from the queue whose turn it is, which is the last one then.
    pub(super) fn next<T>(&mut self, take: impl FnOnce(&mut Q) -> Option<T>) -> Option<T> {
        let key = self.order.pop_front()?;
        let queue = self.queues.get_mut(&key)?;
        let taken = take(queue);
        match queue.is_empty() {
            true => drop(self.queues.remove(&key)),
            false => self.order.push_back(key),
        }
        taken
    }

    /// Forgets a queue if it is empty.
    pub(super) fn tidy(&mut self, key: &K) {
        if self.queues.get(key).is_some_and(Q::is_empty) {
            self.queues.remove(key);
            self.order.retain(|other| other != key);
        }
    }

    /// All queues.
    #[cfg(test)]
    pub(super) fn values(&self) -> impl Iterator<Item = &Q> {
        self.queues.values()
    }
}
