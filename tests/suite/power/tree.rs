//! The names below a directory: which directories and files there are, by numbers that stay the
//! same when a name changes, and what each kind of event does to them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// The number of a file or a directory.
pub(super) type Inode = usize;

/// The number of the directory at the root.
pub(super) const ROOT: Inode = 0;

/// Something that happened to the disk.
#[derive(Debug)]
pub(super) struct Event {
    /// A moment, in microseconds since 1970, at which it had not happened yet.
    pub(super) time: u64,
    /// What happened.
    pub(super) change: Change,
}

/// What can happen to the disk.
#[derive(Debug)]
pub(super) enum Change {
    /// Bytes went into a file.
    Write { file: Inode, offset: usize, bytes: Vec<u8> },
    /// A file got another length.
    Resize { file: Inode, length: usize },
    /// A name was made, for a new file or a new directory.
    Make { parent: Inode, name: Arc<str>, made: Inode, is_directory: bool },
    /// A name was removed.
    Remove { parent: Inode, name: Arc<str> },
    /// A file got another name.
    Rename { from: (Inode, Arc<str>), parent: Inode, name: Arc<str>, moved: Inode },
    /// A byte of a file became another on the disk itself.
    Rot { file: Inode, offset: usize, byte: u8 },
    /// A file or a directory was synced, which was at this path below the root then. It covers
    /// the events that had come before this number.
    Sync { of: Inode, path: String, before: usize },
}

impl Change {
    /// The file or directory whose sync makes this durable; none for what is durable at once.
    pub(super) fn owner(&self) -> Option<Inode> {
        match *self {
            Self::Write { file, .. } | Self::Resize { file, .. } => Some(file),
            Self::Make { parent, .. } | Self::Remove { parent, .. } => Some(parent),
            // A rename is one step of a journal, and that is with the directory of the new name.
            Self::Rename { parent, .. } => Some(parent),
            Self::Rot { .. } | Self::Sync { .. } => None,
        }
    }

    /// Whether it changes names and not the content of a file.
    pub(super) fn is_of_names(&self) -> bool {
        matches!(self, Self::Make { .. } | Self::Remove { .. } | Self::Rename { .. })
    }
}

/// Directories and what they name.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    directories: HashMap<Inode, BTreeMap<Arc<str>, Inode>>,
}

impl Tree {
    /// Reads what lies below a directory of this machine, and returns the content of its files,
    /// too.
    pub(super) fn scan(directory: &Path) -> (Self, Vec<Option<Vec<u8>>>) {
        let mut tree = Self::default();
        // One entry for each inode; directories have no content.
        let mut contents = vec![None];
        tree.directories.insert(ROOT, BTreeMap::new());
        let mut left = vec![(ROOT, directory.to_owned())];
        while let Some((parent, path)) = left.pop() {
            for entry in fs::read_dir(&path).expect("a directory") {
                let entry = entry.expect("an entry");
                let made = contents.len();
                let is_directory = entry.path().is_dir();
                let name: Arc<str> = entry.file_name().to_str().expect("a name in UTF-8").into();
                tree.make(parent, &name, made, is_directory);
                if is_directory {
                    left.push((made, entry.path()));
                    contents.push(None);
                } else {
                    contents.push(Some(fs::read(entry.path()).expect("a file")));
                }
            }
        }
        (tree, contents)
    }

    /// What a path below the root leads to.
    pub(super) fn find(&self, path: &str) -> Option<Inode> {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        parts.try_fold(ROOT, |at, part| self.directories.get(&at)?.get(part).copied())
    }

    /// What a directory names; none for what is no directory.
    pub(super) fn entries(&self, directory: Inode) -> Option<&BTreeMap<Arc<str>, Inode>> {
        self.directories.get(&directory)
    }

    /// Visits everything that can be reached from the root, directories before what is in them.
    pub(super) fn walk(&self, visit: &mut impl FnMut(&str, Inode)) {
        self.walk_below(ROOT, "", visit);
    }

    fn walk_below(&self, at: Inode, path: &str, visit: &mut impl FnMut(&str, Inode)) {
        for (name, &inode) in self.directories.get(&at).into_iter().flatten() {
            let path = format!("{path}{name}");
            visit(&path, inode);
            self.walk_below(inode, &format!("{path}/"), visit);
        }
    }

    /// Whether this is a directory.
    pub(super) fn is_directory(&self, inode: Inode) -> bool {
        self.directories.contains_key(&inode)
    }

    /// Applies an event that changes names.
    ///
    /// What it builds on may be lost: a name that is not there is not removed, but a rename makes
    /// the new name whether the old one was there or not.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Make { parent, name, made, is_directory } => {
                self.make(*parent, name, *made, *is_directory);
            }
            Change::Remove { parent, name } => drop(self.entries_mut(*parent).remove(name)),
            Change::Rename { from, parent, name, moved } => {
                let old = self.entries_mut(from.0);
                if old.get(&from.1) == Some(moved) {
                    old.remove(&from.1);
                }
                self.entries_mut(*parent).insert(Arc::clone(name), *moved);
            }
            Change::Write { .. }
            | Change::Resize { .. }
            | Change::Rot { .. }
            | Change::Sync { .. } => {}
        }
    }

    fn make(&mut self, parent: Inode, name: &Arc<str>, made: Inode, is_directory: bool) {
        if is_directory {
            self.directories.entry(made).or_default();
        }
        self.entries_mut(parent).insert(Arc::clone(name), made);
    }

    /// A directory that is not there yet gets its names all the same: they lead nowhere from the
    /// root until it is.
    fn entries_mut(&mut self, directory: Inode) -> &mut BTreeMap<Arc<str>, Inode> {
        self.directories.entry(directory).or_default()
    }
}
