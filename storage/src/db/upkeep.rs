//! When each task of upkeep last ended, and what it has to remember.

use rusqlite::{Connection, OptionalExtension, params};

use super::unix_now;
use crate::error::StorageError;

/// What stands of a task: when it was noted, in seconds since 1970, and its summary.
pub(crate) fn read(
    connection: &Connection,
    task: &str,
) -> Result<Option<(i64, String)>, StorageError> {
    let mut statement =
        connection.prepare_cached("SELECT ended_at, summary FROM upkeep WHERE task = ?1")?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    Ok(statement.query_row(params![task], row).optional()?)
}

/// Notes that a task ended now, or, of one that is remembered, where it stands now.
pub(crate) fn note(connection: &Connection, task: &str, summary: &str) -> Result<(), StorageError> {
    connection
        .prepare_cached(
            "INSERT INTO upkeep (task, ended_at, summary) VALUES (?1, ?2, ?3)
             ON CONFLICT (task)
             DO UPDATE SET ended_at = excluded.ended_at, summary = excluded.summary",
        )?
        .execute(params![task, unix_now(), summary])?;
    Ok(())
}

/// Forgets what stands of a task.
pub(crate) fn forget(connection: &Connection, task: &str) -> Result<(), StorageError> {
    connection.prepare_cached("DELETE FROM upkeep WHERE task = ?1")?.execute(params![task])?;
    Ok(())
}
