//! Text for people: everything that this program prints or logs goes out through here.
//!
//! Names, types and annotations are what clients sent, and rows, paths and files what others may
//! have written. A terminal obeys control characters, shows text in another order, or does not show
//! it at all; and a line that is not ours could say anything. So all of that is escaped, by
//! [`escaped`] and by nothing else. A test of the suite reads the sources and finds whoever writes
//! to standard output or standard error without it.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use crate::logging;

pub(crate) mod error_output;
pub(crate) mod escape;
pub(crate) mod format;

pub(crate) use escape::escaped;

use error_output::write_log;
use escape::is_escaped;

/// Lines on their way to a person or a program.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines(String);

impl Lines {
    /// One line. Whatever is in it, it stays one.
    pub(crate) fn of(line: impl fmt::Display) -> Self {
        let mut lines = Self::default();
        lines.line(line);
        lines
    }

    /// Lines that end where the text says: for what nobody else wrote, and for formats in which no
    /// value holds the end of a line.
    pub(crate) fn of_own(text: &str) -> Self {
        let mut lines = Self::default();
        text.lines().for_each(|line| lines.line(line));
        lines
    }

    /// Adds a line. Whatever is in it, it stays one.
    pub(crate) fn line(&mut self, line: impl fmt::Display) {
        self.0.push_str(&escaped(&line.to_string()));
        self.0.push('\n');
    }

    /// Adds other lines behind these.
    pub(crate) fn append(&mut self, lines: &Self) {
        self.0.push_str(&lines.0);
    }
}

impl<T: fmt::Display> FromIterator<T> for Lines {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        let mut lines = Self::default();
        texts.into_iter().for_each(|line| lines.line(line));
        lines
    }
}

/// Writes a result to standard output.
pub(crate) fn print(lines: &Lines) -> io::Result<()> {
    out(&lines.0)
}

/// Writes a result as JSON to standard output.
pub(crate) fn print_json(document: &impl serde::Serialize) -> anyhow::Result<()> {
    // In JSON, only what is between the values ends a line.
    Ok(print(&Lines::of_own(&serde_json::to_string_pretty(document)?))?)
}

/// Standard output for bytes that a program reads, and that are no text.
///
/// # Errors
/// It is a terminal, which would obey them.
pub(crate) fn binary_output() -> io::Result<File> {
    let out = io::stdout();
    match out.is_terminal() {
        true => Err(io::Error::other("standard output is a terminal")),
        false => Ok(File::from(out.as_fd().try_clone_to_owned()?)),
    }
}

/// Asks a question whose answer is typed on the same line.
pub(crate) fn ask(question: &str) -> io::Result<()> {
    out(&escaped(question))
}

/// Tells a person what is going on, on standard error, in one line.
pub(crate) fn note(text: &str) {
    say(&Lines::of(text));
}

/// Tells a person several lines on standard error.
pub(crate) fn note_lines(lines: &Lines) {
    say(lines);
}

/// Tells a person why the program ends, on standard error, in one line.
pub(crate) fn complain(reason: &str) {
    say_last(&Lines::of(format_args!("registry: {reason}")));
}

/// The same, for a reason of several lines whose ends nobody else can have written.
pub(crate) fn complain_in_lines(reason: &str) {
    say_last(&Lines::of_own(&format!("registry: {reason}")));
}

/// Tells a person why what was typed means nothing, on standard error, in lines whose ends nobody
/// else can have written.
pub(crate) fn refuse_in_lines(reason: &str) {
    say_last(&Lines::of_own(reason));
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

/// Whether standard output is a terminal, and so read by somebody who is there.
pub(crate) fn is_read_here() -> bool {
    io::stdout().is_terminal()
}

fn out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn say(lines: &Lines) {
    write_log(lines.0.as_bytes());
}

fn say_last(lines: &Lines) {
    write_log(&logging::last_words(lines.0.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut lines = Lines::of("a\nregistry: all is well");
        lines.append(&["b", "c\r"].into_iter().collect());
        assert_eq!(lines.0, "a\\nregistry: all is well\nb\nc\\r\n");
        assert_eq!(Lines::of_own("a\nb\tc\n").0, "a\nb\\tc\n");
    }
}
