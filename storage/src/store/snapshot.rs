//! Snapshots: the database as it is at one moment, with every blob that it names kept.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Store;
use crate::backup::BackupError;
use crate::db::copy;
use crate::durable::{create_private, remove};
use crate::error::StorageError;
use crate::hold::{Hold, Unlinking};

/// A copy of the database in the data directory. While it lives, collection unlinks no
/// blob that it names; its end removes it, which may wait for the disk.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    is_taken: Arc<AtomicBool>,
    _hold: Hold,
}

impl Store {
    /// Copies the database while it is written to. `on_progress` hears of pages and of how many
    /// there are, and says whether to go on.
    ///
    /// # Errors
    /// [`BackupError::Busy`] while there is another snapshot, [`BackupError::Stopped`],
    /// [`BackupError::DamagedDatabase`], else trouble with the disk or the database.
    pub fn snapshot(
        &self,
        on_progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Snapshot, BackupError> {
        if self.is_read_only() {
            return Err(BackupError::ReadOnly(self.layout.root().to_owned()));
        }
        if self.has_snapshot.swap(true, Ordering::Relaxed) {
            return Err(BackupError::Busy);
        }
        // From here on its end gives back what was taken. The hold comes before the copy: a blob
        // that the copy names was there at a moment from which on none goes.
        let snapshot = Snapshot {
            path: self.layout.snapshot(),
            is_taken: Arc::clone(&self.has_snapshot),
            _hold: self.holds.hold(),
        };
        remove_copy(&snapshot.path)?;
        create_private(&snapshot.path)?;
        let copied = self.database.copy(&snapshot.path, on_progress).and_then(|is_whole| {
            // One that is not whole is not looked at.
            if is_whole { copy::settle(&snapshot.path).map(|()| true) } else { Ok(false) }
        });
        // What is wrong with the copy is wrong with what was copied.
        let damaged =
            |error: StorageError| BackupError::of_database(self.layout.database(), error.into());
        match copied.map_err(damaged)? {
            true => Ok(snapshot),
            false => Err(BackupError::Stopped),
        }
    }

    /// The right to unlink files that rows name or named, for one short step; none while somebody
    /// copies them. Then they are for a later run.
    pub(crate) fn begin_unlinking(&self) -> Option<Unlinking> {
        self.holds.begin_unlinking()
    }
}

impl Snapshot {
    /// Where the copy of the database lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Snapshot {
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
