//! Room in the log of the database, made ahead of the commits that fill it.
//!
//! Where a commit makes the log longer its sync takes a commit of the file system's journal; where
//! it writes over what is there, a flush of the disk alone. SQLite begins the log anew without
//! shortening it, but makes it longer page by page. So the writing thread puts zeros behind what a
//! commit left there, once for many commits, and the sync of the next one covers them.
//!
//! Crash argument: nobody reads them. SQLite knows where the log ends, and after a crash it reads
//! as far as pages belong to this log: a page of zeros belongs to none, as little as what an
//! earlier round left there, and whether they reached the disk matters to nobody. They come behind
//! the end of the file, and only the one thread that writes the log puts them there.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use durable::DiskSpace;

/// The room in the log of one database.
pub(super) struct LogRoom {
    /// Of the log; none if the database has no file.
    path: Option<PathBuf>,
    /// How long the log is, as far as that is known.
    bytes: Cell<u64>,
}

impl LogRoom {
    /// The room in the log beside this database.
    pub(super) fn of(database: Option<&Path>) -> Self {
        let beside = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push("-wal");
            PathBuf::from(name)
        };
        let path = database.filter(|path| !path.as_os_str().is_empty()).map(beside);
        Self { path, bytes: Cell::new(0) }
    }

    /// Makes room behind a log of so many pages, if there is little. What the disk refuses is left:
    /// the log grows then as it would without.
    pub(super) fn make(&self, pages: i32) {
        let used = LOG_HEADER_BYTES + u64::try_from(pages).unwrap_or(0) * LOG_PAGE_BYTES;
        if pages == 0 || self.bytes.get() >= used + LITTLE_BYTES {
            return;
        }
        let Some(path) = &self.path else { return };
        if let Ok(log) = OpenOptions::new().write(true).open(path)
            && DiskSpace::of(path).is_ok_and(|disk| disk.free_bytes >= PLENTY_BYTES)
        {
            self.bytes.set(lengthen(&log, used));
        }
    }

    /// Notes that the log was truncated.
    pub(super) fn forget(&self) {
        self.bytes.set(0);
    }
}

/// Puts zeros behind the end of a log of which so many bytes are used, if there is little room;
/// returns how long it is then.
fn lengthen(log: &File, used: u64) -> u64 {
    let Ok(length) = log.metadata().map(|log| log.len()) else { return 0 };
    if length < used || length >= used + LITTLE_BYTES {
        return length;
    }
    match log.write_all_at(&vec![0; ROOM_BYTES], length) {
        Ok(()) => length + ROOM_BYTES as u64,
        // Part of it may be there.
        Err(_) => log.set_len(length).map_or(0, |()| length),
    }
}

/// The header of a log, in bytes.
const LOG_HEADER_BYTES: u64 = 32;
/// A page of the log, in bytes, with what stands before each.
const LOG_PAGE_BYTES: u64 = 4096 + 24;
/// Room for fewer bytes is little: about what a commit writes.
const LITTLE_BYTES: u64 = 8 * LOG_PAGE_BYTES;
/// With fewer free bytes than this no room is made.
const PLENTY_BYTES: u64 = 256 * 1024 * 1024;
/// What the log gets at once: room for some twenty commits.
const ROOM_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn insert(connection: &Connection, values: std::ops::Range<i64>) {
        for value in values {
            connection.execute("INSERT INTO t VALUES (?1)", [value]).unwrap();
        }
    }

    #[test]
    fn commits_write_over_the_room_and_a_crash_finds_what_they_wrote() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let connection = Connection::open(path("db")).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.execute_batch("CREATE TABLE t (v INTEGER)").unwrap();
        let room = LogRoom::of(Some(&path("db")));
        let length = || std::fs::metadata(path("db-wal")).unwrap().len();
        room.make(2);
        let with_room = length();
        assert_eq!(with_room, 32 + 2 * LOG_PAGE_BYTES + ROOM_BYTES as u64);
        for (end, pages) in [(1, 3), (9, 11)] {
            insert(&connection, end - 1..end);
            room.make(pages);
            assert_eq!(length(), with_room, "there is room");
            for suffix in ["", "-wal"] {
                std::fs::copy(path(&format!("db{suffix}")), path(&format!("dead{suffix}")))
                    .unwrap();
            }
            let dead = Connection::open(path("dead")).unwrap();
            let last = dead.query_row("SELECT max(v) FROM t", [], |row| row.get(0));
            assert_eq!(last, Ok(end - 1));
            drop(dead);
            insert(&connection, end..8);
        }
        // When it is nearly used up there is more; once the log is gone it begins anew.
        let pages = i32::try_from(with_room / LOG_PAGE_BYTES).unwrap() - 1;
        room.make(pages);
        assert_eq!(length(), with_room + ROOM_BYTES as u64);
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        room.forget();
        insert(&connection, 9..10);
        room.make(1);
        assert!(length() < with_room);
        let last = connection.query_row("SELECT max(v) FROM t", [], |row| row.get(0));
        assert_eq!(last, Ok(9));
    }

    #[test]
    fn without_a_log_there_is_no_room() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        for database in [None, Some(Path::new("")), Some(&*path)] {
            LogRoom::of(database).make(1);
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
