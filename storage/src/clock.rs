//! The store's own clock, on which ages are counted.
//!
//! It counts ticks: seconds during which the store was open. The wall clock may jump and a registry
//! may rest for weeks; neither makes anything here older, so neither makes collection take what was
//! to stay for a time. The wall clock is for display.
//!
//! Where it stands is kept in the database now and then ([`crate::Store::keep_time`]). A process
//! that is killed loses what passed since: things are then a little younger than they would be,
//! which takes nothing away.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The clock of one open store. Its ticks are greater than 0, which is the beginning of time.
#[derive(Debug)]
pub(crate) struct Clock {
    began: Instant,
    /// The tick at `began`.
    from: AtomicI64,
}

impl Clock {
    /// Goes on from a tick.
    pub(crate) fn from(tick: i64) -> Self {
        Self { began: Instant::now(), from: AtomicI64::new(tick.max(1)) }
    }

    /// The tick now.
    pub(crate) fn now(&self) -> i64 {
        self.from.load(Ordering::Relaxed).saturating_add(ticks(self.began.elapsed()))
    }

    /// The last tick of those that are `time` old, or the beginning of time. No time at all is what
    /// everything is old enough for: also what was noted shortly before a crash, which lies ahead
    /// of a clock that lost the time since it was kept.
    pub(crate) fn ago(&self, time: Duration) -> i64 {
        match time.is_zero() {
            true => i64::MAX,
            false => self.now().saturating_sub(ticks(time)).max(BEGINNING),
        }
    }

    /// How long ago a tick was. One that lies ahead, after a crash, was just now.
    pub(crate) fn since(&self, tick: i64) -> Duration {
        let ticks = self.now().saturating_sub(tick);
        Duration::from_secs(u64::try_from(ticks).unwrap_or(0))
    }

    /// Lets time pass.
    #[cfg(test)]
    pub(crate) fn pass(&self, time: Duration) {
        self.from.fetch_add(ticks(time), Ordering::Relaxed);
    }
}

/// The second since 1970 by the wall clock: what people are shown.
pub(crate) fn wall_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Before every tick: what is noted with it is old enough for everything.
pub(crate) const BEGINNING: i64 = 0;

/// A time in whole ticks.
pub(crate) fn ticks(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_from_where_it_stood_and_never_wraps() {
        let clock = Clock::from(1000);
        assert!((1000..1010).contains(&clock.now()));
        clock.pass(Duration::from_secs(60));
        assert!((1060..1070).contains(&clock.now()));
        assert!((1000..1010).contains(&clock.ago(Duration::from_secs(60))));
        assert_eq!(clock.ago(Duration::MAX), BEGINNING);
        assert_eq!(clock.ago(Duration::ZERO), i64::MAX);
        assert!((60..70).contains(&clock.since(1000).as_secs()));
        assert_eq!(clock.since(i64::MAX), Duration::ZERO);
        assert_eq!(Clock::from(i64::MAX).now(), i64::MAX);
        assert!(Clock::from(0).now() > BEGINNING);
    }
}
