//! Manifests that were read lately, whole, so that who asks for one again waits for no thread and
//! no disk: the nodes of a cluster all ask for the same few.
//!
//! It owns the bytes and how many there are. What it answers is what the database would say now:
//! [`versions`](super::versions) has the argument. What is not there is not remembered, and neither
//! is what is lost.
//!
//! Whoever looks holds one of several locks for as long as a look into a table takes, whatever is
//! remembered: what is given up is found by a hand that goes around, past those that were asked for
//! since it came by last, and past few of them each time.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci::{Reference, RepoName};

use super::versions::{Version, Versions};
use crate::db::key::RepoId;
use crate::db::manifest::StoredManifest;

/// The manifests that are remembered.
pub(crate) struct HotManifests {
    versions: Arc<Versions>,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    /// Bytes of the entries of one shard, at most.
    shard_bytes: usize,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<u64, Entry>,
    /// The keys of the entries in the order in which they may be given up, each once.
    queue: VecDeque<u64>,
    bytes: usize,
}

/// What somebody was answered.
struct Entry {
    name: RepoName,
    reference: Reference,
    repository: RepoId,
    /// What had been committed when it was read, at least.
    read: Version,
    manifest: Arc<StoredManifest>,
    /// Whether somebody asked for it since it was last considered for being given up.
    is_used: bool,
}

impl Entry {
    fn bytes(&self) -> usize {
        let StoredManifest { media_type, bytes, .. } = &*self.manifest;
        ENTRY_BYTES + 2 * self.name.as_str().len() + media_type.len() + bytes.len()
    }

    fn is_of(&self, name: &RepoName, reference: &Reference) -> bool {
        self.name == *name && self.reference == *reference
    }
}

impl HotManifests {
    /// Remembers so many bytes at most.
    pub(crate) fn new(versions: Arc<Versions>, most_bytes: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { versions, hasher: RandomState::new(), shards, shard_bytes: most_bytes / SHARDS }
    }

    /// Which commits a read will have seen that begins now.
    pub(crate) fn now(&self) -> Version {
        self.versions.now()
    }

    /// What a repository, if it is remembered, answers now to this reference.
    pub(crate) fn find(
        &self,
        name: &RepoName,
        reference: &Reference,
    ) -> Option<Arc<StoredManifest>> {
        let key = self.key(name, reference);
        let mut shard = self.shard(key);
        let entry = shard.entries.get_mut(&key).filter(|entry| entry.is_of(name, reference))?;
        if !self.versions.holds(entry.read, entry.repository) {
            return None;
        }
        entry.is_used = true;
        Some(Arc::clone(&entry.manifest))
    }

    /// Remembers what a repository answered to a read that began after `read` was taken.
    pub(crate) fn remember(
        &self,
        name: &RepoName,
        reference: &Reference,
        (read, repository): (Version, RepoId),
        manifest: &StoredManifest,
    ) {
        let key = self.key(name, reference);
        let entry = Entry {
            name: name.clone(),
            reference: reference.clone(),
            repository,
            read,
            manifest: Arc::new(manifest.clone()),
            is_used: false,
        };
        // One that needs more than a few of all places is not worth those that would go for it.
        if entry.bytes() > self.shard_bytes / FEW {
            return;
        }
        // What is given up is freed when nobody waits for the lock any more.
        let _given_up = self.shard(key).insert(key, entry, self.shard_bytes);
    }

    fn key(&self, name: &RepoName, reference: &Reference) -> u64 {
        self.hasher.hash_one((name, reference))
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, Shard> {
        let shard = usize::try_from(key % SHARDS as u64).unwrap_or_default();
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that are remembered.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        (0..SHARDS as u64).map(|shard| self.shard(shard).bytes).sum()
    }
}

impl Shard {
    /// Enters an entry, and returns those that it took the place of.
    fn insert(&mut self, key: u64, entry: Entry, most_bytes: usize) -> Vec<Entry> {
        let mut given_up = Vec::new();
        self.bytes += entry.bytes();
        match self.entries.insert(key, entry) {
            Some(before) => {
                self.bytes -= before.bytes();
                given_up.push(before);
            }
            None => self.queue.push_back(key),
        }
        let mut spared = 0;
        while self.bytes > most_bytes {
            let Some(next) = self.queue.pop_front() else { break };
            let is_used = |entry: &mut Entry| std::mem::take(&mut entry.is_used);
            if spared < MOST_SPARED && self.entries.get_mut(&next).is_some_and(is_used) {
                spared += 1;
                self.queue.push_back(next);
            } else if let Some(gone) = self.entries.remove(&next) {
                self.bytes -= gone.bytes();
                given_up.push(gone);
            }
        }
        given_up
    }
}

/// Locks, each over a part of what is remembered: more than there are processors that look at once,
/// mostly.
const SHARDS: usize = 16;
/// No manifest has more than one of so many parts of what is behind one lock.
const FEW: usize = 8;
/// Entries that were asked for and are passed over for that when one more comes, at most.
const MOST_SPARED: usize = 16;
/// What an entry costs beside what it holds: its key twice, the entry, and what the allocator adds.
const ENTRY_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use oci::{Algorithm, Digest, Tag};

