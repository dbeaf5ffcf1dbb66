//! The metadata database: the only place that speaks SQL.
//!
//! One thread owns the one connection that writes. It takes whatever writes are waiting, runs them
//! in one transaction, each in its own savepoint, and answers all of them after the one sync of
//! that transaction: many acknowledgements, one sync. Readers use read-only connections of their
//! own; in WAL mode neither side waits for the other.
//!
//! What a write acknowledged is durable: WAL with `synchronous=FULL` syncs the log in each commit.
//! A commit whose sync fails is never tried again, since the kernel may have dropped the pages it
//! could not write: the process ends, and the next start recovers from what the disk holds.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use durable::{IoError, create_private};
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, ffi};

use crate::clock::Clock;
use crate::error::{OpenError, StorageError, Trouble};
use crate::in_memory::versions::Versions;
use crate::layout::Layout;
use crate::space::Space;

pub(crate) mod backups;
pub(crate) mod bundle_notes;
mod changes;
pub(crate) mod collect;
mod column;
pub(crate) mod copy;
pub(crate) mod deleted_links;
pub(crate) mod descendants;
mod export;
pub(crate) mod history;
pub(crate) mod history_bounds;
pub(crate) mod image_removal;
pub(crate) mod imports;
pub(crate) mod inspect;
pub(crate) mod kept_by;
pub(crate) mod key;
pub(crate) mod list;
mod listed_age;
mod log_room;
pub(crate) mod lost;
pub(crate) mod manifest;
mod manifest_put;
mod open;
pub(crate) mod protection;
pub(crate) mod quay;
mod read_only;
mod reader_gate;
mod readers;
pub(crate) mod repeated_push;
pub(crate) mod repository;
pub(crate) mod restore;
mod schema;
mod schema_check;
pub(crate) mod schema_fault;
pub(crate) mod seen_files;
#[cfg(test)]
pub(crate) mod step_count;
pub(crate) mod tag;
#[cfg(test)]
pub(crate) mod test_hooks;
pub(crate) mod totals;
mod transaction;
pub(crate) mod unheld_blobs;
pub(crate) mod upkeep;
pub(crate) mod user;
pub(crate) mod verify;
mod writer;

use open::{open_frozen, open_to_read, open_to_write};
use readers::Readers;
pub(crate) use readers::Reading;
pub(crate) use transaction::{Reader, Transaction};
use writer::{FEW_ROWS, Job, Work, Writer};

/// What to do when the database can no longer be trusted: log it and end the process.
pub type OnFatal = fn(&StorageError) -> !;

/// What to do about a failure that no caller waits for: log it.
pub type OnTrouble = fn(&StorageError);

/// A write that was not asked for yet, so that others can come with it.
pub(crate) struct PreparedWrite(Box<dyn Job>);

/// Where the outcome of a write arrives.
pub(crate) struct PendingOutcome<T> {
    arrives: mpsc::Receiver<Result<T, StorageError>>,
    space: Arc<Space>,
}

impl<T> PendingOutcome<T> {
    /// Waits until the outcome is known, and durable.
    pub(crate) fn wait(self) -> Result<T, StorageError> {
        match self.arrives.recv().map_err(|_| StorageError::Closed)? {
            Err(error) => Err(self.space.explained(error)),
            outcome => outcome,
        }
    }
}

/// The writing thread and the reading connections of one store's database.
pub(crate) struct Database {
    jobs: Option<mpsc::Sender<Work>>,
    writer: Option<JoinHandle<()>>,
    readers: Readers,
    clock: Arc<Clock>,
    space: Arc<Space>,
    versions: Arc<Versions>,
}

