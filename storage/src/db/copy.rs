//! Copying the whole database while it is written to, and reading the copy.
//!
//! The writing thread copies, with SQLite's online backup on its own connection: pages that it
//! writes meanwhile reach the copy by themselves, so the copy is the database of the moment at
//! which it ends, and needs no read transaction that would keep the log from being emptied. A copy
//! made over another connection would begin anew with each write.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use oci::{Algorithm, Digest};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, params};

use super::column::parsed;
use super::transaction::{Reader, Transaction};
use super::{COPY_NEWS, open_frozen, open_to_read, open_to_write, schema};
use crate::clock::wall_seconds;
use crate::error::{OpenError, StorageError, Trouble};
use crate::layout::Layout;

/// Asks the writing thread for a copy.
pub(super) struct CopyRequest {
    to: PathBuf,
    has_room: HasRoom,
    state: Arc<CopyState>,
    reply: mpsc::SyncSender<Result<bool, StorageError>>,
}

/// Says whether so many bytes more may be written.
pub(super) type HasRoom = Box<dyn Fn(u64) -> Result<(), StorageError> + Send>;

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
/// is not when it was not wanted any more. `has_room` is asked before each step.
pub(super) fn request(
    to: &Path,
    has_room: HasRoom,
) -> (CopyRequest, Arc<CopyState>, mpsc::Receiver<Result<bool, StorageError>>) {
    let (reply, outcome) = mpsc::sync_channel(1);
    let state = Arc::new(CopyState::default());
    let request = CopyRequest { to: to.to_owned(), has_room, state: Arc::clone(&state), reply };
    (request, state, outcome)
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
        to.pragma_update(None, "journal_mode", "MEMORY")?;
        to.pragma_update(None, "synchronous", "OFF")?;
        // Few pages that are left to be written at once in the end.
        to.pragma_update(None, "cache_size", COPY_CACHE_PAGES)?;
        let copy = Backup::new(from, &mut to)?;
        while !self.state.is_unwanted.load(Ordering::Relaxed) {
            (self.has_room)(STEP_BYTES)?;
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
                _ => {
                    return Err(StorageError::Failed(Trouble::Database(
                        "its copy is locked".to_owned(),
                    )));
                }
            }
        }
        Ok(false)
    }
}

impl Reader<'_> {
    /// The length of the database with all that its log holds.
    pub(crate) fn database_bytes(&self) -> Result<u64, StorageError> {
        Ok(self.pragma("page_count")?.saturating_mul(self.pragma("page_size")?))
    }
}

/// Makes a copy a file that can be read without another beside it.
pub(crate) fn settle(path: &Path) -> Result<(), StorageError> {
    let connection = open_to_write(path)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    Ok(connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?)
}

