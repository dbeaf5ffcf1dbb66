//! Whether the tables of a Quay are there, and are tables: a view, or a column that is computed, is
//! a program that somebody else would run.

use std::collections::BTreeSet;

use rusqlite::Connection;

use crate::error::QuayError;

/// The tables that are read, each with its columns.
const TABLES: [(&str, &[&str]); 4] = [
    ("tag", &["repository_id", "manifest_id", "lifetime_end_ms", "hidden", "name"]),
    ("repository", &["id", "namespace_user_id", "state", "name"]),
    ("user", &["id", "username"]),
    ("manifest", &["id", "digest"]),
];

/// Refuses a database that lacks something.
///
/// # Errors
/// [`QuayError::NoTable`], [`QuayError::NoColumn`], [`QuayError::Unreadable`].
pub(super) fn check(connection: &Connection) -> Result<(), QuayError> {
    let mut is_table = connection.prepare(IS_TABLE)?;
    for (table, columns) in TABLES {
        if !is_table.exists([table])? {
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
        if let Some(column) = columns.iter().find(|column| !plain.contains(**column)) {
            return Err(QuayError::NoColumn { table, column });
        }
    }
    Ok(())
}

/// What a module makes up has no page of the file.
const IS_TABLE: &str =
    "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 AND rootpage > 0";
