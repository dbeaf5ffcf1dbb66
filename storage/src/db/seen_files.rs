//! Files that no row names, and since when collection has known them. The time that a file system
//! notes of a file is the wall clock's, which says nothing of ages.

use rusqlite::{OptionalExtension, params};

use super::key::STEP_ROWS;
use super::transaction::{Reader, Transaction};
use crate::error::StorageError;

impl Reader<'_> {
    /// Since which tick each of these files is known; none for one that was never met.
    pub(crate) fn files_seen_since(
        &self,
        names: &[String],
    ) -> Result<Vec<Option<i64>>, StorageError> {
        let mut statement =
            self.prepare_cached("SELECT seen_tick FROM seen_files WHERE name = ?1")?;
        let mut since = Vec::new();
        for name in names {
            since.push(statement.query_row([name], |row| row.get(0)).optional()?);
        }
        Ok(since)
    }
}

impl Transaction<'_> {
    /// Notes files that are met for the first time.
    pub(crate) fn note_seen_files(&self, names: &[String]) -> Result<(), StorageError> {
        let mut statement = self.prepare_cached(
            "INSERT INTO seen_files (name, seen_tick) VALUES (?1, tick()) ON CONFLICT DO NOTHING",
        )?;
        names.iter().try_for_each(|name| statement.execute([name]).map(drop))?;
        Ok(())
    }
}

impl Reader<'_> {
    /// A page of the files that are known.
    pub(crate) fn seen_files(&self, after: &str) -> Result<Vec<String>, StorageError> {
        let mut statement = self
            .prepare_cached("SELECT name FROM seen_files WHERE name > ?1 ORDER BY name LIMIT ?2")?;
        let rows = statement.query_map(params![after, STEP_ROWS], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Transaction<'_> {
    /// Forgets files.
    pub(crate) fn forget_seen_files(&self, names: &[String]) -> Result<(), StorageError> {
        let mut statement = self.prepare_cached("DELETE FROM seen_files WHERE name = ?1")?;
        names.iter().try_for_each(|name| statement.execute([name]).map(drop))?;
        Ok(())
    }
}
