//! Making what others wrote harmless to a terminal and to whoever reads it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A text without what a terminal would obey or hide: control characters (C0, DEL and C1, line ends
/// among them), marks that change the direction of text, characters without width, and what else
/// Unicode calls ignorable. They are written as JSON writes them, so that JSON stays what it is.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(is_escaped) else { return Cow::Borrowed(text) };
    let mut plain = text[..first].to_owned();
    for c in text[first..].chars() {
        match c {
            '\n' => plain.push_str("\\n"),
            '\r' => plain.push_str("\\r"),
            '\t' => plain.push_str("\\t"),
            c if is_escaped(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(plain, "\\u{unit:04x}");
                }
            }
            c => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

/// Whether a character is written as an escape.
pub(super) fn is_escaped(c: char) -> bool {
    c.is_control() || HIDDEN.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// What is not shown, or changes how the rest is: the ends of lines and paragraphs, and the
/// characters that Unicode calls Default_Ignorable_Code_Point, which have no width and among which
/// are all marks of direction; those that annotate others between lines; and the format controls of
/// hieroglyphs, which put others on top of each other.
const HIDDEN: [(char, char); 18] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_or_hides_is_escaped() {
        for (text, plain) in [
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{1b}[31m", "\\u001b[31m"),
            ("\0\u{7}\u{7f}", "\\u0000\\u0007\\u007f"),
            ("\u{85}\u{9b}2J", "\\u0085\\u009b2J"),
            ("x\u{202e}gpj.exe", "x\\u202egpj.exe"),
            ("\u{2066}\u{200f}\u{61c}", "\\u2066\\u200f\\u061c"),
            ("a\u{200b}b\u{200d}\u{feff}\u{ad}", "a\\u200bb\\u200d\\ufeff\\u00ad"),
            ("\u{2028}\u{2029}\u{2060}", "\\u2028\\u2029\\u2060"),
            ("\u{e0041}", "\\udb40\\udc41"),
            ("\u{13430}\u{1343f}", "\\ud80d\\udc30\\ud80d\\udc3f"),
        ] {
            assert_eq!(escaped(text), plain);
            // JSON means the same by it.
            let json = serde_json::to_string(text).unwrap();
            let read: String = serde_json::from_str(&escaped(&json)).unwrap();
            assert_eq!(read, text);
        }
        for plain in ["", "plain", "größer \u{4e2d}\u{6587} \u{1f600} a\u{301}", "\\u202e"] {
            assert!(matches!(escaped(plain), Cow::Borrowed(text) if text == plain));
        }
    }
}
