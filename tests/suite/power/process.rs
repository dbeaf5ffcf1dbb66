//! The open files of a process that is being followed.

use std::collections::HashMap;

use super::tree::Inode;

/// An open file. Descriptors that were duplicated share one.
pub(super) struct Open {
    pub(super) inode: Inode,
    pub(super) position: usize,
    pub(super) appends: bool,
}

/// What the threads of one process share.
#[derive(Default)]
pub(super) struct Process {
    pub(super) opened: Vec<Open>,
    /// For each descriptor of a file or directory below the root, its place in `opened`.
    pub(super) descriptors: HashMap<i64, usize>,
    /// For each thread that is in a call, how many events had come when it began.
    pub(super) entered: HashMap<u32, usize>,
}

impl Process {
    pub(super) fn inode(&self, descriptor: i64) -> Option<Inode> {
        self.descriptors.get(&descriptor).map(|&at| self.opened[at].inode)
    }

    pub(super) fn open(&mut self, descriptor: i64) -> Option<&mut Open> {
        self.descriptors.get(&descriptor).map(|&at| &mut self.opened[at])
    }

    pub(super) fn duplicate(&mut self, old: i64, new: i64) {
        // The new number may have been another file's before.
        self.descriptors.remove(&new);
        if let Some(&at) = self.descriptors.get(&old) {
            self.descriptors.insert(new, at);
        }
    }

    pub(super) fn move_to(&mut self, descriptor: i64, position: i64) {
        if let Some(open) = self.open(descriptor) {
            open.position = length(position);
        }
    }

    pub(super) fn advance(&mut self, descriptor: i64, by: i64) {
        if let Some(open) = self.open(descriptor) {
            open.position += length(by);
        }
    }
}

/// A number that cannot be negative.
pub(super) fn length(number: i64) -> usize {
    usize::try_from(number).expect("a length")
}
