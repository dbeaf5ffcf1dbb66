//! Whether the body of a request rests: its client sends nothing, and nothing is held for it but
//! its connection. The source of an upload may take hours over a layer; whoever has the connections
//! in hand sees here which of them could be given up for somebody else. A byte now and then does
//! not make it a body that comes.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Since when the body of a connection's request rests.
#[derive(Debug)]
pub struct Rest {
    born: Instant,
    /// Milliseconds after `born` since which next to nothing came; 0 if enough did.
    since: AtomicU64,
    /// Bytes that came since.
    came: AtomicUsize,
    /// Whether more of the body is waited for now.
    is_waiting: AtomicBool,
}

impl Default for Rest {
    fn default() -> Self {
        Self {
            born: Instant::now(),
            since: AtomicU64::new(0),
            came: AtomicUsize::new(0),
            is_waiting: AtomicBool::new(false),
        }
    }
}

impl Rest {
    /// How long the body has been resting; none if it does not.
    pub fn lasted(&self) -> Option<Duration> {
        let since = self.since.load(Ordering::Acquire);
        let is_resting = since != 0 && self.is_waiting.load(Ordering::Acquire);
        is_resting.then(|| Duration::from_millis(self.now().saturating_sub(since)))
    }

    /// Another body begins.
    pub(super) fn begin_anew(&self) {
        self.since.store(0, Ordering::Release);
    }

    /// So many bytes of the body came. A few of them do not end its rest.
    pub(super) fn came(&self, bytes: usize) {
        if self.came.fetch_add(bytes, Ordering::AcqRel) + bytes >= PROGRESS_BYTES {
            self.since.store(0, Ordering::Release);
        }
    }

    /// The body rests until the value that is returned is dropped, and goes on with it the next
    /// time unless enough came meanwhile.
    pub(crate) fn begin(&self) -> Resting<'_> {
        if self.since.load(Ordering::Acquire) == 0 {
            self.came.store(0, Ordering::Release);
            self.since.store(self.now(), Ordering::Release);
        }
        self.is_waiting.store(true, Ordering::Release);
        Resting(self)
    }

    fn now(&self) -> u64 {
        // Never 0, which means that nothing rests.
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

/// A body that rests.
#[derive(Debug)]
pub(crate) struct Resting<'a>(&'a Rest);

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.0.is_waiting.store(false, Ordering::Release);
    }
}

/// Bytes of a body that come before it no longer rests.
const PROGRESS_BYTES: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_bytes_now_and_then_do_not_end_a_rest() {
        let mut rest = Rest::default();
        assert_eq!(rest.lasted(), None);
        drop(rest.begin());
        assert_eq!(rest.lasted(), None, "what came is being written");
        rest.came(1);
        // An hour later.
        rest.born = rest.born.checked_sub(Duration::from_secs(3600)).unwrap();
        let hour = |rest: &Rest| rest.lasted().is_some_and(|time| time.as_secs() >= 3599);
        let resting = rest.begin();
        assert!(hour(&rest));
        drop(resting);
        rest.came(PROGRESS_BYTES);
        let resting = rest.begin();
        assert!(rest.lasted().is_some() && !hour(&rest), "enough came");
        drop(resting);
    }
}
