//! Room on the file system of a store: how much there is, how much of it uploads may take, and
//! the reserve with which removing, collecting and mending work when there is none.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use durable::DiskSpace;
use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, open};
use rustix::io::Errno;

use crate::error::{StorageError, Trouble};
use crate::layout::Layout;
use crate::medium::{is_mounted_read_only, is_read_only};

mod reserve;

use reserve::Reserve;

/// What one store may take of its file system.
#[derive(Debug)]
pub(crate) struct Space {
    root: PathBuf,
    floor_bytes: u64,
    reserve: Reserve,
    /// Whether the disk was found to be read-only. It stays so until the store is opened anew: what
    /// the disk holds of writes that it took before is looked at then.
    is_read_only: AtomicBool,
}

impl Space {
    /// The room for the store at this place, of which uploads leave `floor_bytes` to the rest.
    pub(crate) fn new(layout: &Layout, floor_bytes: u64) -> Self {
        let reserve = Reserve::new(layout.reserve());
        let (root, is_read_only) = (layout.root().to_owned(), AtomicBool::new(false));
        Self { root, floor_bytes, reserve, is_read_only }
    }

    /// Whether an upload may add `wanted_bytes`. Without any, whether one may begin.
    ///
    /// It is a look and not a booking: uploads that come at once may all be let in and are then
    /// refused piece by piece, each by at most what is gathered for it in memory.
    pub(crate) fn check(&self, wanted_bytes: u64) -> Result<(), StorageError> {
        self.check_writable()?;
        let space = DiskSpace::of(&self.root)?;
        let kept_bytes = self.kept_bytes(space);
        if space.free_bytes < kept_bytes.saturating_add(wanted_bytes) {
            let DiskSpace { free_bytes, .. } = space;
            return Err(StorageError::NoRoom { wanted_bytes, free_bytes, kept_bytes });
        }
        // Where uploads have room, so has what was given up when there was none.
        self.reserve.restore(space);
        Ok(())
    }

    /// How much is free, and how much of that uploads leave free.
    pub(crate) fn free_and_kept(&self) -> Result<(u64, u64), StorageError> {
        let space = DiskSpace::of(&self.root)?;
        Ok((space.free_bytes, self.kept_bytes(space)))
    }

    /// How much there is for what makes room or must not fail for want of it, with the reserve.
    /// Nobody can tell if the disk does not.
    pub(crate) fn room_to_free(&self) -> u64 {
        let free = DiskSpace::of(&self.root).map_or(u64::MAX, |space| space.free_bytes);
        free.saturating_add(self.reserve.held())
    }

    fn kept_bytes(&self, space: DiskSpace) -> u64 {
        self.floor_bytes.min(space.total_bytes / FLOOR_SHARE)
    }

    /// Does what must not fail for want of room: a delete, a step of collection or verification, a
    /// start. When the disk is full, parts of the reserve are given up until it succeeds.
    pub(crate) fn with_reserve<T, E: PartialEq<StorageError>>(
        &self,
        mut work: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let is_full = |outcome: &Result<T, E>| {
            outcome.as_ref().is_err_and(|error| *error == StorageError::Full)
        };
        let mut outcome = work();
        if is_full(&outcome) {
            // After a refused write the writer moves its log into the database, and the next one
            // begins the log anew: often that is room enough, and costs nothing.
            outcome = work();
        }
        while is_full(&outcome) && self.reserve.give_up_part() {
            outcome = work();
        }
        outcome
    }

    /// Makes the reserve whole if there is room for it.
    pub(crate) fn restore_reserve(&self) {
        if self.check_writable().is_ok()
            && let Ok(space) = DiskSpace::of(&self.root)
        {
            self.reserve.restore(space);
        }
    }

    /// Whether the disk is not known to be read-only. Waits for no disk.
    pub(crate) fn check_writable(&self) -> Result<(), StorageError> {
        match self.is_read_only.load(Ordering::Relaxed) {
            true => Err(StorageError::ReadOnly),
            false => Ok(()),
        }
    }

    /// Whether the disk is read-only, as far as that can be told without waiting for it.
    pub(crate) fn is_read_only(&self) -> bool {
        self.check_writable().is_err() || is_mounted_read_only(&self.root)
    }

    /// Asks the disk whether it is read-only, and remembers it.
    pub(crate) fn ask_read_only(&self) -> bool {
        let is_read_only = is_read_only(&self.root);
        if is_read_only {
            self.set_read_only();
        }
        is_read_only
    }

    /// Remembers that the disk is read-only.
    pub(crate) fn set_read_only(&self) {
        self.is_read_only.store(true, Ordering::Relaxed);
    }

    /// What an error means after which the disk was asked whether it is read-only.
    pub(crate) fn explained(&self, error: StorageError) -> StorageError {
        let is_asked =
            matches!(error, StorageError::Failed(Trouble::NotWritten(_))) || error.is_read_only();
        if is_asked && self.ask_read_only() {
            return StorageError::ReadOnly;
        }
        match error {
            // SQLite does not tell a quota that is used up from a disk that fails; the disk does.
            StorageError::Failed(Trouble::NotWritten(_)) if self.is_exhausted() => {
                StorageError::Full
            }
            error => error,
        }
    }

    /// Whether the disk refuses more bytes now, for want of space or of quota. SQLite does not
    /// tell a quota that is used up from a broken disk; a nameless file that is gone at once does.
    fn is_exhausted(&self) -> bool {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let tried = open(&self.root, flags, Mode::RUSR | Mode::WUSR)
            .and_then(|file| fallocate(&file, FallocateFlags::empty(), 0, PROBE_BYTES));
        matches!(tried, Err(Errno::NOSPC | Errno::DQUOT))
    }
}

/// The part of a file system that uploads leave free at most, so that small ones can be used.
const FLOOR_SHARE: u64 = 20;
/// What the database asks for at once, and more.
const PROBE_BYTES: u64 = 64 * 1024;
