//! The writing thread: group commit, moving the log into the database now and then, and copying the
//! database in steps between which it goes on writing.

use std::cell::Cell;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::Connection;

use super::changes::Changes;
use super::copy::CopyRequest;
use super::log_room::LogRoom;
use super::reader_gate::Gate;
use super::transaction::Transaction;
use super::{OnFatal, OnTrouble, empty_log};
use crate::clock::wall_seconds;
use crate::error::{StorageError, Trouble};
use crate::in_memory::versions::Versions;
use crate::medium::is_read_only;

/// What the writing thread is asked for.
pub(super) enum Work {
    /// A write.
    Write(Box<dyn Job>),
    /// Writes of few rows, in one transaction.
    WriteTogether(Vec<Box<dyn Job>>),
    /// A copy of the database.
    Copy(CopyRequest),
    /// That all that the log holds be moved into the database. It is between two groups of writes.
    EmptyLog(mpsc::SyncSender<Result<(), StorageError>>),
}

/// One waiting write.
pub(super) trait Job: Send {
    /// About how many rows it writes, which is how long it keeps the others waiting.
    fn rows(&self) -> usize;
    /// Runs the write. `Err` is why nothing of it is to be committed.
    fn run(&mut self, transaction: &Transaction<'_>) -> Result<(), StorageError>;
    /// Tells the waiting caller the outcome, after the commit.
    fn finish(self: Box<Self>, commit: Result<(), StorageError>);
}

/// A write that waits, and where its outcome arrives.
type Waiting<T> = (Box<dyn Job>, mpsc::Receiver<Result<T, StorageError>>);

/// Wraps a closure that writes about so many rows into a job; its outcome arrives at the receiver.
pub(super) fn job<T, F>(rows: usize, work: F) -> Waiting<T>
where
    T: Send + 'static,
    F: FnOnce(&Transaction<'_>) -> Result<T, StorageError> + Send + 'static,
{
    let (reply, outcome) = mpsc::sync_channel(1);
    let result = Err(StorageError::Closed);
    (Box::new(Write { rows, work: Some(work), result, reply }), outcome)
}

struct Write<T, F> {
    rows: usize,
    work: Option<F>,
    result: Result<T, StorageError>,
    reply: mpsc::SyncSender<Result<T, StorageError>>,
}

impl<T, F> Job for Write<T, F>
where
    T: Send,
    F: FnOnce(&Transaction<'_>) -> Result<T, StorageError> + Send,
{
    fn rows(&self) -> usize {
        self.rows
    }

    fn run(&mut self, transaction: &Transaction<'_>) -> Result<(), StorageError> {
        if let Some(work) = self.work.take() {
            self.result = work(transaction);
        }
        self.result.as_ref().map(drop).map_err(StorageError::clone)
    }

    fn finish(self: Box<Self>, commit: Result<(), StorageError>) {
        // A caller that is gone has lost interest in the outcome, not in the write.
        let _ = self.reply.send(commit.and(self.result));
    }
}

/// The connection that writes, on its thread.
pub(super) struct Writer {
    connection: Connection,
    /// What its transactions touch.
    changes: Changes,
    versions: Arc<Versions>,
    /// Pages in the log after the last commit.
    log_pages: Arc<AtomicI32>,
    /// Pages in the log from which on it is truncated.
    most_log_pages: Cell<i32>,
    log_room: LogRoom,
    /// What readers pass.
    gate: Arc<Gate>,
    on_fatal: OnFatal,
    on_trouble: OnTrouble,
}

impl Writer {
    pub(super) fn new(
        mut connection: Connection,
        gate: Arc<Gate>,
        versions: Arc<Versions>,
        on_fatal: OnFatal,
        on_trouble: OnTrouble,
    ) -> rusqlite::Result<Self> {
        let log_pages = Arc::new(AtomicI32::new(0));
        let counter = Arc::clone(&log_pages);
        // The hook takes the place of SQLite's own checkpoint, whose failed syncs nobody sees.
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            counter.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        let changes = Changes::of(&mut connection)?;
        let most_log_pages = Cell::new(OVERGROWN_PAGES);
        let log_room = LogRoom::of(connection.path().map(Path::new));
        Ok(Self {
            connection,
            changes,
            versions,
            log_pages,
            most_log_pages,
            log_room,
            gate,
            on_fatal,
            on_trouble,
        })
    }

    /// Works until every sender is gone.
    pub(super) fn run(self, queue: &mpsc::Receiver<Work>) {
        let (mut copies, mut heavy) = (VecDeque::new(), VecDeque::new());
        loop {
            let first = match heavy.is_empty() {
                true => match queue.recv() {
                    Ok(first) => Some(first),
                    Err(_) => return,
                },
                false => queue.try_recv().ok(),
            };
            copies.extend(self.serve(first, queue, &mut heavy));
            while let Some(copy) = copies.pop_front() {
                copy.serve(&self.connection, || {
                    let first = queue.try_recv().ok();
                    copies.extend(self.serve(first, queue, &mut heavy));
                });
            }
        }
    }

    /// Commits a group of waiting writes, beginning with `first`, and then one of those that take
    /// long: however many of those wait, whoever writes a few rows waits for one. Gives a copy that
    /// was asked for instead or behind them.
    fn serve(
        &self,
        first: Option<Work>,
        queue: &mpsc::Receiver<Work>,
        heavy: &mut VecDeque<Box<dyn Job>>,
    ) -> Option<CopyRequest> {
        let (mut group, mut rows, mut copy, mut empty) = (Vec::new(), 0, None, None);
        let mut next = first;
        while let Some(work) = next {
            match work {
                Work::Write(job) if job.rows() > MANY_ROWS => heavy.push_back(job),
                Work::Write(job) => {
                    rows += job.rows();
                    group.push(job);
                }
                Work::WriteTogether(jobs) => {
                    rows += jobs.iter().map(|job| job.rows()).sum::<usize>();
                    group.extend(jobs);
                }
                Work::Copy(request) => {
                    copy = Some(request);
                    break;
                }
                Work::EmptyLog(reply) => {
                    empty = Some(reply);
                    break;
                }
            }
            next = if rows < GROUP_ROWS { queue.try_recv().ok() } else { None };
        }
        self.finish(group);
        self.finish(heavy.pop_front().into_iter().collect());
        if let Some(reply) = empty {
            let emptied = empty_log(&self.connection);
            self.log_room.forget();
            if let Err(error) = &emptied {
                self.end_if_not_synced(error);
            }
            // Whoever waited may be gone.
            let _ = reply.send(emptied);
        }
        copy
    }

    /// Commits a group of writes, if there are any, and answers them.
    fn finish(&self, mut group: Vec<Box<dyn Job>>) {
        if group.is_empty() {
            return;
        }
        let outcome = self.commit(&mut group);
        for job in group {
            job.finish(outcome.clone());
        }
        // What the log holds, moved into the database, makes room in the log for the next.
        let is_full = matches!(
            outcome,
            Err(StorageError::Full | StorageError::Failed(Trouble::NotWritten(_)))
        );
        let pages = self.log_pages.load(Ordering::Relaxed);
        // On a disk that became read-only the sync would fail, and with it the process end:
        // but pulls can go on, and what was acknowledged is safe where it is.
        let is_frozen = outcome.as_ref().is_err_and(|error| self.is_refused_for_good(error));
        if !is_frozen && (is_full || pages >= CHECKPOINT_PAGES) {
            self.checkpoint();
        }
        if !is_frozen && pages >= self.most_log_pages.get() {
            self.truncate(pages);
        }
        if outcome.is_ok() && pages < CHECKPOINT_PAGES {
            self.log_room.make(pages);
        }
    }

    /// Runs the group in one transaction.
    ///
    /// An error here speaks for every job of the group: none of them is committed.
    fn commit(&self, group: &mut [Box<dyn Job>]) -> Result<(), StorageError> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let ran = self.run_each(group);
        let is_commit = ran.is_ok();
        // Until this ends: the callers hear of the outcome later.
        let _changing = self.versions.change(self.changes.take());
        let outcome =
            ran.and_then(|()| self.connection.execute_batch("COMMIT").map_err(StorageError::from));
        if let Err(error) = &outcome {
            self.end_if_not_synced(error);
            if !self.connection.is_autocommit()
                && self.connection.execute_batch("ROLLBACK").is_err()
            {
                (self.on_fatal)(error);
            }
            if is_commit && !self.is_refused_for_good(error) {
                self.bury();
            }
        }
        outcome
    }

    /// Lets nothing come back of a commit that failed: it may lie in the log whole, where the
    /// index of the log could not take it in, and the next process would find it there.
    ///
    /// Crash argument: a commit that changes nothing takes the place of its first pages in the log.
    /// What follows there counts for nothing from then on, since each page is summed up with all
    /// that lie before it. The callers hear of the failure after that is synced.
    fn bury(&self) {
        let version: Result<i64, _> =
            self.connection.pragma_query_value(None, "user_version", |row| row.get(0));
        // The number is written even if it is the same.
        let buried = version
            .and_then(|version| self.connection.pragma_update(None, "user_version", version));
        if let Err(error) = buried {
            // On a disk that cannot be written nothing of the transaction was, most likely.
            self.end_if_not_synced(&error.into());
        }
    }

    fn run_each(&self, group: &mut [Box<dyn Job>]) -> Result<(), StorageError> {
        for job in group {
            self.connection.execute_batch("SAVEPOINT job")?;
            let transaction =
                Transaction::noted_in(&self.changes, &self.connection, wall_seconds());
            if let Err(error) = job.run(&transaction) {
                // A large write reaches the log, and may sync it, before the commit.
                self.end_if_not_synced(&error);
                if self.connection.is_autocommit() {
                    // A full disk makes SQLite roll back the whole transaction, neighbours too.
                    return Err(error);
                }
                self.connection.execute_batch("ROLLBACK TO job")?;
            }
            self.connection.execute_batch("RELEASE job")?;
        }
        Ok(())
    }

    /// Moves what the log holds into the database, as far as no reader still needs it.
    ///
    /// It runs after the callers were answered: their rows are durable in the log. A failed sync
    /// of the database is as fatal as one of the log; any other failure leaves the rows in the log
    /// until the next try.
    fn checkpoint(&self) {
        let outcome = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        self.log_pages.store(0, Ordering::Relaxed);
        if let Err(error) = outcome {
            self.tell(&error.into());
        }
    }

    /// Truncates a log of so many pages, so that the next commit begins it anew.
    ///
    /// That needs a moment at which nobody reads, since who reads may read from the log. Where
    /// readers overlap there is none, so new ones wait for those that are inside. If one of them
    /// takes too long it is tried again when the log has grown, and nobody waits meanwhile.
    ///
    /// Crash argument: SQLite truncates the log after everything in it is synced in the database.
    fn truncate(&self, pages: i32) {
        let is_truncated = match self.gate.close() {
            Some(_closed) => self.truncate_now().unwrap_or_else(|error| {
                self.tell(&error);
                false
            }),
            None => false,
        };
        if is_truncated {
            self.log_room.forget();
        }
        let next = if is_truncated { 0 } else { pages };
        // What could not be truncated once is tried less often than what could.
        let more = if is_truncated { OVERGROWN_PAGES } else { RETRY_PAGES };
        self.most_log_pages.set(next.saturating_add(more));
    }

    /// False if somebody reads from the log: another process, or who waited too long at the gate.
    fn truncate_now(&self) -> Result<bool, StorageError> {
        // Readers wait for this, so it waits for none of them.
        self.connection.busy_timeout(Duration::ZERO)?;
        let is_busy =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        self.connection.busy_timeout(BUSY_TIME)?;
        Ok(!is_busy?)
    }

    /// Tells of trouble with the log that no caller waits for. A failed sync ends the process;
    /// whom a full disk concerns hears of it from his own write.
    fn tell(&self, error: &StorageError) {
        self.end_if_not_synced(error);
        if *error != StorageError::Full {
            (self.on_trouble)(error);
        }
    }

    /// Whether the disk became read-only: nothing more reaches it, and trying could only fail in a
    /// sync. Only a write that failed asks.
    fn is_refused_for_good(&self, error: &StorageError) -> bool {
        let directory = || self.connection.path().and_then(|path| Path::new(path).parent());
        matches!(error, StorageError::Failed(Trouble::NotWritten(_)))
            && directory().is_some_and(is_read_only)
    }

    /// Ends the process after a failed sync: the kernel may have dropped the pages that it could
    /// not write, so another try could succeed without writing them.
    fn end_if_not_synced(&self, error: &StorageError) {
        if matches!(error, StorageError::Failed(Trouble::NotSynced(_))) {
            (self.on_fatal)(error);
        }
    }
}

/// About as many rows as a write has that says nothing of them.
pub(super) const FEW_ROWS: usize = 8;
/// A write of more rows lets others go first: an image of some thirty layers is just below.
const MANY_ROWS: usize = 64;
/// With so many rows a transaction takes no more writes. Enough for every upload that a mirror run
/// finishes at once, and few enough that the first of them does not wait long for the last: a row
/// takes 15 microseconds.
const GROUP_ROWS: usize = 1024;
/// Pages of 4 KiB in the log that make the writer move them into the database.
const CHECKPOINT_PAGES: i32 = 1000;
/// Pages of 4 KiB in the log that make the writer truncate it, though readers wait for that.
pub(super) const OVERGROWN_PAGES: i32 = 8 * CHECKPOINT_PAGES;
/// Pages by which the log grows before that is tried again.
const RETRY_PAGES: i32 = 2 * CHECKPOINT_PAGES;
/// How long a write waits for another process that writes: none should.
const BUSY_TIME: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
