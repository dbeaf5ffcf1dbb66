//! Which run of which store wrote a backup last.
//!
//! The identity of a store travels with its copies: with a restored one, and with a clone of the
//! data directory. Each of them could go on with the backup of the others, and would take away what
//! only those have. So each run makes up a generation and writes it on both sides: into the store's
//! table `backups`, which names the directory by a number of its own, and then into the directory's
//! `backup.json`. A store goes on with a directory whose generation it knows, and with no other.
//!
//! Crash argument: the store's row comes first, and holds two generations: the one that the
//! directory has, and the one that it is to get. Wherever a run is cut short, the directory has one
//! of the two, so the same store goes on. Before the directory's mark is written, nothing in it
//! changes.
//!
//! - A run that is cut short has written its generation all the same: it may have changed the
//!   directory. Whoever knows only the one before is refused.
//! - A clone of the data directory knows what the original knew. Whichever of the two comes first
//!   goes on, and the other one is refused.
//! - What is restored, or served as it is, forgets all directories. The registry that wrote the
//!   backup may live on, so the one that came of it goes on with none of them by itself.
//! - Directories that take turns are two rows. A copy of a directory, made by other means, has its
//!   number, and is one row with it: whichever of the two falls behind by more than a run is
//!   refused. It is this store's either way, and nothing is lost.
//! - A directory that is taken over by the flag gets another number: whoever wrote it before knows
//!   it no more.
//! - A store whose disk is read-only can note nothing. It takes directories that hold no whole
//!   backup, and by the flag any of its own, under a number that nobody knows; so after the repair
//!   the flag is needed once, and the mark says why.
//! - A program before this one wrote no generation. Its backups are gone on with by whoever has the
//!   identity and was not restored by a program that notes that: an upgrade needs nobody. A copy
//!   that the older program had restored cannot be told from the original; when its backup was
//!   made says nothing, since it is later than what either of them had then. That ends with the
//!   original's first run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A random number that nobody else makes up: 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(u128);

impl Token {
    /// Makes one up.
    ///
    /// # Errors
    /// Fails only when the kernel's random generator does.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(u128::from_be_bytes(bytes)))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Token {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let token = u128::from_str_radix(text, 16).map(Self);
        // One number has one spelling.
        token.ok().filter(|token| token.to_string() == text).ok_or("it is no 32 digits")
    }
}

impl TryFrom<String> for Token {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.to_string()
    }
}

/// A directory that holds a backup, and a run that wrote there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// The directory's own number.
    pub target: Token,
    /// The run's.
    pub run: Token,
}

/// What a run finds where it is to write, and needs to be known to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FoundBackup {
    /// Nothing that a store would have to know: an empty directory, or one that whoever gave the
    /// command takes over.
    Free,
    /// A backup of this store by a program that wrote no generation.
    Unmarked,
    /// What the last run wrote.
    Last(Generation),
}

impl FoundBackup {
    /// What a run that begins there is to write: a directory that has a number keeps it.
    ///
    /// # Errors
    /// Those of [`Token::random`].
    pub fn next(&self) -> Result<Generation, getrandom::Error> {
        let target = match self {
            Self::Last(last) => last.target,
            Self::Free | Self::Unmarked => Token::random()?,
        };
        Ok(Generation { target, run: Token::random()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_spelling() {
        let token = Token::random().unwrap();
        assert_eq!(token.to_string().parse(), Ok(token));
        assert_ne!(Token::random().unwrap(), token);
        let text = token.to_string();
        for bad in [&text[1..], "", "+0000000000000000000000000000000", &"A".repeat(32)] {
            assert!(bad.parse::<Token>().is_err(), "{bad}");
        }
    }
}
