//! Syncing what was read, many files at a time.
//!
//! A file system puts syncs that come at the same time into one commit of its journal, and one that
//! comes alone takes a flush of the disk at least. So there are more threads for this than for
//! anything else; all they do is to wait.

use std::sync::{Mutex, PoisonError};
use std::thread;

use storage::{CheckedFile, StorageError};

/// Syncs all of these files.
///
/// # Errors
/// Trouble with the disk. Files whose sync failed, or was not begun, are gone.
pub(super) fn sync_all(files: Vec<CheckedFile>) -> Result<(), StorageError> {
    let threads = files.len().min(THREADS);
    let rest = Mutex::new(files.into_iter());
    let next = || rest.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || std::iter::from_fn(next).try_for_each(CheckedFile::sync);
    thread::scope(|scope| {
        // With fewer threads, or this one alone, it takes longer.
        let begin = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let others: Vec<_> = (1..threads).filter_map(begin).collect();
        let own = work();
        others.into_iter().fold(own, |outcome, other| {
            let other = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            outcome.and(other)
        })
    })
}

/// Syncs that are under way at once.
const THREADS: usize = 16;
