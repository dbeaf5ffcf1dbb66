//! The writing thread: group commit, moving the log into the database now and then, and copying the
//! database in steps between which it goes on writing.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc;

use rusqlite::Connection;

use super::copy::CopyRequest;
use super::{OnFatal, OnTrouble};
use crate::error::StorageError;
use crate::medium::is_read_only;

/// What the writing thread is asked for.
pub(super) enum Work {
    /// A write.
    Write(Box<dyn Job>),
    /// A copy of the database.
    Copy(CopyRequest),
}

/// One waiting write.
pub(super) trait Job: Send {
    /// Runs the write. `Err` is why nothing of it is to be committed.
    fn run(&mut self, connection: &Connection) -> Result<(), StorageError>;
    /// Tells the waiting caller the outcome, after the commit.
    fn finish(self: Box<Self>, commit: Result<(), StorageError>);
}

/// Wraps a closure into a job; its outcome arrives at the receiver.
pub(super) fn job<T, F>(work: F) -> (Box<dyn Job>, mpsc::Receiver<Result<T, StorageError>>)
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
{
    let (reply, outcome) = mpsc::sync_channel(1);
    (Box::new(Write { work: Some(work), result: Err(StorageError::Closed), reply }), outcome)
}

struct Write<T, F> {
    work: Option<F>,
    result: Result<T, StorageError>,
    reply: mpsc::SyncSender<Result<T, StorageError>>,
}

impl<T, F> Job for Write<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, StorageError> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), StorageError> {
        if let Some(work) = self.work.take() {
            self.result = work(connection);
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
    /// Pages in the log after the last commit.
    log_pages: Arc<AtomicI32>,
    on_fatal: OnFatal,
    on_trouble: OnTrouble,
}

impl Writer {
    pub(super) fn new(
        mut connection: Connection,
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
        Ok(Self { connection, log_pages, on_fatal, on_trouble })
    }

    /// Works until every sender is gone.
    pub(super) fn run(self, queue: &mpsc::Receiver<Work>) {
        let mut copies = VecDeque::new();
        while let Ok(first) = queue.recv() {
            copies.extend(self.serve(first, queue));
            while let Some(copy) = copies.pop_front() {
                copy.serve(&self.connection, || {
                    if let Ok(first) = queue.try_recv() {
                        copies.extend(self.serve(first, queue));
                    }
                });
            }
        }
    }

    /// Commits a group of waiting writes, beginning with `first`; gives a copy that was asked for
    /// instead or behind them.
    fn serve(&self, first: Work, queue: &mpsc::Receiver<Work>) -> Option<CopyRequest> {
        let (mut group, mut copy) = (Vec::new(), None);
        let mut next = Some(first);
        while let Some(work) = next {
            match work {
                Work::Write(job) => group.push(job),
                Work::Copy(request) => {
                    copy = Some(request);
                    break;
                }
            }
            next = if group.len() < GROUP_JOBS { queue.try_recv().ok() } else { None };
        }
        if !group.is_empty() {
            let outcome = self.commit(&mut group);
            for job in group {
                job.finish(outcome.clone());
            }
            // What the log holds, moved into the database, makes room in the log for the next.
            let is_refused = matches!(outcome, Err(StorageError::NotWritten(_)));
            let is_full = is_refused || matches!(outcome, Err(StorageError::Full));
            // On a disk that became read-only the sync would fail, and with it the process end:
            // but pulls can go on, and what was acknowledged is safe where it is.
            if is_refused && self.is_read_only() {
                return copy;
            }
            if is_full || self.log_pages.load(Ordering::Relaxed) >= CHECKPOINT_PAGES {
                self.checkpoint();
            }
        }
        copy
    }

    /// Runs the group in one transaction.
    ///
    /// An error here speaks for every job of the group: none of them is committed.
    fn commit(&self, group: &mut [Box<dyn Job>]) -> Result<(), StorageError> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let outcome = self
            .run_each(group)
            .and_then(|()| self.connection.execute_batch("COMMIT").map_err(StorageError::from));
        if let Err(error) = &outcome {
            self.end_if_not_synced(error);
        }
        if let Err(error) = &outcome
            && !self.connection.is_autocommit()
            && self.connection.execute_batch("ROLLBACK").is_err()
        {
            (self.on_fatal)(error);
        }
        outcome
    }