impl Database {
    /// Opens the database and brings it to the current schema. It is made if it is missing and
    /// `may_create`; a store that was complete must not start from nothing.
    pub(crate) fn open(
        layout: &Layout,
        space: &Arc<Space>,
        may_create: bool,
        reading: Reading,
        on_fatal: OnFatal,
        on_trouble: OnTrouble,
    ) -> Result<Self, OpenError> {
        let path = layout.database();
        if !path.exists() {
            if !may_create {
                return Err(Trouble::Damaged { path, what: "it is missing".to_owned() }.into());
            }
            // SQLite gives its log and index files the mode of the database, so this sets all.
            create_private(&path)?;
        }
        let mut connection = open_to_write(&path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let room = || space.room_to_free();
        let prepared = empty_log(&connection)
            .map_err(OpenError::from)
            .and_then(|()| schema::migrate(&mut connection, layout, &room));
        prepared.map_err(|error| error.explained(|error| space.explained(error)))?;
        let tick = connection.query_row("SELECT tick FROM clock", [], |row| row.get(0))?;
        let clock = Arc::new(Clock::from(tick));
        give_clock(&connection, &clock)?;
        let (jobs, queue) = mpsc::channel();
        let readers = Readers::new(path.clone(), open_to_read, Arc::clone(&clock), reading);
        let versions = Arc::new(Versions::new());
        let told = Arc::clone(&versions);
        let writer = Writer::new(connection, readers.gate(), told, on_fatal, on_trouble)?;
        let writer = std::thread::Builder::new()
            .name("database".to_owned())
            .spawn(move || {
                let run = AssertUnwindSafe(|| writer.run(&queue));
                if catch_unwind(run).is_err() {
                    // A registry that reads and never writes again looks well and is not.
                    on_fatal(&StorageError::Failed(Trouble::Database(
                        "a write panicked".to_owned(),
                    )));
                }
            })
            .map_err(|error| IoError::new("start the thread of", &path, &error))?;
        let (jobs, writer) = (Some(jobs), Some(writer));
        Ok(Self { jobs, writer, readers, clock, space: Arc::clone(space), versions })
    }

    /// Opens the database of a store whose disk is read-only. Every write is refused.
    pub(crate) fn open_read_only(
        layout: &Layout,
        space: &Arc<Space>,
        reading: Reading,
    ) -> Result<Self, OpenError> {
        let path = layout.database();
        if !path.exists() {
            return Err(Trouble::Damaged { path, what: "it is missing".to_owned() }.into());
        }
        space.set_read_only();
        let connection = open_frozen(&path)?;
        if !schema::is_current(&connection, layout)? {
            return Err(OpenError::OldAndReadOnly(layout.root().to_owned()));
        }
        let tick = connection.query_row("SELECT tick FROM clock", [], |row| row.get(0))?;
        let clock = Arc::new(Clock::from(tick));
        let readers = Readers::new(path, open_frozen, Arc::clone(&clock), reading);
        let (space, versions) = (Arc::clone(space), Arc::new(Versions::new()));
        Ok(Self { jobs: None, writer: None, readers, clock, space, versions })
    }

    /// The clock on which ages are counted. In SQL, `tick()` is what it shows.
    pub(crate) fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// Which answers may be others since when.
    pub(crate) fn versions(&self) -> &Arc<Versions> {
        &self.versions
    }

    /// Keeps where the clock stands. Durable on return.
    pub(crate) fn keep_time(&self) -> Result<(), StorageError> {
        self.write(|transaction| transaction.keep_time())
    }

    /// Runs `work` in the writing thread and waits until its outcome is durable.
    ///
    /// When `work` fails, nothing of it remains; the writes of others are not touched.
    pub(crate) fn write<T, F>(&self, work: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StorageError> + Send + 'static,
    {
        self.write_rows(0, work)
    }

    /// Runs a write of about so many rows more than most: one of many lets others go first.
    pub(crate) fn write_rows<T, F>(&self, rows: usize, work: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StorageError> + Send + 'static,
    {
        let (write, outcome) = self.prepare_rows(rows, work)?;
        self.ask(Work::Write(write.0))?;
        outcome.wait()
    }

    /// Prepares a write of few rows, for [`Database::write_together`].
    pub(crate) fn prepare<T, F>(
        &self,
        work: F,
    ) -> Result<(PreparedWrite, PendingOutcome<T>), StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StorageError> + Send + 'static,
    {
        self.prepare_rows(0, work)
    }

    fn prepare_rows<T, F>(
        &self,
        rows: usize,
        work: F,
    ) -> Result<(PreparedWrite, PendingOutcome<T>), StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StorageError> + Send + 'static,
    {
        self.space.check_writable()?;
        let (job, arrives) = writer::job(FEW_ROWS + rows, work);
        Ok((PreparedWrite(job), PendingOutcome { arrives, space: Arc::clone(&self.space) }))
    }

    /// Asks for writes that one transaction is to have. Each fails alone, and its own
    /// [`PendingOutcome`] tells so.
    pub(crate) fn write_together(&self, writes: Vec<PreparedWrite>) {
        let jobs = writes.into_iter().map(|write| write.0).collect();
        // Whoever waits for one that was never asked for hears that the database is closed.
        let _ = self.ask(Work::WriteTogether(jobs));
    }

    /// Runs a write that makes room, or will, or mends: on a full disk with what the reserve holds.
    pub(crate) fn write_to_free<T, F>(&self, work: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: Fn(&Transaction<'_>) -> Result<T, StorageError> + Clone + Send + 'static,
    {
        self.space.with_reserve(|| self.write(work.clone()))
    }

    /// Runs a write that is a step of many, which must not keep pushes waiting: it changes
    /// at most [`key::STEP_ROWS`] rows.
    pub(crate) fn step_to_free<T, F>(&self, work: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: Fn(&Transaction<'_>) -> Result<T, StorageError> + Clone + Send + 'static,
    {
        self.write_to_free(move |transaction| {
            let before = transaction.total_changes();
            let outcome = work(transaction);
            let changed = transaction.total_changes() - before;
            debug_assert!(changed <= key::STEP_ROWS as u64, "a step changed {changed} rows");
            outcome
        })
    }

    /// Runs a step that mends, or notes, what somebody who read found wrong. The writing
    /// connection may remember it as it was, and would find nothing to mend.
    pub(crate) fn step_to_mend<T, F>(&self, work: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: Fn(&Transaction<'_>) -> Result<T, StorageError> + Clone + Send + 'static,
    {
        self.step_to_free(move |transaction| {
            transaction.forget_pages()?;
            work(transaction)
        })
    }

    /// Copies the database as it is at the end of this call into the empty file `to`, in steps
    /// between which writes go on. False if `on_progress`, which hears of pages and of how many
    /// there are, wanted it no more. It takes no room that uploads would leave free.
    pub(crate) fn copy(
        &self,
        to: &Path,
        on_progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<bool, StorageError> {
        self.space.check_writable()?;
        let space = Arc::clone(&self.space);
        let has_room = Box::new(move |bytes| space.check(bytes));
        let (request, state, outcome) = copy::request(to, has_room);
        self.ask(Work::Copy(request))?;
        loop {
            match outcome.recv_timeout(COPY_NEWS) {
                Ok(outcome) => return outcome,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(StorageError::Closed),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            let count = |pages: &AtomicU64| pages.load(Ordering::Relaxed);
            if on_progress(count(&state.done), count(&state.total)).is_break() {
                state.is_unwanted.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Checks that the database's structure is sound. False if `go_on` wanted it no more.
    pub(crate) fn check(
        &self,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<bool, StorageError> {
        copy::check(self.readers.open()?, self.readers.path(), go_on)
    }

    /// Moves what the log holds into the database and empties the log, as far as no reader needs
    /// it. Called when nobody writes.
    pub(crate) fn empty_log(&self) -> Result<(), StorageError> {
        self.space.check_writable()?;
        let (reply, outcome) = mpsc::sync_channel(1);
        self.ask(Work::EmptyLog(reply))?;
        outcome.recv().map_err(|_| StorageError::Closed)?
    }

    /// Runs `work` on a read-only connection. One call is one short read.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Reader<'_>) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        self.readers.run(work)
    }

    /// Reads what lies in the database now, whatever a connection remembers of it: memory may
    /// be right where the disk is wrong, and the next reader gets what the disk holds.
    pub(crate) fn read_afresh<T>(
        &self,
        work: impl FnOnce(&Reader<'_>) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        self.readers.run_afresh(work)
    }

    fn ask(&self, work: Work) -> Result<(), StorageError> {
        let jobs = self.jobs.as_ref().ok_or(StorageError::Closed)?;
        jobs.send(work).map_err(|_| StorageError::Closed)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A registry that is stopped each day still grows older. Without it, less.
        let _ = self.keep_time();
        // Whoever closes the database last moves the log into it, and only the writer can.
        self.readers.close();
        // Ending the queue ends the thread after the jobs that are already in it.
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Lets a connection ask for the tick with `tick()`.
fn give_clock(connection: &Connection, clock: &Arc<Clock>) -> Result<(), StorageError> {
    let clock = Arc::clone(clock);
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
    Ok(connection.create_scalar_function("tick", 0, flags, move |_| Ok(clock.now()))?)
}

impl Reader<'_> {
    /// Whether the database answers.
    pub(crate) fn ping(&self) -> Result<(), StorageError> {
        Ok(self.query_row("SELECT tick FROM clock", [], |_| Ok(()))?)
    }
}

impl Transaction<'_> {
    /// Keeps where the clock stands.
    pub(crate) fn keep_time(&self) -> Result<(), StorageError> {
        let keep = "UPDATE clock SET tick = tick() WHERE tick < tick()";
        self.prepare_cached(keep)?.execute([])?;
        Ok(())
    }
}

/// Moves all that an earlier process left in the log into the database, and empties the log.
///
/// If that process ended because it could not sync the log, the kernel may show rows that are not
/// on the disk and that it will never write by itself; a row that is added behind them would be
/// lost with them. Written anew into the database they are durable like any other. On a full disk
/// the log stays as it is.
fn empty_log(connection: &Connection) -> Result<(), StorageError> {
    let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    match emptied.map_err(StorageError::from) {
        Err(StorageError::Full) => Ok(()),
        outcome => outcome,
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        StorageError::from(error).into()
    }
}

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        // The tables say what is in a column: another thing was not written there by us.
        if matches!(
            error,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::Utf8Error(..)
        ) {
            return Trouble::DatabaseDamaged(error.to_string()).into();
        }
        match error.sqlite_error().map(|error| error.extended_code) {
            // The second is what SQLite says when the index of its log cannot grow.
            Some(ffi::SQLITE_FULL | ffi::SQLITE_IOERR_SHMSIZE) => Self::Full,
            Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) => {
                Trouble::NotSynced(error.to_string()).into()
            }
            Some(ffi::SQLITE_IOERR_WRITE) => Trouble::NotWritten(error.to_string()).into(),
            Some(code) if DAMAGED.contains(&(code & PRIMARY_CODE)) => {
                Trouble::DatabaseDamaged(error.to_string()).into()
            }
            _ => Trouble::Database(error.to_string()).into(),
        }
    }
}

/// What SQLite says of a database whose structure is broken.
const DAMAGED: [i32; 2] = [ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB];
/// The bits of a code that say what failed; the others say where.
const PRIMARY_CODE: i32 = 0xff;
/// How often whoever waits for a copy hears how far it is.
const COPY_NEWS: Duration = Duration::from_millis(100);
/// Prepared statements that each connection keeps.
const STATEMENTS: usize = 64;
/// Page cache of the writing connection, in KiB.
const WRITER_CACHE_KIB: i64 = 4096;

#[cfg(test)]
mod tests;
