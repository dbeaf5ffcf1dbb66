//! The writing thread: group commit, and moving the log into the database now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc;

use rusqlite::Connection;

use super::{OnFatal, OnTrouble};
use crate::error::StorageError;

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

    /// Takes jobs until every sender is gone.
    pub(super) fn run(self, queue: &mpsc::Receiver<Box<dyn Job>>) {
        while let Ok(first) = queue.recv() {
            let mut group = vec![first];
            while group.len() < GROUP_JOBS {
                let Ok(next) = queue.try_recv() else { break };
                group.push(next);
            }
            let outcome = self.commit(&mut group);
            for job in group {
                job.finish(outcome.clone());
            }
            // What the log holds, moved into the database, makes room in the log for the next.
            let is_full = matches!(outcome, Err(StorageError::Full | StorageError::NotWritten(_)));
            if is_full || self.log_pages.load(Ordering::Relaxed) >= CHECKPOINT_PAGES {
                self.checkpoint();
            }
        }
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
    use super::*;

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
                sender.send(job).unwrap();
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
            sender.send(job).unwrap();
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
        sender.send(job).unwrap();
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
            sender.send(job).unwrap();
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
            sender.send(job).unwrap();
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
