//! What a disk may hold after a power cut: everything that was synced, and of the rest whatever
//! the model allows.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};

use super::record::Record;
use super::tree::{Change, Inode, Tree};

/// What becomes of an event that nothing had made durable when the power went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It reached the disk.
    Applied,
    /// It did not.
    Lost,
    /// Of the bytes of a write, some sectors reached the disk; this number says which. A name is
    /// there whole.
    Torn(u64),
    /// Of a write that made the file longer, the length reached the disk and the bytes did not:
    /// they read as zeros.
    Zeroed,
}

/// The fates of all events that were not durable.
#[derive(Clone, Debug)]
pub(super) struct Fates {
    /// Of those that have no fate of their own.
    pub(super) others: Fate,
    /// Of single events, by their numbers.
    pub(super) own: HashMap<usize, Fate>,
}

impl Fates {
    /// The same for all.
    pub(super) fn all(others: Fate) -> Self {
        Self { others, own: HashMap::new() }
    }

    /// Another fate for these.
    pub(super) fn but(mut self, events: &[usize], fate: Fate) -> Self {
        self.own.extend(events.iter().map(|&event| (event, fate)));
        self
    }

    fn of(&self, event: usize) -> Fate {
        self.own.get(&event).copied().unwrap_or(self.others)
    }
}

/// A disk at one moment of a record.
pub(super) struct Disk<'a> {
    record: &'a Record,
    /// Syncs that are taken out of the record.
    dropped: HashSet<usize>,
    /// How many events have happened.
    at: usize,
    files: HashMap<Inode, File>,
    /// The names that are durable for certain, and what happened to names since, each with
    /// whether it is durable.
    names: Tree,
    later_names: VecDeque<(usize, bool)>,
}

#[derive(Default)]
struct File {
    durable: Vec<u8>,
    /// The events since the last sync.
    pending: Vec<usize>,
}

/// What a disk holds: directories before what is in them, by their paths.
pub(super) struct State<'a>(Vec<(String, Entry<'a>)>);

enum Entry<'a> {
    Directory,
    File(Cow<'a, [u8]>),
}

impl State<'_> {
    /// Makes all of it in an empty directory.
    pub(super) fn lay_out(&self, directory: &Path) {
        for (path, entry) in &self.0 {
            let path = directory.join(path);
            match entry {
                Entry::Directory => fs::create_dir(path).expect("a directory"),
                Entry::File(content) => fs::write(path, content).expect("a file"),
            }
        }
    }

    /// A number that another state has only by a chance that nobody meets.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        for (path, entry) in &self.0 {
            let content = match entry {
                Entry::Directory => [].as_slice(),
                Entry::File(content) => content,
            };
            let kind = if matches!(entry, Entry::Directory) { "directory" } else { "file" };
            context.update(format!("{kind} {path} {} ", content.len()).as_bytes());
            context.update(content);
        }
        context.finish().as_ref().try_into().expect("32 bytes")
    }
}

impl<'a> Disk<'a> {
    /// The disk before the first event, as it is if these syncs never happened.
    pub(super) fn new(record: &'a Record, dropped: &[usize]) -> Self {
        let files = record.contents.iter().enumerate().filter_map(|(inode, content)| {
            Some((inode, File { durable: content.clone()?, pending: Vec::new() }))
        });
        Self {
            record,
            dropped: dropped.iter().copied().collect(),
            at: 0,
            files: files.collect(),
            names: record.base.clone(),
            later_names: VecDeque::new(),
        }
    }

    /// Lets events happen until there were so many.
    pub(super) fn advance_to(&mut self, count: usize) {
        while self.at < count {
            let change = &self.record.events[self.at].change;
            match *change {
                Change::Write { file, .. } | Change::Resize { file, .. } => {
                    self.files.entry(file).or_default().pending.push(self.at);
                }
                // Nothing of a file that was published waits for a sync.
                Change::Rot { file, offset, byte } => {
                    self.files.entry(file).or_default().durable[offset] = byte;
                }
                Change::Sync { of, before, .. } => {
                    if !self.dropped.contains(&self.at) {
                        self.sync(of, before);
                    }
                }
                _ => self.later_names.push_back((self.at, false)),
            }
            self.at += 1;
        }
    }

