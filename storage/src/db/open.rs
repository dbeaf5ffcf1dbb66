//! The doors to a database's file: every connection is made here, and trusts nothing of the file.
//!
//! The file belongs to the service's user, a backup lies where others may write, and root opens
//! both. So before a row is read, the schema is held against the one that the migrations make
//! ([`super::schema_check`]); and nothing that a schema could bring along runs, whatever it says.
//! What SQLite keeps for a while stays in memory: with a full /var/tmp, where it would go
//! otherwise, the registry works as ever. `.cargo/config.toml` leaves out of SQLite what is not
//! used here.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::{read_only, schema_check};
use crate::error::StorageError;

/// A connection that writes to a database that is there; one thread at a time uses it. A file of
/// no bytes is a database of no tables.
pub(super) fn open_to_write(path: &Path) -> Result<Connection, StorageError> {
    open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

/// A connection that only reads a database that is there.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, StorageError> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// A connection that only reads where the disk is read-only, and so nobody writes.
pub(super) fn open_frozen(path: &Path) -> Result<Connection, StorageError> {
    prepared(read_only::open(path)?, path)
}

/// A connection that only reads the database of another program, to which nobody writes. The schema
/// is not ours: whoever asks looks at it first. How much of it SQLite keeps is bounded, and it ends
/// what it does when `is_enough` says so, which is asked again after each of these many steps.
pub(super) fn open_foreign(
    path: &Path,
    steps_at_once: i32,
    is_enough: impl FnMut() -> bool + Send + 'static,
) -> rusqlite::Result<Connection> {
    let mut connection = read_only::open_file_alone(path)?;
    for (limit, most) in FOREIGN_LIMITS {
        connection.set_limit(limit, most)?;
    }
    connection.progress_handler(steps_at_once, Some(is_enough))?;
    harden(&connection)?;
    bound_cache(&connection)?;
    Ok(connection)
}

fn open(path: &Path, access: OpenFlags) -> Result<Connection, StorageError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    prepared(Connection::open_with_flags(path, flags)?, path)
}

fn prepared(connection: Connection, path: &Path) -> Result<Connection, StorageError> {
    harden(&connection)?;
    schema_check::check(&connection, path)?;
    bound_cache(&connection)?;
    Ok(connection)
}

/// Otherwise the header of the file says how many pages SQLite keeps. This reads the schema.
fn bound_cache(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cache_size", -CACHE_KIB)
}

/// <https://www.sqlite.org/security.html> says what each of them is for.
fn harden(connection: &Connection) -> rusqlite::Result<()> {
    for (setting, is_on) in SETTINGS {
        connection.set_db_config(setting, is_on)?;
    }
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

const SETTINGS: [(DbConfig, bool); 8] = [
    (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
    (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
    (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
    // A statement is planned once. Otherwise one over a table with an index of some of its rows is
    // parsed and planned anew each time that it gets other parameters, which the writing connection
    // would refuse besides (`changes.rs`).
    (DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true),
];

/// How much a connection keeps in memory of its file, in KiB, where nobody says otherwise.
const CACHE_KIB: i64 = 2000;

/// What SQLite takes of another program's file: values and texts of its schema in bytes, and parts
/// of that. Quay has some four hundred parts, of at most 2 KiB, and manifests of up to 4 MiB.
const FOREIGN_LIMITS: [(Limit, i32); 3] = [
    (Limit::SQLITE_LIMIT_LENGTH, (4 << 20) + (32 << 10)),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 32 << 10),
    (Limit::SQLITE_LIMIT_SCHEMA, 2048),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> (tempfile::TempDir, [Connection; 4]) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        std::fs::write(&path, "").unwrap();
        let doors = [open_to_write, open_to_read, open_frozen];
        let [writing, reading, frozen] = doors.map(|open| open(&path).unwrap());
        let foreign = open_foreign(&path, 1000, || false).unwrap();
        (directory, [writing, reading, frozen, foreign])
    }

    #[test]
    fn every_connection_is_hardened_and_keeps_temporary_data_in_memory() {
        let (_directory, connections) = all();
        for connection in &connections {
            for (setting, is_on) in SETTINGS {
                assert_eq!(connection.db_config(setting), Ok(is_on), "{setting:?}");
            }
            let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get(0));
            assert_eq!(number("temp_store"), Ok(2), "2 is MEMORY");
            assert_eq!(number("cell_size_check"), Ok(1));
            assert_eq!(number("trusted_schema"), Ok(0));
        }
    }

    #[test]
    fn no_header_says_how_much_memory_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (v)").unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[48..52].copy_from_slice(&1_000_000_u32.to_be_bytes());
        std::fs::write(&path, bytes).unwrap();
        let connection = open_foreign(&path, 1000, || false).unwrap();
        let size = connection.pragma_query_value(None, "cache_size", |row| row.get(0));
        assert_eq!(size, Ok(-CACHE_KIB));
    }

    #[test]
    fn sqlite_has_what_the_registry_uses_and_no_more() {
        let (_directory, [connection, ..]) = all();
        let mut statement = connection.prepare("PRAGMA compile_options").unwrap();
        let options = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let options: Vec<String> = options.collect::<Result<_, _>>().unwrap();
        let missing = "is cargo run below the directory of .cargo/config.toml?";
        for option in
            ["TEMP_STORE=3", "MAX_ATTACHED=0", "OMIT_LOAD_EXTENSION", "OMIT_JSON", "DQS=0"]
        {
            assert!(options.iter().any(|o| o == option), "{option} is missing: {missing}");
        }
        for part in ["FTS", "RTREE", "DBSTAT", "STAT4", "SOUNDEX", "USE_URI"] {
            assert!(!options.iter().any(|o| o.contains(part)), "{part} is there: {missing}");
        }
        for (statement, refusal) in [
            ("CREATE VIRTUAL TABLE t USING fts5(a)", "no such module: fts5"),
            ("CREATE VIRTUAL TABLE t USING fts3(a)", "no such module: fts3"),
            ("CREATE VIRTUAL TABLE t USING rtree(a, b, c)", "no such module: rtree"),
            ("SELECT * FROM dbstat", "no such table: dbstat"),
            ("SELECT load_extension('a')", "no such function: load_extension"),
            ("SELECT json('{}')", "no such function: json"),
            ("ATTACH ':memory:' AS other", "too many attached databases - max 0"),
        ] {
            let error = connection.execute_batch(statement).unwrap_err().to_string();
            assert!(error.contains(refusal), "{statement}: {error}");
        }
    }
}
