//! Patterns that stand for images of any repositories.

use std::fmt;
use std::str::FromStr;

use super::pattern::{ANY, is_like};
use super::{NameError, Reference, RepoName, Tag};
use crate::digest::Digest;

/// `REPOSITORY`, `REPOSITORY:TAG` or `REPOSITORY@DIGEST` as somebody typed or pasted it, with `*`
/// for any characters and `?` for one in repository and tag. A star in a repository stands for
/// slashes, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePattern {
    repository: String,
    part: PatternPart,
}

/// What a pattern means of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PatternPart {
    All,
    Tags(String),
    Digest(Digest),
}

impl ImagePattern {
    /// Whether it means something of this repository.
    pub fn matches_repository(&self, name: &RepoName) -> bool {
        is_like(&self.repository, name.as_str())
    }

    /// Whether it means this tag of such a repository.
    pub fn matches_tag(&self, tag: &Tag) -> bool {
        match &self.part {
            PatternPart::All => true,
            PatternPart::Tags(pattern) => is_like(pattern, tag.as_str()),
            PatternPart::Digest(_) => false,
        }
    }

    /// Whether it means all of such a repository.
    pub fn is_whole(&self) -> bool {
        self.part == PatternPart::All
    }

    /// The one tag or manifest of such a repository that it means, if it names one.
    pub fn reference(&self) -> Option<Reference> {
        match &self.part {
            PatternPart::Digest(digest) => Some(Reference::Digest(*digest)),
            PatternPart::Tags(pattern) => pattern.parse().ok().map(Reference::Tag),
            PatternPart::All => None,
        }
    }

    /// The same without a first component that could be a host, because it has a dot or a colon;
    /// none if it has none, or is no pattern without it.
    pub fn shorter(&self) -> Option<Self> {
        let text = self.to_string();
        let (host, rest) = text.split_once('/')?;
        if host.contains(['.', ':']) { rest.parse().ok() } else { None }
    }
}

impl FromStr for ImagePattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parsed = parse(text);
        // A host with a port is no part of any repository.
        match (parsed, text.split_once('/')) {
            (Err(_), Some((host, rest))) if host.contains(':') => parse(rest),
            (parsed, _) => parsed,
        }
    }
}

fn parse(text: &str) -> Result<ImagePattern, NameError> {
    let (repository, part) = match text.split_once('@') {
        Some((repository, digest)) => {
            let digest = digest.parse().map_err(NameError::Digest)?;
            (repository, PatternPart::Digest(digest))
        }
        None => match text.split_once(':') {
            Some((repository, tag)) => {
                // Each sign stands for a character that a tag may have in that place.
                tag.replace(ANY, "_").parse::<Tag>()?;
                (repository, PatternPart::Tags(tag.to_owned()))
            }
            None => (text, PatternPart::All),
        },
    };
    repository.replace(ANY, "x").parse::<RepoName>()?;
    Ok(ImagePattern { repository: repository.to_owned(), part })
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        match &self.part {
            PatternPart::All => Ok(()),
            PatternPart::Tags(pattern) => write!(f, ":{pattern}"),
            PatternPart::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> ImagePattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_means_repositories_and_tags() {
        for (text, repository, tag, is_meant) in [
            ("team/app", "team/app", "1", true),
            ("team/app", "team/app/b", "1", false),
            ("team/app:1", "team/app", "1", true),
            ("team/app:1", "team/app", "10", false),
            ("team/*", "team/app/b", "1", true),
            ("team/*:4.1?.*", "team/app", "4.14.1", true),
            ("team/*:4.1?.*", "team/app", "4.1.1", false),
            ("*", "a", "1", true),
            ("*/app:*", "app", "1", false),
        ] {
            let (pattern, tag) = (pattern(text), tag.parse().unwrap());
            let found = pattern.matches_repository(&repository.parse().unwrap());
            assert_eq!(found && pattern.matches_tag(&tag), is_meant, "{text} {repository}:{tag}");
            assert_eq!(pattern.to_string(), text);
        }
        assert!(pattern("a/*").is_whole() && !pattern("a:*").is_whole());
        let by_digest = format!("a@{}", Digest::of(crate::Algorithm::Sha256, b""));
        let by_digest = pattern(&by_digest);
        assert!(!by_digest.matches_tag(&"1".parse().unwrap()));
        assert!(matches!(by_digest.reference(), Some(Reference::Digest(_))));
        assert_eq!(pattern("a:1").reference(), Some(Reference::Tag("1".parse().unwrap())));
        for many in ["a", "a:*", "a:1?"] {
            assert_eq!(pattern(many).reference(), None, "{many}");
        }
    }

    #[test]
    fn the_registry_in_front_is_dropped() {
        let shorter = |text: &str| pattern(text).shorter().map(|it| it.to_string());
        assert_eq!(pattern("mirror:8443/team/*").to_string(), "team/*");
        assert_eq!(shorter("quay.io/team/app:1"), Some("team/app:1".to_owned()));
        assert_eq!(shorter("team/app:1"), None);
        for bad in ["", "A", "a:", "a:-b", "a@sha256:1", "a//*", "a:b:c", "a:b@c", "a b"] {
            assert!(bad.parse::<ImagePattern>().is_err(), "{bad}");
        }
    }
}