    use super::*;
    use crate::in_memory::versions::Touched;

    const BYTES: usize = 1024;

    fn manifest(number: usize) -> StoredManifest {
        let bytes = Bytes::from(vec![u8::try_from(number % 256).unwrap(); BYTES]);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        StoredManifest { digest, media_type: "application/x".to_owned(), bytes }
    }

    fn tag(number: usize) -> Reference {
        Reference::Tag(format!("t{number}").parse::<Tag>().unwrap())
    }

    fn name() -> RepoName {
        "a/b".parse().unwrap()
    }

    fn hot(most_bytes: usize) -> HotManifests {
        HotManifests::new(Arc::new(Versions::new()), most_bytes)
    }

    fn remember(hot: &HotManifests, number: usize) {
        hot.remember(&name(), &tag(number), (hot.now(), RepoId::kept(1)), &manifest(number));
    }

    #[test]
    fn what_was_remembered_is_found_until_its_repository_changes() {
        let hot = hot(1 << 20);
        let found = |reference: &Reference| hot.find(&name(), reference).map(|it| (*it).clone());
        assert_eq!(found(&tag(1)), None);
        remember(&hot, 1);
        assert_eq!(found(&tag(1)), Some(manifest(1)));
        assert_eq!(found(&tag(2)), None);
        assert_eq!(hot.find(&"a/c".parse().unwrap(), &tag(1)), None);
        let mut touched = Touched::default();
        touched.add(RepoId::kept(2));
        drop(hot.versions.change(touched));
        assert_eq!(found(&tag(1)), Some(manifest(1)), "another repository changed");
        touched.add(RepoId::kept(1));
        let read = hot.now();
        drop(hot.versions.change(touched));
        assert_eq!(found(&tag(1)), None);
        // A read that may have been before the change is late.
        hot.remember(&name(), &tag(1), (read, RepoId::kept(1)), &manifest(1));
        assert_eq!(found(&tag(1)), None);
        hot.remember(&name(), &tag(1), (hot.now(), RepoId::kept(1)), &manifest(2));
        assert_eq!(found(&tag(1)), Some(manifest(2)));
    }

    #[test]
    fn so_many_bytes_are_remembered_and_no_more() {
        let each = ENTRY_BYTES + BYTES + 64;
        let hot = hot(10 * FEW * SHARDS * each);
        (0..10_000).for_each(|number| remember(&hot, number));
        assert!(hot.bytes() <= 10 * FEW * SHARDS * each, "{}", hot.bytes());
        let found = (0..10_000).filter(|number| hot.find(&name(), &tag(*number)).is_some());
        assert!(found.count() > 5 * FEW * SHARDS);
        for shard in 0..SHARDS as u64 {
            let shard = hot.shard(shard);
            assert_eq!(shard.queue.len(), shard.entries.len());
            assert_eq!(shard.bytes, shard.entries.values().map(Entry::bytes).sum::<usize>());
        }
        // The same again takes no more.
        let before = hot.bytes();
        (9_990..10_000).for_each(|number| remember(&hot, number));
        assert_eq!(hot.bytes(), before);
    }

    #[test]
    fn what_is_asked_for_again_and_again_stays() {
        let hot = hot(FEW * SHARDS * 2 * (ENTRY_BYTES + BYTES));
        remember(&hot, 0);
        for number in 1..10_000 {
            remember(&hot, number);
            assert!(hot.find(&name(), &tag(0)).is_some(), "after {number}");
        }
    }

    #[test]
    fn what_is_longer_than_a_few_others_is_not_remembered() {
        let hot = hot(SHARDS * FEW * BYTES);
        remember(&hot, 0);
        assert_eq!((hot.find(&name(), &tag(0)), hot.bytes()), (None, 0));
        assert_eq!(self::hot(0).bytes(), 0);
    }
}
