//! What systemd's journal wants of a line: its priority in front of it, and no time, which the
//! journal notes by itself.

use tracing::Level;

use crate::text::error_output;

/// How urgent a line is, as sd-daemon(3) and syslog number it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Priority(u8);

impl Priority {
    /// For what a person must look at.
    pub(super) const ERROR: Self = Self(3);
    /// For what may need a look.
    pub(super) const WARNING: Self = Self(4);
    const INFO: Self = Self(6);
    const DEBUG: Self = Self(7);

    /// The priority of what is logged at this level.
    pub(super) fn of(level: Level) -> Self {
        match level {
            Level::ERROR => Self::ERROR,
            Level::WARN => Self::WARNING,
            Level::INFO => Self::INFO,
            _ => Self::DEBUG,
        }
    }

    /// Lines with the priority in front of each, since the journal takes each for itself.
    pub(super) fn mark(self, lines: &[u8]) -> Vec<u8> {
        let mark = format!("<{}>", self.0).into_bytes();
        let lines = lines.split_inclusive(|byte| *byte == b'\n');
        lines.flat_map(|line| [mark.as_slice(), line]).flatten().copied().collect()
    }
}

/// Whether standard error goes to the journal: `JOURNAL_STREAM` names the device and the
/// inode of the stream that systemd made, and a stream that was redirected since is another one
/// (systemd.exec(5)).
pub(super) fn is_connected() -> bool {
    let Ok(told) = std::env::var("JOURNAL_STREAM") else { return false };
    error_output::error_file().is_some_and(|(device, inode)| names(&told, device, inode))
}

fn names(told: &str, device: u64, inode: u64) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    told.split_once(':').is_some_and(|(told_device, told_inode)| {
        (number(told_device), number(told_inode)) == (Some(device), Some(inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_priority() {
        assert_eq!(Priority::of(Level::ERROR).mark(b"one\n"), b"<3>one\n");
        assert_eq!(Priority::of(Level::WARN).mark(b"one\ntwo\n"), b"<4>one\n<4>two\n");
        assert_eq!(Priority::of(Level::INFO).mark(b"no end"), b"<6>no end");
        assert_eq!(Priority::of(Level::DEBUG).mark(b""), b"");
    }

    #[test]
    fn only_the_stream_that_is_named_is_the_journal() {
        assert!(names("8:12345", 8, 12345));
        for told in ["", ":", "8", "8:", ":12345", "8:12346", "9:12345", "8:12345:1", "x:y"] {
            assert!(!names(told, 8, 12345), "{told}");
        }
    }
}