    /// The events that are not durable, in order.
    pub(super) fn unsynced(&self) -> Vec<usize> {
        let names = self.later_names.iter().filter(|(_, is_durable)| !is_durable);
        let names = names.map(|(event, _)| *event);
        let data = self.files.values().flat_map(|file| file.pending.iter().copied());
        let mut unsynced: Vec<_> = names.chain(data).collect();
        unsynced.sort_unstable();
        unsynced
    }

    /// The events that a sync makes durable which comes next, in order.
    pub(super) fn covered_by(&self, sync: usize) -> Vec<usize> {
        let events = &self.record.events;
        let Change::Sync { of, before, .. } = events[sync].change else { return Vec::new() };
        let is_covered =
            |event: &usize| *event < before && events[*event].change.owner() == Some(of);
        self.unsynced().into_iter().filter(is_covered).collect()
    }

    /// What the disk holds after a power cut at this moment.
    pub(super) fn state(&self, fates: &Fates) -> State<'_> {
        let mut tree = self.names.clone();
        for &(event, is_durable) in &self.later_names {
            if is_durable || fates.of(event) != Fate::Lost {
                tree.apply(&self.record.events[event].change);
            }
        }
        let mut entries = Vec::new();
        tree.walk(&mut |path, inode| {
            let entry = if tree.is_directory(inode) {
                Entry::Directory
            } else {
                Entry::File(self.content(inode, fates))
            };
            entries.push((path.to_owned(), entry));
        });
        State(entries)
    }

    fn content(&self, inode: Inode, fates: &Fates) -> Cow<'_, [u8]> {
        let Some(file) = self.files.get(&inode) else { return Cow::Borrowed(&[]) };
        if file.pending.iter().all(|&event| fates.of(event) == Fate::Lost) {
            return Cow::Borrowed(&file.durable);
        }
        let mut content = file.durable.clone();
        for &event in &file.pending {
            apply(&self.record.events[event].change, fates.of(event), &mut content);
        }
        Cow::Owned(content)
    }

    fn sync(&mut self, of: Inode, before: usize) {
        if let Some(file) = self.files.get_mut(&of) {
            let covered = file.pending.partition_point(|&event| event < before);
            for event in file.pending.drain(..covered) {
                apply(&self.record.events[event].change, Fate::Applied, &mut file.durable);
            }
        }
        for (event, is_durable) in &mut self.later_names {
            let owner = self.record.events[*event].change.owner();
            *is_durable |= *event < before && owner == Some(of);
        }
        while let Some((event, true)) = self.later_names.front() {
            self.names.apply(&self.record.events[*event].change);
            self.later_names.pop_front();
        }
    }
}

/// What an event and its fate do to the content of its file.
fn apply(change: &Change, fate: Fate, content: &mut Vec<u8>) {
    match (change, fate) {
        (_, Fate::Lost) => {}
        (Change::Resize { length, .. }, _) => content.resize(*length, 0),
        (Change::Write { offset, bytes, .. }, Fate::Applied) => put(content, *offset, bytes),
        (Change::Write { offset, bytes, .. }, Fate::Zeroed) => {
            content.resize(content.len().max(offset + bytes.len()), 0);
        }
        (Change::Write { offset, bytes, .. }, Fate::Torn(seed)) => {
            let mut random = fastrand::Rng::with_seed(seed);
            // Half of the tears are one cut: all before it is there.
            let sectors = (offset + bytes.len()).div_ceil(SECTOR) - offset / SECTOR;
            let cut = random.bool().then(|| random.usize(..sectors));
            let mut start = 0;
            for sector in 0..sectors {
                let end = ((offset / SECTOR + sector + 1) * SECTOR - offset).min(bytes.len());
                if cut.map_or_else(|| random.bool(), |cut| sector < cut) {
                    put(content, offset + start, &bytes[start..end]);
                }
                start = end;
            }
        }
        _ => {}
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    content.resize(content.len().max(end), 0);
    content[offset..end].copy_from_slice(bytes);
}

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;
