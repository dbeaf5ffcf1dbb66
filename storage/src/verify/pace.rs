//! Reading no faster than others can bear.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Keeps reading within a rate.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: Option<NonZeroU64>,
    next: Instant,
}

impl Pace {
    pub(crate) fn new(bytes_per_second: Option<NonZeroU64>) -> Self {
        Self { bytes_per_second, next: Instant::now() }
    }

    /// Counts what was read.
    pub(crate) fn took(&mut self, bytes: usize) {
        let Some(rate) = self.bytes_per_second else { return };
        let time = Duration::from_secs_f64(bytes as f64 / rate.get() as f64);
        // What was not read while nothing was wanted is not made up for.
        let now = Instant::now();
        self.next = self.next.max(now).checked_add(time).unwrap_or(now);
    }

    /// How long to wait now, at most so long that a stop is heard soon.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let rest = self.next.saturating_duration_since(Instant::now());
        (!rest.is_zero()).then(|| rest.min(SHORT_WAIT))
    }
}

/// How long nobody is asked whether to go on.
const SHORT_WAIT: Duration = Duration::from_millis(100);
