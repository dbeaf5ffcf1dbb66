//! What all clients of a load count together, and how they are told to end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Counts of a load that runs.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// How many answers there were of each kind of request and status.
    answers: Mutex<BTreeMap<(&'static str, u16), u64>>,
    all: AtomicU64,
    is_over: AtomicBool,
    has_failed: AtomicBool,
}

impl Tally {
    /// Counts an answer.
    pub(crate) fn count(&self, kind: &'static str, status: u16) {
        *self.lock().entry((kind, status)).or_default() += 1;
        self.all.fetch_add(1, Ordering::Relaxed);
    }

    /// How many answers there were so far.
    pub(crate) fn answers(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }

    /// How many answers of this status there were to requests of this kind.
    pub(crate) fn of(&self, kind: &'static str, status: u16) -> u64 {
        self.lock().get(&(kind, status)).copied().unwrap_or_default()
    }

    /// How many answers there were that blame the server.
    pub(crate) fn refused(&self) -> u64 {
        self.lock().iter().filter(|((_, status), _)| *status >= 500).map(|(_, count)| count).sum()
    }

    /// Lets the clients go on, or end after the step that they are at.
    pub(crate) fn set_over(&self, is_over: bool) {
        self.is_over.store(is_over, Ordering::Relaxed);
    }

    /// Whether the clients shall end.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Notes that a client found a fault and ended.
    pub(crate) fn fail(&self) {
        self.has_failed.store(true, Ordering::Relaxed);
        self.set_over(true);
    }

    /// Whether a client found a fault.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(&'static str, u16), u64>> {
        self.answers.lock().expect("no client panicked here")
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>9} answers", self.answers())?;
        let answers = self.lock();
        let lines =
            answers.iter().map(|((kind, status), count)| format!("{count:>9} {status} {kind}"));
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}
