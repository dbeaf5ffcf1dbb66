//! Whether the tables of a Quay are there, and are tables: a view, or a column that is computed, is
//! a program that somebody else would run.

use std::collections::BTreeSet;

use rusqlite::Connection;

use crate::error::QuayError;

/// The tables that are read, each with its columns.
const TABLES: [(&str, &[&str]); 4] = [
    ("tag", &["repository_id", "manifest_id", "lifetime_end_ms", "hidden", "name"]),
    ("repository", &["id", "namespace_user_id", "state", "name"]),
    ("user", &["id", "username", "enabled"]),
    ("manifest", &["id", "repository_id", "digest", "manifest_bytes"]),
];

/// The namespaces that are being deleted. Not every version has the table.
const DELETED: (&str, &[&str]) = ("deletednamespace", &["namespace_id"]);

/// Refuses a database that lacks something. Says whether it has the table of namespaces that are
/// being deleted.
///
/// # Errors
/// [`QuayError::NoTable`], [`QuayError::NoColumn`], [`QuayError::Unreadable`].
pub(super) fn check(connection: &Connection) -> Result<bool, QuayError> {
    for (table, columns) in TABLES {
        check_table(connection, table, columns)?;
    }
    let (table, columns) = DELETED;
    let has_deleted = connection.prepare(IS_SOMETHING)?.exists([table])?;
    if has_deleted {
        check_table(connection, table, columns)?;
    }
    Ok(has_deleted)
}

fn check_table(
    connection: &Connection,
    table: &'static str,
    columns: &'static [&'static str],
) -> Result<(), QuayError> {
    if !connection.prepare(IS_TABLE)?.exists([table])? {
        return Err(QuayError::NoTable(table));
    }
    let mut plain = BTreeSet::new();
    connection.pragma(None, "table_xinfo", table, |row| {
        // A column that is computed is hidden in one way or another.
        if row.get::<_, i64>("hidden")? == 0 {
            plain.insert(row.get::<_, String>("name")?);
        }
        Ok(())
    })?;
    match columns.iter().find(|column| !plain.contains(**column)) {
        Some(column) => Err(QuayError::NoColumn { table, column }),
        None => Ok(()),
    }
}

const IS_SOMETHING: &str = "SELECT 1 FROM sqlite_schema WHERE name = ?1";
/// What a module makes up has no page of the file.
const IS_TABLE: &str =
    "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 AND rootpage > 0";
