//! Databases that nobody writes to, read where they lie: the one of a store whose disk is
//! read-only, together with its log, and the one of another program, which has none.
//!
//! SQLite keeps the index of a log in a file beside it, which cannot be made or changed there. A
//! connection that believes it is alone keeps it in memory instead, so each one here believes so
//! and reads the log for itself when it is opened. That is right because nobody writes: this
//! process holds the lock of the store, and the disk takes nothing. Nothing is copied, so it takes
//! no room anywhere, however long the log is.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::StorageError;

/// Opens the database with all that its log holds. Changes nothing, not even when it is closed.
pub(super) fn open(path: &Path) -> Result<Connection, StorageError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    // SQLite would make the log where there is none; one that is empty changes nothing.
    let has_log = Path::new(&log).metadata().is_ok_and(|log| log.len() > 0);
    let how = if has_log { "vfs=unix-none" } else { "immutable=1" };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri(path, how), flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Before the first look into the database, which decides where the index of the log is kept.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    Ok(connection)
}

/// Opens a database of which its file is all, and to which nobody writes. No link is followed.
pub(super) fn open_file_alone(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri(path, "immutable=1"), flags)
}

/// The path as SQLite reads it when settings follow behind a question mark.
fn uri(path: &Path, settings: &str) -> OsString {
    let mut uri = b"file:".to_vec();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'?' | b'#' | b'%' => uri.extend(format!("%{byte:02x}").bytes()),
            byte => uri.push(*byte),
        }
    }
    uri.push(b'?');
    uri.extend(settings.bytes());
    OsString::from_vec(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database in a directory whose name is hard to say, with a log that nobody has moved into
    /// it; and the connection that keeps it so.
    fn with_log() -> (tempfile::TempDir, std::path::PathBuf, Connection) {
        let directory = tempfile::Builder::new().prefix("50%? #a").tempdir().unwrap();
        let path = directory.path().join("db");
        let writer = Connection::open(&path).unwrap();
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        writer.execute_batch("CREATE TABLE t (v); INSERT INTO t VALUES (1), (2)").unwrap();
        (directory, path, writer)
    }

    fn count(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn the_rows_of_the_log_are_seen_and_nothing_is_changed() {
        let (directory, path, writer) = with_log();
        // As a process leaves it that is killed.
        let copy = directory.path().join("copy");
        std::fs::copy(&path, &copy).unwrap();
        let log = directory.path().join("copy-wal");
        std::fs::copy(directory.path().join("db-wal"), &log).unwrap();
        let before = (std::fs::read(&copy).unwrap(), std::fs::read(&log).unwrap());
        let (first, second) = (open(&copy).unwrap(), open(&copy).unwrap());
        assert_eq!((count(&first), count(&second)), (2, 2));
        assert!(first.execute_batch("INSERT INTO t VALUES (3)").is_err());
        drop((first, second));
        assert_eq!((std::fs::read(&copy).unwrap(), std::fs::read(&log).unwrap()), before);
        assert!(!directory.path().join("copy-shm").exists());
        drop(writer);
    }

    #[test]
    fn without_a_log_none_is_made() {
        let (directory, path, writer) = with_log();
        drop(writer);
        assert!(!directory.path().join("db-wal").exists());
        let connection = open(&path).unwrap();
        assert_eq!(count(&connection), 2);
        drop(connection);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
