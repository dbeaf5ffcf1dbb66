//! The reserve: a file of nothing that holds blocks of the disk, so that what makes room can be
//! done when somebody else's files took all the rest.
//!
//! It is given up in parts, because whatever is free may be gone before the next delete, and made
//! whole again when there is room. Nothing in it is ever read or has to survive anything.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use durable::{DiskSpace, create_private};
use rustix::fs::{FallocateFlags, fallocate};

/// The file that holds the reserve of one store.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    /// So that whoever only asks whether there is room waits for nobody.
    is_whole: AtomicBool,
    /// Held by whoever changes the file.
    changing: Mutex<()>,
}

impl Reserve {
    /// The reserve in this file, which may not be there. Touches nothing.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, is_whole: AtomicBool::new(false), changing: Mutex::new(()) }
    }

    /// Makes the reserve whole, if the disk has twice the room for what is missing. If it cannot
    /// be made, by a full disk or a file system without such files, the store works without.
    pub(crate) fn restore(&self, space: DiskSpace) {
        if self.is_whole.load(Ordering::Relaxed) {
            return;
        }
        let _changing = self.lock();
        let opened = match self.open() {
            Err(error) if error.kind() == ErrorKind::NotFound => create_private(&self.path).ok(),
            opened => opened.ok(),
        };
        let Some(file) = opened else { return };
        let held = held_bytes(&file);
        let wanted = whole_bytes(space);
        if held < wanted && space.free_bytes < 2 * (wanted - held) {
            return;
        }
        // Blocks that the file holds stay; a copy of a store may have holes in their place.
        match fallocate(&file, FallocateFlags::empty(), 0, wanted) {
            Ok(()) => self.is_whole.store(true, Ordering::Relaxed),
            // What came of it before the disk was full may be on no file system's conscience.
            Err(_) => drop(file.set_len(held)),
        }
    }

    /// Gives a part of the reserve back to the disk; false if there is none left.
    pub(crate) fn give_up_part(&self) -> bool {
        let _changing = self.lock();
        self.is_whole.store(false, Ordering::Relaxed);
        let Ok(file) = self.open() else { return false };
        let Ok(length) = file.metadata().map(|file| file.len()) else { return false };
        let part = (length / PARTS).max(MIN_PART_BYTES);
        let is_smaller = length > 0 && file.set_len(length.saturating_sub(part)).is_ok();
        // Some file systems hand blocks out again only once the log says that they are free.
        let _ = file.sync_all();
        is_smaller
    }

    /// The bytes that it holds.
    pub(crate) fn held(&self) -> u64 {
        File::open(&self.path).map_or(0, |file| held_bytes(&file))
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new().write(true).open(&self.path)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes for which a file has blocks.
fn held_bytes(file: &File) -> u64 {
    file.metadata().map_or(0, |file| file.len().min(file.blocks() * BLOCK_BYTES))
}

/// How large the reserve of this file system is.
fn whole_bytes(space: DiskSpace) -> u64 {
    let bytes = RESERVE_BYTES.min(space.total_bytes / RESERVE_SHARE);
    bytes.next_multiple_of(MIN_PART_BYTES)
}

/// Enough to move a log of the usual length, 4 MiB, into the database and to write another one:
/// from then on logs take the place of logs, and deletes make room inside the database.
const RESERVE_BYTES: u64 = 16 * 1024 * 1024;
/// The part of a file system that it takes at most.
const RESERVE_SHARE: u64 = 8;
/// In how many parts it is given up, about.
const PARTS: u64 = 4;
/// No smaller part is given up: a delete takes tens of KiB of the log.
const MIN_PART_BYTES: u64 = 64 * 1024;
/// The unit in which the system counts the blocks of a file, whatever the file system's is.
const BLOCK_BYTES: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: DiskSpace = DiskSpace { total_bytes: 1 << 40, free_bytes: 1 << 39 };

    fn reserve() -> (tempfile::TempDir, Reserve) {
        let directory = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(directory.path().join("reserve"));
        (directory, reserve)
    }

    fn held(reserve: &Reserve) -> u64 {
        held_bytes(&File::open(&reserve.path).unwrap())
    }

    #[test]
    fn it_is_given_up_in_parts_until_there_is_nothing_left_and_made_whole_again() {
        let (_directory, reserve) = reserve();
        reserve.restore(PLENTY);
        let mut sizes = vec![held(&reserve)];
        assert_eq!(sizes, [RESERVE_BYTES]);
        while reserve.give_up_part() {
            sizes.push(held(&reserve));
        }
        assert!(sizes.len() > 5 && sizes.is_sorted_by(|a, b| a > b), "{sizes:?}");
        assert_eq!(sizes.last(), Some(&0));
        reserve.restore(DiskSpace { free_bytes: RESERVE_BYTES, ..PLENTY });
        assert_eq!(held(&reserve), 0, "it took the last room of the disk");
        reserve.restore(PLENTY);
        assert_eq!(held(&reserve), RESERVE_BYTES);
    }

    #[test]
    fn a_small_disk_gives_a_small_part_and_a_copy_with_holes_is_filled() {
        let (_directory, reserve) = reserve();
        let small = DiskSpace { total_bytes: 2 << 20, free_bytes: 1 << 20 };
        File::create(&reserve.path).unwrap().set_len(256 * 1024).unwrap();
        assert_eq!(held(&reserve), 0);
        reserve.restore(small);
        assert_eq!(held(&reserve), 256 * 1024);
    }
}
