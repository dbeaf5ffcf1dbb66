//! Text for people: everything that this program prints or logs goes out through here.
//!
//! Names, types and annotations are what clients sent, and rows, paths and files what others may
//! have written. A terminal obeys control characters, shows text in another order, or does not show
//! it at all; and a line that is not ours could say anything. So all of that is escaped, by
//! [`escaped`] and by nothing else. A test of the suite reads the sources and finds whoever writes
//! to standard output or standard error without it.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};

use crate::logging;

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

/// Lines on their way to a person or a program.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page(String);

impl Page {
    /// One line. Whatever is in it, it stays one.
    pub(crate) fn of(line: impl fmt::Display) -> Self {
        let mut page = Self::default();
        page.line(line);
        page
    }

    /// Lines that end where the text says: for what nobody else wrote, and for formats in which no
    /// value holds the end of a line.
    pub(crate) fn of_own(text: &str) -> Self {
        let mut page = Self::default();
        text.lines().for_each(|line| page.line(line));
        page
    }

    /// Adds a line. Whatever is in it, it stays one.
    pub(crate) fn line(&mut self, line: impl fmt::Display) {
        self.0.push_str(&escaped(&line.to_string()));
        self.0.push('\n');
    }

    /// Adds the lines of another page.
    pub(crate) fn append(&mut self, page: &Self) {
        self.0.push_str(&page.0);
    }
}

impl<T: fmt::Display> FromIterator<T> for Page {
    fn from_iter<I: IntoIterator<Item = T>>(lines: I) -> Self {
        let mut page = Self::default();
        lines.into_iter().for_each(|line| page.line(line));
        page
    }
}

/// Writes a result to standard output.
pub(crate) fn print(page: &Page) -> io::Result<()> {
    out(&page.0)
}

/// Writes a result as JSON to standard output.
pub(crate) fn print_json(document: &impl serde::Serialize) -> anyhow::Result<()> {
    // In JSON, only what is between the values ends a line.
    Ok(print(&Page::of_own(&serde_json::to_string_pretty(document)?))?)
}

/// Asks a question whose answer is typed on the same line.
pub(crate) fn ask(question: &str) -> io::Result<()> {
    out(&escaped(question))
}

/// Tells a person what is going on, on standard error, in one line.
pub(crate) fn note(text: &str) {
    say(&Page::of(text));
}

/// Tells a person why the program ends, on standard error, in one line.
pub(crate) fn complain(reason: &str) {
    say_last(&Page::of(format_args!("registry: {reason}")));
}

/// The same, for a reason of several lines whose ends nobody else can have written.
pub(crate) fn complain_in_lines(reason: &str) {
    say_last(&Page::of_own(&format!("registry: {reason}")));
}

/// Tells a person why what was typed means nothing, on standard error, in lines whose ends nobody
/// else can have written.
pub(crate) fn refuse_in_lines(reason: &str) {
    say_last(&Page::of_own(reason));
}

/// A line of TOML that sets `name`. A text that would not be printed as it is has TOML's own
/// escapes, so that whoever reads the line reads the same value.
pub(crate) fn toml_line(name: &str, value: &toml::Value) -> String {
    format!("{name} = {}", toml_value(value))
}

fn toml_value(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) if text.contains(is_escaped) => {
            let mut written = "\"".to_owned();
            for c in text.chars() {
                // Writing to a string cannot fail.
                let _ = match c {
                    '"' | '\\' => write!(written, "\\{c}"),
                    c if is_escaped(c) => write!(written, "\\U{:08x}", u32::from(c)),
                    c => write!(written, "{c}"),
                };
            }
            written + "\""
        }
        toml::Value::Array(values) => {
            let values: Vec<String> = values.iter().map(toml_value).collect();
            format!("[{}]", values.join(", "))
        }
        other => other.to_string(),
    }
}

/// Writes over the line of a terminal on which standard error ends.
pub(crate) fn write_over(text: &str) {
    // It may be closed; there is nobody left to tell then.
    let _ = write!(io::stderr(), "\r\x1b[K{}", escaped(text));
}

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

/// Bytes of an event that its line in the log has, at most: a path can have 64 KiB.
const LOG_LINE_BYTES: usize = 16 * 1024;

/// Whether standard output is a terminal, and so read by somebody who is there.
pub(crate) fn is_read_here() -> bool {
    io::stdout().is_terminal()
}

/// The device and the inode of what standard error goes to, if that can be known.
pub(crate) fn error_file() -> Option<(u64, u64)> {
    let found = rustix::fs::fstat(io::stderr()).ok()?;
    Some((found.st_dev, found.st_ino))
}

/// Whether standard error is one.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

fn out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn say(page: &Page) {
    write_log(page.0.as_bytes());
}

fn say_last(page: &Page) {
    write_log(&logging::last_words(page.0.as_bytes()));
}

fn is_escaped(c: char) -> bool {
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

    #[test]
    fn a_setting_is_read_as_what_it_is() {
        for text in ["", "plain", "a'b\"c\\d", "\u{202e}'\"\\u", "\n\r\t\0\u{85}", "\u{e0041}é"] {
            let value = toml::Value::Array(vec![toml::Value::String(text.to_owned())]);
            let line = toml_line("name", &value);
            assert_eq!(escaped(&line), line);
            let read: toml::Table = line.parse().unwrap();
            assert_eq!(read["name"], value, "{line}");
        }
    }

    #[test]
    fn a_line_stays_one() {
        let mut page = Page::of("a\nregistry: all is well");
        page.append(&["b", "c\r"].into_iter().collect());
        assert_eq!(page.0, "a\\nregistry: all is well\nb\nc\\r\n");
        assert_eq!(Page::of_own("a\nb\tc\n").0, "a\nb\\tc\n");
        assert_eq!(log_line(b"INFO a\nERROR b\n"), b"INFO a\\nERROR b\n");
        assert_eq!(log_line(b"\xff"), "\u{fffd}\n".as_bytes());
        let long = log_line(&vec![b'a'; 1 << 20]);
        assert!(long.len() < LOG_LINE_BYTES + 8 && long.ends_with("a…\n".as_bytes()));
    }
}
