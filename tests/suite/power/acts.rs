//! What clients asked for and were told, and what must therefore be there after a power cut.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Something that a store has or has not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A blob, by repository and digest. Its value is its size.
    Blob(String, String),
    /// A manifest, by repository and digest. Its value is its media type.
    Manifest(String, String),
    /// The same of a manifest that collection may take, or not.
    Child(String, String),
    /// A tag, by repository and name. Its value is the digest that it names.
    Tag(String, String),
    /// A user, by name. The value is the role.
    User(String),
    /// A file of a first start, by its path in the store's directory. Its value is its content.
    File(String),
    /// Whether a deleted manifest can be restored, by repository and digest.
    Undo(String, String),
    /// Whether a blob that the store names has no good file, by digest.
    Bad(String),
    /// Whether a blob is known to be lost, by digest.
    Lost(String),
}

/// The value of what is so, and has no other value.
pub(super) const YES: &str = "yes";
/// The value of what may be so or not.
pub(super) const EITHER: &str = "either";

/// What becomes of each key; none if it goes.
pub(super) type Effects = Vec<(Key, Option<String>)>;

/// One request with its effects, all of which happen or none.
#[derive(Clone, Debug)]
pub(super) struct Act {
    /// When it was sent, in microseconds since 1970.
    began: u64,
    /// When its acknowledgement had come; none if that never came.
    ended: Option<u64>,
    effects: Effects,
}

/// All requests. Those that are under way at the same time are about different keys, unless they
/// want the same. And what the manifests need that were pushed.
#[derive(Debug, Default)]
pub(super) struct Acts(Mutex<Vec<Act>>, Mutex<Vec<(Key, Vec<Key>)>>);

impl Acts {
    /// Sends a request with these effects. It counts as acknowledged when `send` returns.
    pub(super) fn take<T>(&self, effects: Effects, send: impl FnOnce() -> T) -> T {
        let index = self.with(|acts| {
            acts.push(Act { began: now(), ended: None, effects });
            acts.len() - 1
        });
        let answer = send();
        self.with(|acts| acts[index].ended = Some(now()));
        answer
    }

    /// Sends a request that tells only when it is over what it did. Each of its effects happens
    /// whole or not at all, and independently of the others.
    pub(super) fn hear<T>(&self, send: impl FnOnce() -> (Vec<Effects>, T)) -> T {
        let began = now();
        let (told, answer) = send();
        let ended = Some(now());
        self.with(|acts| {
            acts.extend(told.into_iter().map(|effects| Act { began, ended, effects }));
        });
        answer
    }

    /// Notes what was there before everything else.
    pub(super) fn given(&self, effects: Effects) {
        self.happened(0, effects);
    }

    /// Notes what somebody did to the disk at this time, while the registry rested.
    pub(super) fn happened(&self, time: u64, effects: Effects) {
        self.with(|acts| acts.push(Act { began: time, ended: Some(time), effects }));
    }

    /// Notes that collections ran from that time on until now, the last of them alone: of the
    /// blobs that no manifest of their repository needs now, each went at some time between.
    pub(super) fn collected(&self, began: u64) {
        let ended = Some(now());
        let values = self.expected_at(u64::MAX).values;
        let is_there = |key: &Key| values.get(key).is_some_and(Option::is_some);
        let needs = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let is_needed = |blob: &Key| {
            needs.iter().any(|(manifest, blobs)| is_there(manifest) && blobs.contains(blob))
        };
        let gone = values.keys().filter(|key| matches!(key, Key::Blob(..)) && !is_needed(key));
        let effects = gone.map(|key| vec![(key.clone(), None)]);
        self.with(|acts| acts.extend(effects.map(|effects| Act { began, ended, effects })));
    }

    /// Notes which blobs a manifest needs.
    pub(super) fn needs(&self, manifest: Key, blobs: Vec<Key>) {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).push((manifest, blobs));
    }

    /// What must hold after a power cut at this time.
    pub(super) fn expected_at(&self, time: u64) -> Expected {
        let mut acts = self.with(|acts| acts.clone());
        let mut values: BTreeMap<Key, Option<String>> = BTreeMap::new();
        for (key, _) in acts.iter().flat_map(|act| &act.effects) {
            values.insert(key.clone(), None);
        }
        acts.retain(|act| act.began <= time);
        acts.sort_by_key(|act| act.ended.unwrap_or(u64::MAX));
        let acknowledged = acts.partition_point(|act| act.ended.is_some_and(|end| end <= time));
        let under_way = acts.split_off(acknowledged);
        values.extend(acts.into_iter().flat_map(|act| act.effects));
        Expected { values, under_way: under_way.into_iter().map(|act| act.effects).collect() }
    }

    /// How many requests had ended at a time. Of two times at which it is the same, no more is
    /// expected at the later one: all that can differ is that more is under way.
    pub(super) fn ended_at(&self, time: u64) -> usize {
        self.with(|acts| acts.iter().filter(|act| act.ended.is_some_and(|end| end <= time)).count())
    }

    /// The times at which acknowledgements came, in order.
    pub(super) fn acknowledgements(&self) -> Vec<u64> {
        let mut ends: Vec<_> = self.with(|acts| acts.iter().filter_map(|act| act.ended).collect());
        ends.sort_unstable();
        ends
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<Act>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a store must hold.
#[derive(Debug)]
pub(super) struct Expected {
    /// For every key that any client ever used, its value as acknowledged last.
    values: BTreeMap<Key, Option<String>>,
    /// What may have happened besides.
    under_way: Vec<Effects>,
}

impl Expected {
    /// Whether a key has one value that it must have.
    pub(super) fn is_certain(&self, key: &Key) -> bool {
        let is_open = self.under_way.iter().flatten().any(|(open, _)| open == key);
        !is_open && self.values[key].as_deref() != Some(EITHER)
    }

    /// Every key.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.values.keys()
    }

    /// Holds what is there against it: what was acknowledged is so, and each request that was
    /// under way happened whole or not at all.
    pub(super) fn judge(&self, found: &BTreeMap<Key, Option<String>>) -> Result<(), String> {
        let mut open: BTreeMap<&Key, ()> = BTreeMap::new();
        for effects in &self.under_way {
            let is = |key: &Key, value: &Option<String>| is_so(&found[key], value);
            let happened = effects.iter().all(|(key, after)| is(key, after));
            let did_not = effects.iter().all(|(key, _)| is(key, &self.values[key]));
            if !happened && !did_not {
                let now: Vec<_> = effects.iter().map(|(key, _)| (key, &found[key])).collect();
                return Err(format!("half of {effects:?} happened: {now:?}"));
            }
            open.extend(effects.iter().map(|(key, _)| (key, ())));
        }
        for (key, value) in &self.values {
            if !open.contains_key(key) && !is_so(&found[key], value) {
                return Err(format!("{key:?} should be {value:?}, and is {:?}", found[key]));
            }
        }
        Ok(())
    }
}

fn is_so(found: &Option<String>, wanted: &Option<String>) -> bool {
    wanted.as_deref() == Some(EITHER) || found == wanted
}

/// The time on the clock that strace reads, too, in microseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    u64::try_from(since.as_micros()).expect("a time before the year 500,000")
}
