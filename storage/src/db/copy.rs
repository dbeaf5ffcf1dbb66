//! Copying the whole database while it is written to, and reading the copy.
//!
//! The writing thread copies, with SQLite's online backup on its own connection: pages that it
//! writes meanwhile reach the copy by themselves, so the copy is the database of the moment at
//! which it ends, and needs no read transaction that would keep the log from being emptied. A copy
//! made over another connection would begin anew with each write.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, params};

use super::{lost, open_to_read, open_to_write};
use crate::digest::{Algorithm, Digest};
use crate::error::StorageError;

/// Asks the writing thread for a copy.
pub(super) struct CopyRequest {
    to: PathBuf,
    state: Arc<CopyState>,
    reply: mpsc::SyncSender<Result<bool, StorageError>>,
}

/// What the writing thread and whoever waits for the copy tell each other.
#[derive(Debug, Default)]
pub(super) struct CopyState {
    /// Pages that are copied.
    pub(super) done: AtomicU64,
    /// Pages that there are.
    pub(super) total: AtomicU64,
    /// Whether nobody wants the copy any more.
    pub(super) is_unwanted: AtomicBool,
}

/// Makes a request for a copy in the empty file `to`. The reply says whether the copy is whole; it
/// is not when it was not wanted any more.
pub(super) fn request(
    to: &Path,
) -> (CopyRequest, Arc<CopyState>, mpsc::Receiver<Result<bool, StorageError>>) {
    let (reply, outcome) = mpsc::sync_channel(1);
    let state = Arc::new(CopyState::default());
    (CopyRequest { to: to.to_owned(), state: Arc::clone(&state), reply }, state, outcome)
}

impl CopyRequest {
    /// Copies, and calls `between` after each step, so that writes that wait are served.
    pub(super) fn serve(self, from: &Connection, between: impl FnMut()) {
        let outcome = self.copy(from, between);
        // Whoever waited may be gone.
        let _ = self.reply.send(outcome);
    }

    fn copy(&self, from: &Connection, mut between: impl FnMut()) -> Result<bool, StorageError> {
        let mut to = open_to_write(&self.to)?;
        // Nothing of the copy has to survive a crash, so the writing thread waits for no sync.
        to.pragma_update(None, "journal_mode", "OFF")?;
        to.pragma_update(None, "synchronous", "OFF")?;
        // Few pages that are left to be written at once in the end.
        to.pragma_update(None, "cache_size", COPY_CACHE_PAGES)?;
        let copy = Backup::new(from, &mut to)?;
        while !self.state.is_unwanted.load(Ordering::Relaxed) {
            let step = copy.step(STEP_PAGES)?;
            let progress = copy.progress();
            let count = |pages| u64::try_from(pages).unwrap_or(0);
            let (total, left) = (count(progress.pagecount), count(progress.remaining));
            self.state.total.store(total, Ordering::Relaxed);
            self.state.done.store(total.saturating_sub(left), Ordering::Relaxed);
            match step {
                StepResult::Done => return Ok(true),
                StepResult::More => between(),
                // Nobody else knows the file, and this thread is between two transactions.
                _ => return Err(StorageError::Database("its copy is locked".to_owned())),
            }
        }
        Ok(false)
    }
}

/// Makes a copy a file that can be read without another beside it, and checks that it is sound.
pub(crate) fn settle(path: &Path) -> Result<(), StorageError> {
    let connection = open_to_write(path)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    match said.as_str() {
        "ok" => Ok(()),
        _ => Err(StorageError::Damaged { path: path.to_owned(), what: said }),
    }
}

/// Notes in a copy that nobody serves yet which blobs are lost: these, and no others. The caller
/// syncs it; a copy that a crash catches here is made anew.
pub(crate) fn note_lost(path: &Path, blobs: &[Digest]) -> Result<(), StorageError> {
    let mut connection = open_to_write(path)?;
    // No other file beside it, which a crash would leave for another copy.
    connection.pragma_update(None, "journal_mode", "MEMORY")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM lost_blobs", [])?;
    for digest in blobs {
        lost::lose_blob(&transaction, digest)?;
    }
    Ok(transaction.commit()?)
}

/// A blob that a database names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Whether a repository holds it, or can have it back. One of which neither is true waits for
    /// collection, and may be gone.
    pub is_held: bool,
}

/// The database of a store that nobody writes to: a copy, or one that was restored.
#[derive(Debug)]
pub struct BlobIndex(Connection);

impl BlobIndex {
    /// Opens it for reading.
    ///
    /// # Errors
    /// Trouble with the disk or the database.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        open_to_read(path).map(Self)
    }

    /// What tells this store from others; its copies have it too.
    ///
    /// # Errors
    /// Trouble with the disk or the database.
    pub fn identity(&self) -> Result<String, StorageError> {
        Ok(self.0.query_row("SELECT lower(hex(id)) FROM identity", [], |row| row.get(0))?)
    }

    /// The blobs of one directory below `blobs/`, in the order of their digests.
    ///
    /// # Errors
    /// Trouble with the disk or the database.
    pub fn shard(&self, algorithm: Algorithm, prefix: u8) -> Result<Vec<NamedBlob>, StorageError> {
        let from = format!("{algorithm}:{prefix:02x}");
        // Greater than every hexadecimal digit.
        let to = format!("{from}g");
        // A backup that a program before this one made has no such table.
        let or_kept = match self.0.table_exists(None, "deleted_links")? {
            true => "OR EXISTS (SELECT 1 FROM deleted_links l WHERE l.digest = b.digest)",
            false => "",
        };
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT digest, size,
                    EXISTS (SELECT 1 FROM repository_blobs l WHERE l.digest = b.digest) {or_kept}
             FROM blobs b WHERE digest > ?1 AND digest < ?2 ORDER BY digest",
        ))?;
        let rows = statement.query_map(params![from, to], |row| {
            Ok(NamedBlob { digest: row.get(0)?, size: row.get(1)?, is_held: row.get(2)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Pages of 4 KiB that one step copies: a push that waits behind it does not notice.
const STEP_PAGES: i32 = 64;
/// Pages of the copy that may wait in memory.
const COPY_CACHE_PAGES: i64 = 64;
