//! Whether the body of a request rests: its client sends nothing, and nothing is held for it but
//! its connection. The source of an upload may take hours over a layer; whoever has the connections
//! in hand sees here which of them could be given up for somebody else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Since when the body of a connection's request rests.
#[derive(Debug)]
pub struct Rest {
    born: Instant,
    /// Milliseconds after `born`; 0 while nothing rests.
    since: AtomicU64,
}

impl Default for Rest {
    fn default() -> Self {
        Self { born: Instant::now(), since: AtomicU64::new(0) }
    }
}

impl Rest {
    /// How long the body has been resting; none if it does not.
    pub fn lasted(&self) -> Option<Duration> {
        match self.since.load(Ordering::Acquire) {
            0 => None,
            since => Some(Duration::from_millis(self.now().saturating_sub(since))),
        }
    }

    /// The body rests until the value that is returned is dropped.
    pub(super) fn begin(&self) -> Resting<'_> {
        self.since.store(self.now(), Ordering::Release);
        Resting(self)
    }

    fn now(&self) -> u64 {
        // Never 0, which means that nothing rests.
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

/// A body that rests.
#[derive(Debug)]
pub(super) struct Resting<'a>(&'a Rest);

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.0.since.store(0, Ordering::Release);
    }
}
