//! Lengths of time as people write them: `24h`, `7d`, `1h 30m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::SPAN_MAX_TIME;

/// A length of time, written with its units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConfigDuration(pub Duration);

impl ConfigDuration {
    /// A length of time, if it is no longer than the longest that a person may give.
    pub fn new(time: Duration) -> Option<Self> {
        (time <= SPAN_MAX_TIME).then_some(Self(time))
    }

    /// The longest, for a sentence that refuses a longer one.
    pub fn longest() -> String {
        format!("{} days", SPAN_MAX_TIME.as_secs() / (24 * 3600))
    }
}

impl fmt::Display for ConfigDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl FromStr for ConfigDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = humantime::parse_duration(text)
            .map_err(|error| format!("{error}: write it like 24h, 7d or 1h 30m"))?;
        Self::new(time).ok_or_else(|| format!("no time may be longer than {}", Self::longest()))
    }
}

impl TryFrom<String> for ConfigDuration {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ConfigDuration> for String {
    fn from(span: ConfigDuration) -> Self {
        span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_reads_back_as_it_is_written() {
        for text in ["24h", "7d", "1h 30m", "0s", "90days"] {
            let span: ConfigDuration = text.parse().unwrap();
            assert_eq!(span.to_string().parse(), Ok(span), "{text}");
        }
        assert_eq!("24h".parse(), Ok(ConfigDuration(Duration::from_secs(86400))));
        assert!("24".parse::<ConfigDuration>().unwrap_err().contains("write it like 24h"));
    }

    #[test]
    fn a_span_has_an_upper_end() {
        assert_eq!("36500d".parse(), Ok(ConfigDuration(SPAN_MAX_TIME)));
        let refusal = Err("no time may be longer than 36500 days".to_owned());
        for text in ["36500d 1ns", "101y", "18446744073709551615s"] {
            assert_eq!(text.parse::<ConfigDuration>(), refusal, "{text}");
        }
        // What is no number of seconds any more is told so.
        assert!("18446744073709551615d".parse::<ConfigDuration>().is_err());
    }
}
