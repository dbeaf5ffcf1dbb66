//! The reading connections: read-only, opened when needed, kept for the next reader.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use super::{STATEMENTS, give_clock};
use crate::clock::Clock;
use crate::error::StorageError;

/// Idle reading connections.
pub(super) struct Readers {
    path: PathBuf,
    open: fn(&Path) -> Result<Connection, StorageError>,
    clock: Arc<Clock>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Readers of the database at `path`, each of which begins with `open`.
    pub(super) fn new(
        path: PathBuf,
        open: fn(&Path) -> Result<Connection, StorageError>,
        clock: Arc<Clock>,
    ) -> Self {
        Self { path, open, clock, idle: Mutex::new(Vec::new()) }
    }

    /// Lends a connection to `work`. There are as many connections as readers at one time, so
    /// nobody waits; the caller bounds its threads.
    pub(super) fn run<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => self.open()?,
        };
        let result = work(&connection);
        if matches!(result, Err(StorageError::Database(_))) {
            // A new one begins with what the disk holds, whatever this one made of a failure.
            return result;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(connection);
        }
        result
    }

    fn open(&self) -> Result<Connection, StorageError> {
        let connection = (self.open)(&self.path)?;
        connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        give_clock(&connection, &self.clock)?;
        Ok(connection)
    }
}

/// Connections kept open while nobody reads.
const IDLE_CONNECTIONS: usize = 16;
/// Page cache of each reading connection, in KiB.
const READER_CACHE_KIB: i64 = 1024;
