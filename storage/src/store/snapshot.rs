//! Snapshots: the database as it is at one moment, with every blob that it names kept.
//!
//! Where the disk is read-only, that is the database where it lies: nothing is written to it any
//! more, and no blob goes.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use durable::{create_private, remove};

use super::Store;
use crate::backup::BackupError;
use crate::db::copy;
use crate::error::StorageError;
use crate::in_memory::deletion_holds::{DeletionHold, Unlinking};

/// A database in the data directory that nobody writes to. While it lives, collection unlinks no
/// blob that it names; its end may wait for the disk.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    copy: Option<Copied>,
}

/// A copy of the database. Its end removes it.
#[derive(Debug)]
struct Copied {
    path: PathBuf,
    is_taken: Arc<AtomicBool>,
    _hold: DeletionHold,
}

impl Store {
    /// Copies the database while it is written to. `on_progress` hears of pages and of how many
    /// there are, and says whether to go on. On a read-only disk nothing is copied: from here on
    /// this store writes nothing before it is opened anew, whatever is mounted meanwhile.
    ///
    /// # Errors
    /// [`BackupError::Busy`] while there is another copy, [`BackupError::NoRoom`],
    /// [`BackupError::Stopped`], [`BackupError::DamagedDatabase`], else trouble with the disk or
    /// the database.
    pub fn snapshot(
        &self,
        on_progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Snapshot, BackupError> {
        if !self.is_read_only() {
            match self.copied_snapshot(on_progress) {
                // Nobody may have written since it turned so, which newer kernels tell only whoever
                // writes; and SQLite has words of its own for it.
                Err(BackupError::Storage(_)) if self.space.ask_read_only() => {}
                outcome => return outcome,
            }
        }
        self.space.set_read_only();
        self.check_database(&mut || on_progress(0, 0))?;
        Ok(Snapshot { path: self.layout.database(), copy: None })
    }

    /// Copies the database while it is written to, on a disk that can be written.
    fn copied_snapshot(
        &self,
        on_progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Snapshot, BackupError> {
        if self.has_snapshot.swap(true, Ordering::Relaxed) {
            return Err(BackupError::Busy);
        }
        // From here on its end gives back what was taken. The hold comes before the copy: a blob
        // that the copy names was there at a moment from which on none goes.
        let path = self.layout.snapshot();
        let copy = Copied {
            path: path.clone(),
            is_taken: Arc::clone(&self.has_snapshot),
            _hold: self.deletion_holds.hold(),
        };
        remove_copy(&path)?;
        let needed_bytes = self.snapshot_bytes()?;
        let copied = self.space.check(needed_bytes).and_then(|()| self.copy_to(&path, on_progress));
        match copied {
            Ok(true) => Ok(Snapshot { path, copy: Some(copy) }),
            Ok(false) => Err(BackupError::Stopped),
            Err(StorageError::Full | StorageError::NoRoom { .. }) => {
                // What is free is told once the copy has gone that did not fit.
                drop(copy);
                let (free_bytes, kept_bytes) = self.space.free_and_kept()?;
                Err(BackupError::NoRoom { needed_bytes, free_bytes, kept_bytes })
            }
            // What is wrong with the copy is wrong with what was copied.
            Err(error) => Err(BackupError::of_database(self.layout.database(), error.into())),
        }
    }

    /// Copies and checks; false if it is not wanted any more.
    fn copy_to(
        &self,
        path: &Path,
        on_progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<bool, StorageError> {
        create_private(path)?;
        let mut pages = 0;
        let mut tell = |done, total| {
            pages = total;
            on_progress(done, total)
        };
        // One that is not whole is not looked at.
        if !self.database.copy(path, &mut tell)? {
            return Ok(false);
        }
        copy::settle(path)?;
        copy::check_copy(path, &mut || on_progress(pages, pages))
    }

    /// The room that a copy takes, which may grow with the database while it is made.
    fn snapshot_bytes(&self) -> Result<u64, StorageError> {
        let bytes = self.database.read(|reader| reader.database_bytes())?;
        Ok(bytes.saturating_add(bytes / GROWTH_SHARE))
    }

    /// The right to unlink files that rows name or named, for one short step; none while somebody
    /// copies them. Then they are for a later run.
    pub(crate) fn begin_unlinking(&self) -> Option<Unlinking> {
        self.deletion_holds.begin_unlinking()
    }
}

impl Snapshot {
    /// Where the database lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a copy. The database itself may have a log, which belongs to it.
    pub fn is_copy(&self) -> bool {
        self.copy.is_some()
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        // What stays is removed by the next open.
        let _ = remove_copy(&self.path);
        self.is_taken.store(false, Ordering::Relaxed);
    }
}

/// Removes a copy of the database, and what SQLite left beside it if it was cut short.
pub(super) fn remove_copy(path: &Path) -> Result<(), StorageError> {
    for ending in ["", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        remove(Path::new(&name))?;
    }
    Ok(())
}

/// The part of the database by which it may grow while it is copied. With more the copy goes on as
/// long as uploads would have room.
const GROWTH_SHARE: u64 = 16;