/// Checks a copy, which nobody writes to.
///
/// # Errors
/// Those of [`check`].
pub(crate) fn check_copy(
    path: &Path,
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<bool, StorageError> {
    check(open_to_read(path)?, path, go_on)
}

/// Checks that the structure of the database at `path` is sound, over a connection of its own: in
/// one read, which takes long if it is large. `go_on` is asked now and then; false if it said no.
///
/// # Errors
/// [`Trouble::Damaged`], else trouble with the disk or the database.
pub(crate) fn check(
    connection: Connection,
    path: &Path,
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<bool, StorageError> {
    let interrupt = connection.get_interrupt_handle();
    let (reply, outcome) = mpsc::sync_channel(1);
    let said = thread::scope(|scope| {
        scope.spawn(move || {
            let said = connection
                .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
                .map_err(StorageError::from);
            let _ = reply.send(said);
        });
        let mut is_wanted = true;
        loop {
            is_wanted = is_wanted && go_on().is_continue();
            if !is_wanted {
                // Again and again, since it is lost on a statement that has not begun.
                interrupt.interrupt();
            }
            match outcome.recv_timeout(COPY_NEWS) {
                Ok(_) if !is_wanted => return Ok(None),
                Ok(said) => return said.map(Some),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(StorageError::Closed),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
        }
    });
    match said?.as_deref() {
        None => Ok(false),
        Some("ok") => Ok(true),
        Some(what) => Err(StorageError::Failed(Trouble::Damaged {
            path: path.to_owned(),
            what: what.to_owned(),
        })),
    }
}

/// Makes a copy that nobody serves yet a store of its own, with the newest schema, and notes which
/// blobs are lost: these, and no others. The caller syncs it; a copy that a crash catches here is
/// made anew.
pub(crate) fn begin_anew(layout: &Layout, lost: &[Digest]) -> Result<(), OpenError> {
    let mut connection = open_to_write(&layout.database())?;
    // No other file beside it, which a crash would leave for another copy.
    connection.pragma_update(None, "journal_mode", "MEMORY")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Without a log there is nothing that has to fit into one.
    schema::migrate(&mut connection, layout, &|| u64::MAX)?;
    let transaction = connection.transaction()?;
    Transaction::new(&transaction, wall_seconds()).leave_backups(lost)?;
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
    fn reader(&self) -> Reader<'_> {
        Reader::new(&self.0)
    }

    /// Opens it for reading.
    ///
    /// # Errors
    /// Trouble with the disk or the database.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        open_to_read(path).map(Self)
    }

    /// Opens it for reading where it lies on a read-only disk, with all that its log holds.
    ///
    /// # Errors
    /// Those of [`BlobIndex::open`].
    pub fn open_frozen(path: &Path) -> Result<Self, StorageError> {
        open_frozen(path).map(Self)
    }

    /// What tells this store from others; its copies have it too.
    ///
    /// # Errors
    /// Trouble with the disk or the database.
    pub fn identity(&self) -> Result<String, StorageError> {
        self.reader().identity()
    }

    /// The blobs of one directory below `blobs/`, in the order of their digests.
    ///
    /// # Errors
    /// Trouble with the disk or the database.
    pub fn shard(&self, algorithm: Algorithm, prefix: u8) -> Result<Vec<NamedBlob>, StorageError> {
        self.reader().named_blobs(algorithm, prefix)
    }
}

impl Reader<'_> {
    /// The blobs whose digests begin so, in the order of their digests.
    pub(crate) fn named_blobs(
        &self,
        algorithm: Algorithm,
        prefix: u8,
    ) -> Result<Vec<NamedBlob>, StorageError> {
        let from = format!("{algorithm}:{prefix:02x}");
        // Greater than every hexadecimal digit.
        let to = format!("{from}g");
        // A backup that a program before this one made has no such table.
        let or_kept = match self.has_table("deleted_links")? {
            true => "OR EXISTS (SELECT 1 FROM deleted_links l WHERE l.digest = b.digest)",
            false => "",
        };
        let mut statement = self.prepare_cached(&format!(
            "SELECT digest, size,
                    EXISTS (SELECT 1 FROM repository_blobs l WHERE l.digest = b.digest) {or_kept}
             FROM blobs b WHERE digest > ?1 AND digest < ?2 ORDER BY digest",
        ))?;
        let rows = statement.query_map(params![from, to], |row| {
            Ok(NamedBlob { digest: parsed(row, 0)?, size: row.get(1)?, is_held: row.get(2)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Pages of 4 KiB that one step copies: a push that waits behind it does not notice.
const STEP_PAGES: i32 = 64;
/// What one step writes at most, and what waits in memory from the ones before.
const STEP_BYTES: u64 = 512 * 1024;
/// Pages of the copy that may wait in memory.
const COPY_CACHE_PAGES: i64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_nobody_wants_ends_and_one_that_finds_damage_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path());
        let path = layout.database();
        let rows = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
                    INSERT INTO manifests SELECT hex(randomblob(32)), randomblob(99) FROM n";
        let mut connection = Connection::open(&path).unwrap();
        schema::migrate(&mut connection, &layout, &|| u64::MAX).unwrap();
        connection.execute_batch(rows).unwrap();
        drop(connection);
        let mut asked = 0;
        let mut stop = || {
            asked += 1;
            ControlFlow::Break(())
        };
        assert_eq!(check_copy(&path, &mut stop), Ok(false));
        assert_eq!(asked, 1);
        let mut go_on = || ControlFlow::Continue(());
        assert_eq!(check_copy(&path, &mut go_on), Ok(true));
        let mut bytes = std::fs::read(&path).unwrap();
        let half = bytes.len() / 2;
        bytes[half..half + 8192].fill(0xa5);
        std::fs::write(&path, bytes).unwrap();
        let found = check_copy(&path, &mut go_on);
        let is_damage = matches!(
            found,
            Err(StorageError::Failed(Trouble::Damaged { .. } | Trouble::DatabaseDamaged(_)))
        );
        assert!(is_damage, "{found:?}");
    }
}
