//! A password as it was written down: in a file, or in what comes over standard input.
//!
//! The same file is given to podman (`login --password-stdin`), so both must read the same password
//! in it: line ends at its end are none of it, those of Windows included, and what the two would
//! read differently is refused.

use super::password::PasswordError;

/// The password that this content holds.
///
/// # Errors
/// [`PasswordError::SeveralLines`] and [`PasswordError::Marked`].
pub(crate) fn line(content: &[u8]) -> Result<&[u8], PasswordError> {
    if MARKS.iter().any(|mark| content.starts_with(mark)) {
        return Err(PasswordError::Marked);
    }
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let end = content.iter().rposition(|byte| !is_end(byte)).map_or(0, |last| last + 1);
    let line = &content[..end];
    // podman puts lines together, and docker takes all of them.
    if line.iter().any(is_end) { Err(PasswordError::SeveralLines) } else { Ok(line) }
}

/// How much of what was written is read, in bytes: more than any password, so that a longer one is
/// refused and not cut.
pub(crate) const MOST_BYTES: u64 = 64 * 1024;

/// The byte order marks of UTF-8, and of UTF-16, which PowerShell writes, in both orders.
const MARKS: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_no_part_of_a_password_and_spaces_are() {
        for content in ["pass word", "pass word\n", "pass word\r\n", "pass word\n\n\r\n"] {
            assert_eq!(line(content.as_bytes()), Ok(&b"pass word"[..]), "{content:?}");
        }
        assert_eq!(line(b" a \t\r\n"), Ok(&b" a \t"[..]));
        for empty in ["", "\n", "\r\n"] {
            assert_eq!(line(empty.as_bytes()), Ok(&b""[..]), "{empty:?}");
        }
        for several in ["a\nb", "a\r\nb\r\n", "\na", "a\rb"] {
            let refusal = Err(PasswordError::SeveralLines);
            assert_eq!(line(several.as_bytes()), refusal, "{several:?}");
        }
        for marked in [&b"\xef\xbb\xbfpass"[..], b"\xff\xfep\0a\0", b"\xfe\xff\0p\0a"] {
            assert_eq!(line(marked), Err(PasswordError::Marked), "{marked:?}");
        }
    }
}
