use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use super::*;
use crate::db::writer::OVERGROWN_PAGES;
use crate::db::{Database, Reading};
use crate::error::StorageError;
use crate::layout::Layout;
use crate::space::Space;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(20);

#[test]
fn who_closes_waits_for_readers_and_new_ones_wait_until_it_is_open() {
    let gate = Gate::new(LONG);
    let (first, second) = (gate.enter(), gate.enter());
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let closed = gate.close();
            assert!(closed.is_some());
            tell.send("closed").unwrap();
            assert_eq!(gate.lock().readers, 0, "nobody came in");
        });
        while !gate.lock().is_closed {
            std::thread::yield_now();
        }
        scope.spawn(|| {
            let _inside = gate.enter();
            tell.send("entered").unwrap();
        });
        drop(first);
        assert!(told.try_recv().is_err(), "the second is inside");
        drop(second);
        assert_eq!(told.recv(), Ok("closed"));
        assert_eq!(told.recv(), Ok("entered"));
    });
}

#[test]
fn nobody_waits_for_ever_for_a_reader_that_stays_or_reads_again() {
    let gate = Gate::new(SHORT);
    let staying = gate.enter();
    assert!(gate.close().is_none());
    assert!(!gate.lock().is_closed, "it is open again");
    drop(staying);
    let closed = gate.close();
    assert!(closed.is_some());
    // The gate stays closed, and who waited long enough reads all the same.
    let _first = gate.enter();
    let _again = gate.enter();
    assert_eq!(gate.lock().readers, 2);
}

fn open() -> (tempfile::TempDir, Database) {
    fn fatal(error: &StorageError) -> ! {
        panic!("the database ended the process: {error}")
    }
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::new(directory.path());
    let space = Arc::new(Space::new(&layout, 0));
    let reading = Reading { connections: 16, most_wait: Duration::from_secs(1) };
    let database = Database::open(&layout, &space, true, reading, fatal, |_| {}).unwrap();
    (directory, database)
}

#[test]
fn readers_that_overlap_do_not_let_the_log_grow_and_none_is_refused() {
    let (directory, database) = open();
    let log = Layout::new(directory.path()).database().with_extension("db-wal");
    let is_done = AtomicBool::new(false);
    let mut largest = 0;
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    let read = database.read(|connection| {
                        let mut statement =
                            connection.prepare_cached("SELECT digest FROM manifests")?;
                        let mut rows = statement.query([])?;
                        rows.next()?;
                        // A page of some size.
                        std::thread::sleep(Duration::from_millis(5));
                        Ok(())
                    });
                    assert_eq!(read, Ok(()));
                }
            });
        }
        // Four times what makes a log too long.
        let pages = 4 * i64::from(OVERGROWN_PAGES);
        for n in 0..pages / PAGES_OF_A_WRITE {
            let written = database.write(move |connection| {
                let row = "REPLACE INTO manifests (digest, bytes) VALUES (?1, zeroblob(?2))";
                connection.execute(row, (n % 2, PAGES_OF_A_WRITE * 4096))?;
                Ok(())
            });
            assert_eq!(written, Ok(()));
            largest = largest.max(std::fs::metadata(&log).unwrap().len());
        }
        is_done.store(true, Ordering::Relaxed);
    });
    let bound = 4096 * u64::try_from(OVERGROWN_PAGES).unwrap() * 3 / 2;
    assert!(largest < bound, "the log grew to {largest} bytes");
}

const PAGES_OF_A_WRITE: i64 = 256;

#[test]
fn a_read_within_a_read_that_keeps_the_log_from_being_truncated_ends_and_so_does_the_write() {
    let (_directory, database) = open();
    let write = || {
        database.write(|connection| {
            let row = "REPLACE INTO manifests (digest, bytes) VALUES ('a', zeroblob(?1))";
            connection.execute(row, [2 * 4096 * OVERGROWN_PAGES])?;
            Ok(())
        })
    };
    let outcome = database.read(|connection| {
        connection.query_row("SELECT count(*) FROM manifests", [], |_| Ok(()))?;
        // The log is too long now, so this reader's gate is closed behind it for a while.
        write()?;
        database.read(|connection| Ok(connection.query_row("SELECT 1", [], |_| Ok(()))?))?;
        write()
    });
    assert_eq!(outcome, Ok(()));
}
