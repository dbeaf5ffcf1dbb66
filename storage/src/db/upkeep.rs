//! When each task of upkeep last ended, and what it did or has to remember.

use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use super::transaction::{Reader, Transaction};
use crate::error::{StorageError, Trouble};

/// How a task of upkeep ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpkeepNote {
    /// When, in seconds since 1970.
    pub(crate) ended_at: i64,
    /// When, on the store's own clock.
    pub(crate) ended_tick: i64,
    /// What it did, in the task's own words: JSON.
    pub(crate) summary: String,
}

impl Transaction<'_> {
    /// Notes that a task ended now.
    pub(crate) fn note_upkeep(&self, task: &str, summary: &str) -> Result<(), StorageError> {
        self.prepare_cached(
            "INSERT INTO upkeep (task, ended_at, ended_tick, summary) VALUES (?1, ?2, tick(), ?3)
                 ON CONFLICT (task)
                 DO UPDATE SET ended_at = excluded.ended_at, ended_tick = excluded.ended_tick,
                               summary = excluded.summary",
        )?
        .execute(params![task, self.now(), summary])?;
        Ok(())
    }
}

impl Reader<'_> {
    /// How a task last ended.
    pub(crate) fn last_upkeep(&self, task: &str) -> Result<Option<UpkeepNote>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT ended_at, coalesce(ended_tick, ended_at), summary FROM upkeep WHERE task = ?1",
        )?;
        let note = |row: &rusqlite::Row<'_>| {
            let (ended_at, ended_tick, summary) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(UpkeepNote { ended_at, ended_tick, summary })
        };
        Ok(statement.query_row(params![task], note).optional()?)
    }
}

/// What is noted of a task, from what it says of itself.
pub(crate) fn summary(document: &impl Serialize) -> Result<String, StorageError> {
    serde_json::to_string(document)
        .map_err(|error| StorageError::Failed(Trouble::Database(error.to_string())))
}

impl Transaction<'_> {
    /// Forgets how a task ended.
    pub(crate) fn forget_upkeep(&self, task: &str) -> Result<(), StorageError> {
        self.prepare_cached("DELETE FROM upkeep WHERE task = ?1")?.execute(params![task])?;
        Ok(())
    }
}
