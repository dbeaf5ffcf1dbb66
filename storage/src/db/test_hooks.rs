//! What tests outside ask and change of a database, beside the methods that the store uses.

use std::path::Path;

use rusqlite::{Connection, Row};

use super::transaction::{Reader, Transaction};
use crate::error::StorageError;

impl Reader<'_> {
    /// The rows of a query, as tuples.
    pub(crate) fn rows<T>(&self, sql: &str) -> Result<Vec<T>, StorageError>
    where
        for<'r> T: TryFrom<&'r Row<'r>, Error = rusqlite::Error>,
    {
        Ok(rows(self.connection(), sql)?)
    }

    /// The row of a query, as a tuple.
    pub(crate) fn row<T>(&self, sql: &str) -> Result<T, StorageError>
    where
        for<'r> T: TryFrom<&'r Row<'r>, Error = rusqlite::Error>,
    {
        Ok(self.connection().query_row(sql, [], |row| T::try_from(row))?)
    }

    /// The number that a query tells.
    pub(crate) fn number(&self, sql: &str) -> Result<i64, StorageError> {
        self.row(sql).map(|(number,)| number)
    }
}

impl Transaction<'_> {
    /// Lets its connection read pages again that it has in memory.
    pub(crate) fn forget_memory(&self) -> Result<(), StorageError> {
        Ok(self.forget_pages()?)
    }

    /// Runs statements that no method has.
    pub(crate) fn run(&self, statements: &str) -> Result<(), StorageError> {
        self.note(None);
        Ok(self.noted(|| self.connection().execute_batch(statements))?)
    }
}

/// Changes a database behind the back of who has it open, also so that rows name what is not there.
pub(crate) fn spoil(path: &Path, statements: &str) {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "foreign_keys", false).unwrap();
    connection.execute_batch(statements).unwrap();
}

/// The rows of a query, as tuples, over a connection of its own.
pub(crate) fn rows_of<T>(path: &Path, sql: &str) -> Vec<T>
where
    for<'r> T: TryFrom<&'r Row<'r>, Error = rusqlite::Error>,
{
    rows(&Connection::open(path).unwrap(), sql).unwrap()
}

fn rows<T>(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<T>>
where
    for<'r> T: TryFrom<&'r Row<'r>, Error = rusqlite::Error>,
{
    let mut statement = connection.prepare(sql)?;
    statement.query_map([], |row| T::try_from(row))?.collect()
}
