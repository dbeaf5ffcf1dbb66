//! How much SQLite's machine does for reads: tests count its steps where others would take the
//! time.

use std::cell::Cell;

use rusqlite::Connection;

/// What the reads of this thread took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    /// All of them, in hundreds of steps.
    pub(crate) all: u64,
    /// The longest of them.
    pub(crate) longest: u64,
}

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
    static LONGEST: Cell<u64> = const { Cell::new(0) };
}

/// A connection whose steps are counted, for whichever thread uses it.
pub(super) fn counted(mut connection: Connection) -> rusqlite::Result<Connection> {
    let count = || {
        NOW.set(NOW.get() + 1);
        false
    };
    connection.progress_handler(UNIT, Some(count))?;
    Ok(connection)
}

/// Does `work`, which is one read.
pub(super) fn of_read<T>(work: impl FnOnce() -> T) -> T {
    let before = NOW.get();
    let done = work();
    LONGEST.set(LONGEST.get().max(NOW.get() - before));
    done
}

/// What the reads of `work` take.
pub(crate) fn of<T>(work: impl FnOnce() -> T) -> (T, Steps) {
    let before = NOW.get();
    LONGEST.set(0);
    let done = work();
    (done, Steps { all: NOW.get() - before, longest: LONGEST.get() })
}

/// Steps that count as one.
const UNIT: i32 = 100;
