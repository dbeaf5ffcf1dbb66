//! Who changes something: a client's user, or a person on the host.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::account::UserName;

/// Who changes something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// A client's user, who has logged in.
    User(UserName),
    /// A person who gave a command on the host.
    Host(HostUser),
}

/// A person who gave a command on the host, as in `alice` or `alice as root`: 1 to
/// [`HostUser::MAX_BYTES`] printable characters of ASCII, with no space at either end.
///
/// It is what the command says of itself, and no proof: the name that `sudo` leaves is a variable
/// of the environment, which whoever gives the command can set. Nobody's rights depend on it. Only
/// root and the owner of the data can give a command, and they can write into the database too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostUser(String);

impl HostUser {
    /// The longest text, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// The person who logged in as the first of these users of the host and gave the command as
    /// the last. One that is empty or says the same as the one before adds nothing, what is not
    /// printable ASCII becomes `?`, and of a long name there is the beginning.
    pub fn of(users: [&str; 3]) -> Self {
        let mut names: Vec<String> = users.into_iter().map(readable).collect();
        names.retain(|name| !name.is_empty());
        names.dedup();
        match names.is_empty() {
            true => Self("?".to_owned()),
            false => Self(names.join(AS)),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostUser {
    type Err = HostUserError;

    fn from_str(text: &str) -> Result<Self, HostUserError> {
        let valid = (1..=Self::MAX_BYTES).contains(&text.len())
            && text.trim() == text
            && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if valid { Ok(Self(text.to_owned())) } else { Err(HostUserError) }
    }
}

impl fmt::Display for HostUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

oci::travels_as_text!(HostUser);

/// A text does not say who a person on the host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a person on the host is at most 128 printable characters of ASCII")]
pub struct HostUserError;

/// A name of at most [`NAME_BYTES`] bytes that can be printed.
fn readable(name: &str) -> String {
    let plain = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    let name: String = name.trim().chars().map(plain).collect();
    match name.len() > NAME_BYTES {
        true => format!("{}{CUT}", &name[..NAME_BYTES - CUT.len()]),
        false => name,
    }
}

/// Between two users, the second of whom the first one became.
const AS: &str = " as ";
/// What the end of a long name becomes.
const CUT: &str = "...";
/// The most of one user's name: three of them fit.
const NAME_BYTES: usize = 40;
const _: () = assert!(3 * NAME_BYTES + 2 * AS.len() <= HostUser::MAX_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_on_the_host_is_a_line_of_bounded_length() {
        for good in ["a", "alice as root", "uid 1234", "CORP\\domain user", &"x".repeat(128)] {
            assert_eq!(good.parse::<HostUser>().unwrap().as_str(), good);
        }
        let long = "x".repeat(129);
        for bad in ["", " ", " a", "a ", "a\nb", "a\u{1b}[2J", "a\u{7f}", "\u{e9}", &long] {
            assert_eq!(bad.parse::<HostUser>(), Err(HostUserError), "{bad:?}");
            let text = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<HostUser>(&text).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn whoever_logged_in_comes_first_and_nobody_twice_in_a_row() {
        for (users, text) in [
            (["", "", "alice"], "alice"),
            (["alice", "", "alice"], "alice"),
            (["", "alice", "root"], "alice as root"),
            (["alice", "alice", "root"], "alice as root"),
            (["bob", "alice", "root"], "bob as alice as root"),
            (["bob", "", "root"], "bob as root"),
            (["bob", "alice", "bob"], "bob as alice as bob"),
            (["", "", ""], "?"),
        ] {
            assert_eq!(HostUser::of(users).as_str(), text);
        }
    }

    #[test]
    fn whatever_a_name_is_the_text_parses() {
        let long = "x".repeat(500);
        let cut = format!("{}...", "x".repeat(37));
        for (name, text) in [
            ("evil\n2026-01-01T00:00:00Z  app:1", "evil?2026-01-01T00:00:00Z  app:1 as root"),
            ("gr\u{f6}\u{df}er", "gr??er as root"),
            ("\u{1b}[2J\u{202e}", "?[2J? as root"),
            ("  domain user ", "domain user as root"),
            (&long, &format!("{cut} as root")),
            (&"\u{f6}".repeat(41), &format!("{}... as root", "?".repeat(37))),
        ] {
            let person = HostUser::of(["", name, "root"]);
            assert_eq!(person.as_str(), text);
            assert_eq!(person.as_str().parse(), Ok(person));
        }
        let [other, last] = ["y".repeat(500), "z".repeat(40)];
        let person = HostUser::of([&long, &other, &last]);
        assert_eq!(person.as_str().len(), HostUser::MAX_BYTES);
        assert_eq!(person.as_str().parse(), Ok(person));
    }
}