    fn run_each(&self, group: &mut [Box<dyn Job>]) -> Result<(), StorageError> {
        for job in group {
            self.connection.execute_batch("SAVEPOINT job")?;
            if let Err(error) = job.run(&self.connection) {
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
    /// until the next try. Whom a full disk concerns hears of it from his own write.
    fn checkpoint(&self) {
        let outcome = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        self.log_pages.store(0, Ordering::Relaxed);
        if let Err(error) = outcome.map_err(StorageError::from) {
            self.end_if_not_synced(&error);
            if error != StorageError::Full {
                (self.on_trouble)(&error);
            }
        }
    }

    fn is_read_only(&self) -> bool {
        let directory = self.connection.path().and_then(|path| Path::new(path).parent());
        directory.is_some_and(is_read_only)
    }

    /// Ends the process after a failed sync: the kernel may have dropped the pages that it could
    /// not write, so another try could succeed without writing them.
    fn end_if_not_synced(&self, error: &StorageError) {
        if matches!(error, StorageError::NotSynced(_)) {
            (self.on_fatal)(error);
        }
    }
}

/// Writes that share one transaction at most. Enough for every upload that a mirror run finishes
/// at once, and few enough that the first of them does not wait long for the last.
const GROUP_JOBS: usize = 128;
/// Pages of 4 KiB in the log that make the writer move them into the database.
const CHECKPOINT_PAGES: i32 = 1000;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::db::copy::CopyState;

    fn fatal(error: &StorageError) -> ! {
        panic!("{error}")
    }

    fn insert(value: i64, fail: bool) -> (Box<dyn Job>, mpsc::Receiver<Result<i64, StorageError>>) {
        job(move |connection: &Connection| {
            connection.execute("INSERT INTO t VALUES (?1)", [value])?;
            if fail { Err(StorageError::UserExists) } else { Ok(value) }
        })
    }

    fn database() -> (tempfile::TempDir, Connection) {
        let directory = tempfile::tempdir().unwrap();
        let connection = Connection::open(directory.path().join("db")).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.execute_batch("CREATE TABLE t (v INTEGER)").unwrap();
        (directory, connection)
    }

    #[test]
    fn a_job_that_fails_leaves_nothing_and_its_neighbours_stay() {
        let (directory, connection) = database();
        let (sender, queue) = mpsc::channel();
        let outcomes: Vec<_> = [(1, false), (2, true), (3, false)]
            .into_iter()
            .map(|(value, fail)| {
                let (job, outcome) = insert(value, fail);
                sender.send(Work::Write(job)).unwrap();
                outcome
            })
            .collect();
        drop(sender);
        Writer::new(connection, fatal, |_| {}).unwrap().run(&queue);
        let outcomes: Vec<_> = outcomes.iter().map(|outcome| outcome.recv().unwrap()).collect();
        assert_eq!(outcomes, [Ok(1), Err(StorageError::UserExists), Ok(3)]);
        let connection = Connection::open(directory.path().join("db")).unwrap();
        let sum: i64 = connection.query_row("SELECT sum(v) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(sum, 4);
    }

    #[test]
    fn waiting_jobs_share_one_commit() {
        let (_directory, mut connection) = database();
        let (sender, queue) = mpsc::channel();
        let mut outcomes = Vec::new();
        for value in 0..GROUP_JOBS {
            let (job, outcome) = insert(i64::try_from(value).unwrap(), false);
            sender.send(Work::Write(job)).unwrap();
            outcomes.push(outcome);
        }
        drop(sender);
        let commits = Arc::new(AtomicI32::new(0));
        let counter = Arc::clone(&commits);
        connection
            .commit_hook(Some(move || {
                counter.fetch_add(1, Ordering::Relaxed);
                false
            }))
            .unwrap();
        Writer::new(connection, fatal, |_| {}).unwrap().run(&queue);
        assert!(outcomes.iter().all(|outcome| outcome.recv().unwrap().is_ok()));
        assert_eq!(commits.load(Ordering::Relaxed), 1);
    }

    /// What a writer's thread ends with when one job's outcome is this error.
    fn outcome_of(error: StorageError) -> std::thread::Result<()> {
        let (_directory, connection) = database();
        let (sender, queue) = mpsc::channel();
        let (job, _outcome) = job::<(), _>(move |_| Err(error));
        sender.send(Work::Write(job)).unwrap();
        drop(sender);
        let writer = Writer::new(connection, fatal, |_| {}).unwrap();
        std::thread::spawn(move || writer.run(&queue)).join()
    }

    #[test]
    fn a_failed_sync_ends_the_process_and_a_full_disk_does_not() {
        assert!(outcome_of(StorageError::NotSynced("disk I/O error".into())).is_err());
        assert!(outcome_of(StorageError::Full).is_ok());
        assert!(outcome_of(StorageError::Database("disk I/O error".into())).is_ok());
    }

    #[test]
    fn a_job_that_ends_the_transaction_speaks_for_its_neighbours() {
        let (directory, connection) = database();
        let (sender, queue) = mpsc::channel();
        let (first, first_outcome) = insert(1, false);
        // What SQLite does by itself when the disk is full.
        let (second, second_outcome) = job::<(), _>(|connection| {
            connection.execute_batch("ROLLBACK")?;
            Err(StorageError::Full)
        });
        let (third, third_outcome) = insert(3, false);
        for job in [first, second, third] {
            sender.send(Work::Write(job)).unwrap();
        }
        drop(sender);
        Writer::new(connection, fatal, |_| {}).unwrap().run(&queue);
        assert_eq!(first_outcome.recv().unwrap(), Err(StorageError::Full));
        assert_eq!(second_outcome.recv().unwrap(), Err(StorageError::Full));
        assert_eq!(third_outcome.recv().unwrap(), Err(StorageError::Full));
        let connection = Connection::open(directory.path().join("db")).unwrap();
        let count: i64 =
            connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 0, "a row of a refused write stayed");
    }

    /// Writes that each send the next one when they run, so that there is always exactly one that
    /// waits. Each notes how many pages of the copy there were.
    struct Chain {
        sender: mpsc::Sender<Work>,
        copy: Arc<CopyState>,
        pages: Mutex<Vec<u64>>,
    }

    impl Chain {
        fn send(self: &Arc<Self>, number: i64) {
            let chain = Arc::clone(self);
            let (job, _outcome) = job(move |connection: &Connection| {
                chain.pages.lock().unwrap().push(chain.copy.done.load(Ordering::Relaxed));
                if number < LINKS {
                    chain.send(number + 1);
                }
                // Every third is refused after it has changed pages that are copied already.
                connection.execute("UPDATE t SET v = randomblob(8000) WHERE rowid % 7 = 0", [])?;
                connection.execute("INSERT INTO log VALUES (?1)", [number])?;
                if number % 3 == 0 { Err(StorageError::UserExists) } else { Ok(()) }
            });
            self.sender.send(Work::Write(job)).unwrap();
        }
    }

    const LINKS: i64 = 12;

    #[test]
    fn a_copy_is_made_in_small_steps_and_a_waiting_write_is_served_between_two() {
        let (directory, connection) = database();
        let rows = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
                    INSERT INTO t SELECT randomblob(8000) FROM n";
        connection.execute_batch(rows).unwrap();
        connection.execute_batch("CREATE TABLE log (number INTEGER)").unwrap();
        let to = directory.path().join("copy");
        std::fs::write(&to, "").unwrap();
        let (sender, queue) = mpsc::channel();
        let (request, copy, outcome) = crate::db::copy::request(&to);
        let (pages, state) = (Mutex::default(), Arc::clone(&copy));
        sender.send(Work::Copy(request)).unwrap();
        let chain = Arc::new(Chain { sender, copy, pages });
        chain.send(1);
        let mine = Arc::clone(&chain);
        drop(chain);
        let writer = Writer::new(connection, fatal, |_| {}).unwrap();
        let thread = std::thread::spawn(move || writer.run(&queue));
        assert_eq!(outcome.recv().unwrap(), Ok(true));
        let pages = mine.pages.lock().unwrap().clone();
        let total = state.total.load(Ordering::Relaxed);
        drop(mine);
        thread.join().unwrap();
        assert!(total > 64 * (LINKS as u64 + 2), "{total} pages are too few for this test");
        // The first waited behind the first step; each other one behind one step more.
        let expected: Vec<u64> = (1..=LINKS as u64).map(|step| step * 64).collect();
        assert_eq!(pages, expected);
        // The copy is sound, and is the database of the moment of its end.
        crate::db::copy::settle(&to).unwrap();
        let digest = "SELECT sum(length(v)), count(*), max(hex(v)), min(hex(v)),
                      (SELECT group_concat(number) FROM log) FROM t";
        let all = |path: &std::path::Path| {
            let row =
                |row: &rusqlite::Row<'_>| -> rusqlite::Result<(i64, i64, String, String, String)> {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
                };
            Connection::open(path).unwrap().query_row(digest, [], row).unwrap()
        };
        let (copied, written) = (all(&to), all(&directory.path().join("db")));
        assert_eq!(copied, written);
        assert_eq!(copied.4, "1,2,4,5,7,8,10,11");
    }

    #[test]
    fn a_long_log_is_moved_into_the_database() {
        let (directory, connection) = database();
        let (sender, queue) = mpsc::channel();
        let mut outcomes = Vec::new();
        for _ in 0..4 {
            let (job, outcome) = job(|connection: &Connection| {
                let pages = CHECKPOINT_PAGES * 4096;
                connection.execute("INSERT INTO t VALUES (zeroblob(?1))", [pages])?;
                Ok(())
            });
            sender.send(Work::Write(job)).unwrap();
            outcomes.push(outcome);
        }
        drop(sender);
        // Open until the end, so that closing the writer's connection does not do it.
        let reader = Connection::open(directory.path().join("db")).unwrap();
        reader.query_row("SELECT count(*) FROM t", [], |_| Ok(())).unwrap();
        Writer::new(connection, fatal, |_| {}).unwrap().run(&queue);
        assert!(outcomes.iter().all(|outcome| outcome.recv().unwrap().is_ok()));
        let size = std::fs::metadata(directory.path().join("db")).unwrap().len();
        assert!(size > 4 * u64::try_from(CHECKPOINT_PAGES).unwrap() * 4096, "{size}");
        drop(reader);
    }
}
