//! Standard error: the log, and what people are told while something goes on.

use std::io::{self, Write};

use super::escape::escaped;
use crate::limits::LOG_LINE_BYTES;

/// Writes lines that [`log_line`] made to standard error.
pub(crate) fn write_log(lines: &[u8]) {
    // It may be closed; there is nobody left to tell then.
    let _ = io::stderr().write_all(lines);
}

/// A line of the log as it is written: one line, whatever is in it, and not a long one.
pub(crate) fn log_line(line: &[u8]) -> Vec<u8> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let is_long = line.len() > LOG_LINE_BYTES;
    // An end within a character is one that is no UTF-8.
    let line = String::from_utf8_lossy(&line[..line.len().min(LOG_LINE_BYTES)]);
    let mut plain = escaped(&line).into_owned();
    plain.push_str(if is_long { "…\n" } else { "\n" });
    plain.into_bytes()
}

/// The device and the inode of what standard error goes to, if that can be known.
pub(crate) fn error_file() -> Option<(u64, u64)> {
    let found = rustix::fs::fstat(io::stderr()).ok()?;
    Some((found.st_dev, found.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_stays_one() {
        assert_eq!(log_line(b"INFO a\nERROR b\n"), b"INFO a\\nERROR b\n");
        assert_eq!(log_line(b"\xff"), "\u{fffd}\n".as_bytes());
        let long = log_line(&vec![b'a'; 1 << 20]);
        assert!(long.len() < LOG_LINE_BYTES + 8 && long.ends_with("a…\n".as_bytes()));
    }
}
