//! When a certificate begins and ends, and when it is time to renew it.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

/// The time in which a certificate is valid, both ends included, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Seconds since 1970.
    pub(crate) not_before: i64,
    /// Seconds since 1970.
    pub(crate) not_after: i64,
}

impl Validity {
    /// The first second in which clients accept the certificate.
    pub fn not_before(&self) -> SystemTime {
        system_time(self.not_before)
    }

    /// The last second in which clients accept the certificate.
    pub fn not_after(&self) -> SystemTime {
        system_time(self.not_after)
    }

    /// Whether less than a third of the time is left, or none: the certificate is to be renewed.
    pub fn is_due(&self, now: SystemTime) -> bool {
        let third = self.not_after.saturating_sub(self.not_before) / 3;
        seconds(now) > self.not_after.saturating_sub(third)
    }

    /// Whether the time has not come yet.
    pub fn is_early(&self, now: SystemTime) -> bool {
        seconds(now) < self.not_before
    }

    /// Whether the time is over.
    pub fn is_over(&self, now: SystemTime) -> bool {
        seconds(now) > self.not_after
    }

    /// The time of a new certificate: from [`BACKDATE_SECONDS`] ago, for at most `days`, and
    /// never outside its issuer's.
    pub(crate) fn planned(now: SystemTime, days: i64, issuer: Option<Self>) -> Self {
        let start = seconds(now).saturating_sub(BACKDATE_SECONDS);
        let limit = issuer.unwrap_or(Self { not_before: i64::MIN, not_after: i64::MAX });
        let not_before = start.max(limit.not_before);
        // Both ends count, so the last second is one less.
        let not_after = not_before.saturating_add(days * DAY_SECONDS - 1).min(limit.not_after);
        Self { not_before, not_after }
    }

    /// The time in which two certificates are valid together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }
}

/// Seconds since 1970, rounded down.
pub(crate) fn seconds(time: SystemTime) -> i64 {
    let whole = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => whole(after),
        Err(before) => -whole(before.duration()),
    }
}

/// A time as people read it, in UTC.
pub(crate) fn utc(time: SystemTime) -> String {
    match OffsetDateTime::from_unix_timestamp(seconds(time)) {
        Ok(time) => {
            let (date, clock) = (time.date(), time.time());
            let (hour, minute, second) = clock.as_hms();
            format!("{date} {hour:02}:{minute:02}:{second:02} UTC")
        }
        Err(_) => "a time beyond the year 9999".to_owned(),
    }
}

fn system_time(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    // Certificates hold the years 0 to 9999, which every supported system can express.
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// How long before its making a certificate begins to be valid. Clocks on the wrong side of an
/// air gap differ, and a client that is behind must not refuse a new certificate.
pub(crate) const BACKDATE_SECONDS: i64 = DAY_SECONDS;

const DAY_SECONDS: i64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> SystemTime {
        system_time(seconds)
    }

    #[test]
    fn a_certificate_is_due_when_a_third_of_its_time_is_left() {
        let validity = Validity { not_before: 1_000, not_after: 1_300 };
        for (now, early, due, over) in [
            (999, true, false, false),
            (1_000, false, false, false),
            (1_200, false, false, false),
            (1_201, false, true, false),
            (1_300, false, true, false),
            (1_301, false, true, true),
        ] {
            assert_eq!(validity.is_early(at(now)), early, "{now}");
            assert_eq!(validity.is_due(at(now)), due, "{now}");
            assert_eq!(validity.is_over(at(now)), over, "{now}");
        }
    }

    #[test]
    fn a_new_certificate_stays_within_its_days_and_its_issuer() {
        let now = at(1_800_000_000);
        let free = Validity::planned(now, 397, None);
        assert_eq!(free.not_before, 1_800_000_000 - 86_400);
        // The first and the last second both count.
        assert_eq!(free.not_after - free.not_before + 1, 397 * 86_400);
        let issuer = Validity { not_before: 1_799_990_000, not_after: 1_800_000_500 };
        assert_eq!(Validity::planned(now, 397, Some(issuer)), issuer);
    }

    #[test]
    fn times_are_converted_both_ways_even_before_1970() {
        for value in [-86_400, -1, 0, 1, 253_402_300_799] {
            assert_eq!(seconds(system_time(value)), value);
        }
        assert_eq!(utc(at(1_763_725_205)), "2025-11-21 11:40:05 UTC");
        assert_eq!(utc(at(-1)), "1969-12-31 23:59:59 UTC");
        assert_eq!(utc(at(i64::MAX)), "a time beyond the year 9999");
    }
}
