//! Patterns that stand for tags of one repository.

use std::fmt;
use std::str::FromStr;

use super::{NameError, PastedImage, Tag};

/// What stands for tags: the characters of a tag, `*` for any number of them, none too, and `?` for
/// just one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagPattern(String);

impl TagPattern {
    /// Whether a text is meant as a pattern: no name has one of these characters.
    pub fn is_meant_by(text: &str) -> bool {
        text.contains(ANY)
    }

    /// Whether it stands for a tag.
    pub fn matches(&self, tag: &Tag) -> bool {
        is_like(&self.0, tag.as_str())
    }

    /// What every tag begins with that it stands for.
    pub fn prefix(&self) -> &str {
        self.0.split(ANY).next().unwrap_or_default()
    }
}

impl FromStr for TagPattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        // Each of them can stand for one character that a tag may have in that place.
        let is_tag = text.replace(ANY, "_").parse::<Tag>().is_ok();
        if is_tag && Self::is_meant_by(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Pattern)
        }
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `REPOSITORY:PATTERN` as somebody typed or pasted it: the registry's own name may stand in front
/// of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastedPattern {
    repository: PastedImage,
    pattern: TagPattern,
}

impl PastedPattern {
    /// The repository; it names no image in it.
    pub fn repository(&self) -> &PastedImage {
        &self.repository
    }

    /// What stands for the tags.
    pub fn pattern(&self) -> &TagPattern {
        &self.pattern
    }
}

impl FromStr for PastedPattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.rsplit_once(':') {
            Some((repository, pattern)) if !TagPattern::is_meant_by(repository) => {
                let pattern = pattern.parse()?;
                Ok(Self { repository: repository.parse()?, pattern })
            }
            _ => Err(NameError::Pattern),
        }
    }
}

impl fmt::Display for PastedPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.pattern)
    }
}

/// Whether a text is like a pattern: `*` stands for any number of characters, none too, and `?` for
/// just one.
pub(super) fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    // Where to go on when the last star stands for one character more.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                star = Some((at, read));
            }
            Some(&byte) if byte == b'?' || byte == text[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((after, taken)) = star else { return false };
                (at, read) = (after, taken + 1);
                star = Some((after, read));
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// What stands for other characters.
pub(super) const ANY: [char; 2] = ['*', '?'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_and_a_question_mark_for_one() {
        for (pattern, good, bad) in [
            (
                "4.14.*",
                &["4.14.", "4.14.1", "4.14.1-x86_64"][..],
                &["4.140", "a4.14.1", "4.14"][..],
            ),
            ("*", &["a", "4.14.1"], &[]),
            ("*-x86_64", &["4.14.1-x86_64", "a-x86_64-x86_64"], &["4.14.1-x86_64.sig", "x86_64"]),
            ("4.?.1", &["4.1.1", "4.x.1"], &["4.11.1", "4..1"]),
            ("a*b*c", &["abc", "a-b-b-c", "abcbc"], &["ab", "acb", "abcd"]),
            ("a*", &["a"], &["A", "b"]),
            ("*a?", &["aa", "xaab"], &["a", "ab-"]),
            ("**b?", &["bb", "abba"], &["b"]),
        ] {
            let pattern: TagPattern = pattern.parse().unwrap();
            let matches = |tag: &&&str| pattern.matches(&tag.parse().unwrap());
            assert!(good.iter().all(|tag| matches(&tag)), "{pattern}: {good:?}");
            assert!(!bad.iter().any(|tag| matches(&tag)), "{pattern}: {bad:?}");
        }
        assert_eq!("4.14.*-x?".parse::<TagPattern>().unwrap().prefix(), "4.14.");
    }

    #[test]
    fn a_pattern_stands_for_tags_and_has_a_star_or_a_question_mark() {
        for bad in ["", "4.14", ".*", "-?", "a/*", "[ab]*", "a b*", "*@sha256"] {
            assert_eq!(bad.parse::<TagPattern>(), Err(NameError::Pattern), "{bad}");
        }
        assert!(("*".repeat(129)).parse::<TagPattern>().is_err());
        let read = |text: &str| {
            let PastedPattern { repository, pattern } = text.parse()?;
            Ok((repository.to_string(), pattern.to_string()))
        };
        assert_eq!(read("team/app:4.*"), Ok(("team/app".to_owned(), "4.*".to_owned())));
        let pasted = ("mirror.example.com:8443/team/app".to_owned(), "4.*".to_owned());
        assert_eq!(read("mirror.example.com:8443/team/app:4.*"), Ok(pasted));
        for bad in ["team/*", "team/*:1", "team/*:1*", "team/app:1", "mirror:8443/team/*", "app@*"]
        {
            assert_eq!(read(bad), Err(NameError::Pattern), "{bad}");
        }
    }
}
