//! The reading connections: read-only, opened when needed, kept for the next reader.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::reader_gate::Gate;
use super::transaction::Reader;
use super::{STATEMENTS, give_clock};
use crate::clock::Clock;
use crate::error::{StorageError, Trouble};

/// How a database is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// Connections that are kept while nobody reads, each with two descriptors.
    pub(crate) connections: usize,
    /// How long a reader waits at most while an overgrown log is truncated.
    pub(crate) most_wait: Duration,
}

/// Idle reading connections.
pub(super) struct Readers {
    path: PathBuf,
    open: fn(&Path) -> Result<Connection, StorageError>,
    clock: Arc<Clock>,
    most_idle: usize,
    idle: Mutex<VecDeque<Connection>>,
    gate: Arc<Gate>,
}

impl Readers {
    /// Readers of the database at `path`, each of which begins with `open`.
    pub(super) fn new(
        path: PathBuf,
        open: fn(&Path) -> Result<Connection, StorageError>,
        clock: Arc<Clock>,
        how: Reading,
    ) -> Self {
        let gate = Arc::new(Gate::new(how.most_wait));
        Self { path, open, clock, most_idle: how.connections, idle: Mutex::default(), gate }
    }

    /// What every read passes.
    pub(super) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }

    /// Lends a connection to `work`. There are as many connections as readers at one time, so
    /// nobody waits for another reader; the caller bounds its threads.
    pub(super) fn run<T>(
        &self,
        work: impl FnOnce(&Reader<'_>) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let _inside = self.gate.enter();
        let kept = self.idle().pop_front();
        self.run_on(kept, work)
    }

    /// Lends a connection that remembers no pages: of those that are kept, the one that
    /// would miss them least.
    pub(super) fn run_afresh<T>(
        &self,
        work: impl FnOnce(&Reader<'_>) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let _inside = self.gate.enter();
        let kept = self.idle().pop_back();
        // What it has in memory may be right where the disk is wrong.
        if let Some(connection) = &kept {
            connection.release_memory()?;
        }
        self.run_on(kept, work)
    }

    /// Runs `work` on a connection that was kept, or on a new one, and keeps it.
    fn run_on<T>(
        &self,
        kept: Option<Connection>,
        work: impl FnOnce(&Reader<'_>) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let connection = match kept {
            Some(connection) => connection,
            None => self.open()?,
        };
        #[cfg(test)]
        let work = |reader: &Reader<'_>| super::step_count::of_read(|| work(reader));
        let result = work(&Reader::new(&connection));
        if matches!(result, Err(StorageError::Failed(Trouble::Database(_)))) {
            // A new one begins with what the disk holds, whatever this one made of a failure.
            return result;
        }
        self.keep(connection);
        result
    }

    /// The database's file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a connection for the next reader. Of those that are used rarely only what makes them
    /// quick to use is kept: the parsed schema, and no pages.
    fn keep(&self, connection: Connection) {
        let is_warm = self.idle().len() < WARM_CONNECTIONS;
        let kept = is_warm || connection.release_memory().is_ok();
        let mut idle = self.idle();
        match idle.len() < self.most_idle && kept {
            true if is_warm => idle.push_front(connection),
            true => idle.push_back(connection),
            false => {}
        }
    }

    /// Closes the connections that are kept, when nobody reads any more.
    pub(super) fn close(&self) {
        self.idle().clear();
    }

    /// A connection of its own, for who keeps it long.
    pub(super) fn open(&self) -> Result<Connection, StorageError> {
        let connection = (self.open)(&self.path)?;
        connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        give_clock(&connection, &self.clock)?;
        #[cfg(test)]
        let connection = super::step_count::counted(connection)?;
        Ok(connection)
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Idle connections that keep the pages they have read.
const WARM_CONNECTIONS: usize = 16;
/// Page cache of each reading connection, in KiB.
const READER_CACHE_KIB: i64 = 1024;
