//! What one read or one write may do: the methods of [`Reader`] and [`Transaction`] are all that
//! the rest of the crate knows of the database.
//!
//! The methods stand in the files beside this one, by what they are about. Each is a statement or a
//! few; whoever calls them decides what belongs into one transaction.

use std::ops::Deref;

use rusqlite::blob::Blob;
use rusqlite::{CachedStatement, Connection, MAIN_DB, Params, Row, Transaction as SqlTransaction};

/// One read: what it sees is the database of one moment, as far as it asks in one statement.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    connection: &'a Connection,
    now: i64,
}

/// One write in the transaction of its group. It sees what it has written, and what others of the
/// group wrote before it; if it fails nothing of it remains.
pub(crate) struct Transaction<'a>(Reader<'a>);

impl<'a> Reader<'a> {
    /// A read over a connection, at this second since 1970.
    pub(super) fn new(connection: &'a Connection, now: i64) -> Self {
        Self { connection, now }
    }

    /// The second since 1970 at which it began. Ages are not counted from it: `tick()` in SQL is
    /// what the store's own clock shows.
    pub(super) fn now(&self) -> i64 {
        self.now
    }

    pub(super) fn prepare_cached(&self, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
        self.connection.prepare_cached(sql)
    }

    /// The one row of a statement that is asked rarely.
    pub(super) fn query_row<T>(
        &self,
        sql: &str,
        params: impl Params,
        row: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.connection.query_row(sql, params, row)
    }

    /// Whether the database has such a table: one of an earlier schema may lack it.
    pub(super) fn has_table(&self, name: &str) -> rusqlite::Result<bool> {
        self.connection.table_exists(None, name)
    }

    /// Lets all that is asked until its end see the database of one moment.
    pub(super) fn one_moment(&self) -> rusqlite::Result<SqlTransaction<'a>> {
        self.connection.unchecked_transaction()
    }

    /// The column `bytes` of a row, to be read in pieces.
    pub(super) fn open_bytes(&self, table: &str, row: i64) -> rusqlite::Result<Blob<'a>> {
        self.connection.blob_open(MAIN_DB, table, "bytes", row, true)
    }

    /// The number that a pragma tells.
    pub(super) fn pragma(&self, name: &str) -> rusqlite::Result<u64> {
        self.connection.pragma_query_value(None, name, |row| row.get(0))
    }
}

#[cfg(test)]
impl Reader<'_> {
    /// All that its connection can do.
    pub(super) fn connection(&self) -> &Connection {
        self.connection
    }
}

impl<'a> Transaction<'a> {
    /// A write over a connection that has a transaction open, at this second since 1970.
    pub(super) fn new(connection: &'a Connection, now: i64) -> Self {
        Self(Reader::new(connection, now))
    }

    /// Runs a statement that is run rarely; returns how many rows it changed.
    pub(super) fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.connection.execute(sql, params)
    }

    pub(super) fn last_insert_rowid(&self) -> i64 {
        self.connection.last_insert_rowid()
    }

    /// How many rows its connection has changed since it was opened.
    pub(super) fn total_changes(&self) -> u64 {
        self.connection.total_changes()
    }

    /// Lets its connection forget the pages that it has in memory, but for those that were changed,
    /// so that it reads them again.
    pub(super) fn forget_pages(&self) -> rusqlite::Result<()> {
        self.connection.release_memory()
    }
}

impl<'a> Deref for Transaction<'a> {
    type Target = Reader<'a>;

    fn deref(&self) -> &Reader<'a> {
        &self.0
    }
}
