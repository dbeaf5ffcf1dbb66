//! Numbers, sizes and times as people read and write them.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use storage::{ByteCount, shell_word};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A text of a client's as far as a line has room for it: the whole of it is in JSON.
pub(crate) fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// Characters of a client's text that are printed for people.
const SHOWN_CHARS: usize = 255;

/// A number of things.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

/// A size.
pub(crate) fn bytes(count: u64) -> String {
    ByteCount(count).to_string()
}

/// A path as a shell takes it.
pub(crate) fn quoted(path: &Path) -> String {
    shell_word(&path.display().to_string())
}

/// How long something lasts or lasted.
pub(crate) fn duration(seconds: u64) -> String {
    let rounded = |least| Duration::from_secs(seconds - seconds % least);
    match seconds {
        0..HOUR => humantime::format_duration(rounded(1)).to_string(),
        HOUR..DAY => humantime::format_duration(rounded(MINUTE)).to_string(),
        // Nobody who waits for days counts the minutes, and no month has the same length.
        _ => match (counted(seconds / DAY, "day").replace(' ', ""), seconds % DAY / HOUR) {
            (days, 0) => days,
            (days, hours) => format!("{days} {hours}h"),
        },
    }
}

/// A time in seconds since 1970, for people and for programs (RFC 3339).
pub(crate) fn time(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| seconds.to_string())
}

/// Reads a time as [`time`] writes it.
pub(crate) fn seconds(text: &str) -> Result<i64, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339);
    let time = time.map_err(|_| "write a time as 2026-01-31T08:15:00Z".to_owned())?;
    Ok(time.unix_timestamp())
}

/// Now, in seconds since 1970.
pub(crate) fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

/// Seconds of a minute.
const MINUTE: u64 = 60;
/// Seconds of an hour.
const HOUR: u64 = 60 * MINUTE;
/// Seconds of a day.
const DAY: u64 = 24 * HOUR;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_for_people() {
        assert_eq!(duration(0), "0s");
        assert_eq!(duration(59), "59s");
        assert_eq!(duration(61), "1m 1s");
        assert_eq!(duration(3700), "1h 1m");
        assert_eq!(duration(90000), "1day 1h");
        assert_eq!(duration(31 * DAY + 59), "31days");
        assert_eq!(duration(400 * DAY + 3 * HOUR + 59), "400days 3h");
    }

    #[test]
    fn a_time_that_is_printed_is_understood() {
        assert_eq!(time(1_769_847_300), "2026-01-31T08:15:00Z");
        assert_eq!(seconds("2026-01-31T08:15:00Z"), Ok(1_769_847_300));
        assert!(seconds("yesterday").is_err());
    }
}
