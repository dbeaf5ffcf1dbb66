//! The middle and the ends of what was measured more than once.

use std::time::Duration;

/// The middle of some values; of an even number of them, the mean of the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let sorted = sorted(values);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// Values in rising order.
pub(crate) fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// What so many of a hundred sorted waits do not exceed, in milliseconds.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let wait = sorted.get((sorted.len() * percent / 100).min(last))?;
    Some(wait.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_two_middle_ones() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0]), Some(3.0));
        assert_eq!(median([3.0, 1.0]), Some(2.0));
        assert_eq!(median([9.0, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn the_slowest_of_a_hundred_is_the_99th_percentile() {
        let waits: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&waits, 50), Some(101.0));
        assert_eq!(percentile(&waits, 99), Some(199.0));
        assert_eq!(percentile(&waits[..1], 99), Some(1.0));
        assert_eq!(percentile(&[], 50), None);
    }
}
