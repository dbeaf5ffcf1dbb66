//! What one read or one write may do: the methods of [`Reader`] and [`Transaction`] are all that
//! the rest of the crate knows of the database.
//!
//! The methods stand in the files beside this one, by what they are about. Each is a statement or a
//! few; whoever calls them decides what belongs into one transaction.

use std::ops::Deref;

use rusqlite::blob::Blob;
use rusqlite::{CachedStatement, Connection, MAIN_DB, Params, Row, Transaction as SqlTransaction};

use super::changes::Changes;
use super::key::RepoId;

/// One read: what it sees is the database of one moment, as far as it asks in one statement.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a Connection);

/// One write in the transaction of its group. It sees what it has written, and what others of the
/// group wrote before it; if it fails nothing of it remains.
pub(crate) struct Transaction<'a> {
    reader: Reader<'a>,
    now: i64,
    /// Where it is noted what it touches, if anybody is answered from the database.
    changes: Option<&'a Changes>,
}

impl<'a> Reader<'a> {
    /// A read over a connection.
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self(connection)
    }

    pub(super) fn prepare_cached(&self, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
        self.0.prepare_cached(sql)
    }

    /// The one row of a statement that is asked rarely.
    pub(super) fn query_row<T>(
        &self,
        sql: &str,
        params: impl Params,
        row: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.0.query_row(sql, params, row)
    }

    /// Whether the database has such a table: one of an earlier schema may lack it.
    pub(super) fn has_table(&self, name: &str) -> rusqlite::Result<bool> {
        self.0.table_exists(None, name)
    }

    /// Lets all that is asked until its end see the database of one moment.
    pub(super) fn one_moment(&self) -> rusqlite::Result<SqlTransaction<'a>> {
        self.0.unchecked_transaction()
    }

    /// The column `bytes` of a row, to be read in pieces.
    pub(super) fn open_bytes(&self, table: &str, row: i64) -> rusqlite::Result<Blob<'a>> {
        self.0.blob_open(MAIN_DB, table, "bytes", row, true)
    }

    /// The number that a pragma tells.
    pub(super) fn pragma(&self, name: &str) -> rusqlite::Result<u64> {
        self.0.pragma_query_value(None, name, |row| row.get(0))
    }
}

#[cfg(test)]
impl Reader<'_> {
    /// All that its connection can do.
    pub(super) fn connection(&self) -> &Connection {
        self.0
    }
}

impl<'a> Transaction<'a> {
    /// A write over a connection that has a transaction open, at this second since 1970, to a
    /// database from which nobody is answered yet.
    pub(super) fn new(connection: &'a Connection, now: i64) -> Self {
        Self { reader: Reader::new(connection), now, changes: None }
    }

    /// The same while clients are answered. What it touches is noted.
    pub(super) fn noted_in(changes: &'a Changes, connection: &'a Connection, now: i64) -> Self {
        Self { changes: Some(changes), ..Self::new(connection, now) }
    }

    /// The second since 1970 at which it began. Ages are not counted from it: `tick()` in SQL is
    /// what the store's own clock shows.
    pub(super) fn now(&self) -> i64 {
        self.now
    }

    /// A statement that changes what a repository answers when it is asked for a manifest.
    pub(super) fn change(
        &self,
        repository: RepoId,
        sql: &str,
    ) -> rusqlite::Result<CachedStatement<'a>> {
        self.note(Some(repository));
        self.prepare_noted(sql)
    }

    /// A statement that may change what any repository answers.
    pub(super) fn change_all(&self, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
        self.note(None);
        self.prepare_noted(sql)
    }

    /// A statement whose changes were noted, or touch no answer.
    pub(super) fn prepare_noted(&self, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
        // A text of its own: who prepares the same without a note finds this one not kept.
        let sql = format!("/* noted */ {sql}");
        self.noted(|| self.prepare_cached(&sql))
    }

    /// Notes a repository, or, with none, all of them.
    pub(super) fn note(&self, repository: Option<RepoId>) {
        if let Some(changes) = self.changes {
            changes.note(repository);
        }
    }

    /// Prepares what was noted.
    pub(super) fn noted<T>(&self, prepare: impl FnOnce() -> T) -> T {
        match self.changes {
            Some(changes) => changes.noted(prepare),
            None => prepare(),
        }
    }

    /// Runs a statement that is run rarely; returns how many rows it changed.
    pub(super) fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.reader.0.execute(sql, params)
    }

    pub(super) fn last_insert_rowid(&self) -> i64 {
        self.reader.0.last_insert_rowid()
    }

    /// How many rows its connection has changed since it was opened.
    pub(super) fn total_changes(&self) -> u64 {
        self.reader.0.total_changes()
    }

    /// Lets its connection forget the pages that it has in memory, but for those that were changed,
    /// so that it reads them again.
    pub(super) fn forget_pages(&self) -> rusqlite::Result<()> {
        self.reader.0.release_memory()
    }
}

impl<'a> Deref for Transaction<'a> {
    type Target = Reader<'a>;

    fn deref(&self) -> &Reader<'a> {
        &self.reader
    }
}
