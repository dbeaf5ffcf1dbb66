//! The names of images: repositories, tags, and what clients refer to a manifest by.
//!
//! Each is parsed once into a type with a private field. A name is never part of a path on disk.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::digest::{Digest, DigestError};

mod image;
mod pattern;
mod selection;

pub use image::{ImageName, PastedImage};
pub use pattern::{PastedPattern, TagPattern};
pub use selection::ImagePattern;

/// The name of a repository, such as `openshift/release-images`.
///
/// Lower-case components separated by slashes, in any number, by the grammar of the OCI
/// distribution specification ("Pulling manifests"), at most [`RepoName::MAX_BYTES`] long.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoName(String);

impl RepoName {
    /// The longest name, in bytes. Clients allow 255 for host and name together.
    pub const MAX_BYTES: usize = 255;

    /// The name as it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepoName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() <= Self::MAX_BYTES && text.split('/').all(is_path_component) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Repository)
        }
    }
}

/// A tag, such as `4.20.3-x86_64`: at most [`Tag::MAX_BYTES`] letters, digits, `_`, `.` and `-`,
/// not beginning with `.` or `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// The longest tag, in bytes, by the OCI distribution specification.
    pub const MAX_BYTES: usize = 128;

    /// The tag as it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let bytes = text.as_bytes();
        let valid = bytes.len() <= Self::MAX_BYTES
            && bytes.first().copied().is_some_and(word)
            && bytes.iter().all(|&byte| word(byte) || byte == b'.' || byte == b'-');
        if valid { Ok(Self(text.to_owned())) } else { Err(NameError::Tag) }
    }
}

/// What a client names a manifest by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A tag, which may move.
    Tag(Tag),
    /// A digest, which names one content for ever.
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains(':') {
            text.parse().map(Self::Digest).map_err(NameError::Digest)
        } else {
            text.parse().map(Self::Tag)
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// Why a text is not the name it was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Not a repository name.
    #[error(
        "a repository name is lower-case letters and digits, separated by '.', '_', '__' or '-' \
         and in components by '/', at most 255 bytes long"
    )]
    Repository,
    /// Not a tag.
    #[error("a tag is at most 128 letters, digits, '_', '.' and '-', not beginning with . or -")]
    Tag,
    /// Not an image of this registry.
    #[error(
        "an image is REPOSITORY:TAG or REPOSITORY@DIGEST, as in team/app:1, and what is in front \
         of it names this registry"
    )]
    Image,
    /// Not a pattern of tags.
    #[error(
        "a pattern stands for tags of one repository, as in 'team/app:4.14.*': * for any \
         characters, ? for one, and what a tag may have for itself"
    )]
    Pattern,
    /// Not a digest.
    #[error(transparent)]
    Digest(DigestError),
}

/// The grammar of one component: runs of letters and digits with one separator between two runs:
/// a period, one or two underscores, or any number of dashes.
fn is_path_component(part: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    if !bytes.first().is_some_and(is_word) || !bytes.last().is_some_and(is_word) {
        return false;
    }
    bytes.split(is_word).filter(|separator| !separator.is_empty()).all(|separator| {
        matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|&byte| byte == b'-')
    })
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names_follow_the_grammar() {
        for good in ["a", "a/b", "a.b", "a_b", "a__b", "a-b", "a---b", "0", "a/b/c/d/e/f/g/h/i/j"] {
            assert_eq!(good.parse::<RepoName>().map(|name| name.to_string()), Ok(good.into()));
        }
        let bad = [
            "", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "a._b", "-a", "a-", "_catalog", ".",
            "..", "a/../b", "a b", "a\n", "ä", "a-_b", "a%2f",
        ];
        for bad in bad {
            assert_eq!(bad.parse::<RepoName>(), Err(NameError::Repository), "{bad:?}");
        }
        assert!("a".repeat(255).parse::<RepoName>().is_ok());
        assert!("a".repeat(256).parse::<RepoName>().is_err());
    }

    #[test]
    fn tags_follow_the_grammar() {
        for good in ["latest", "4.20.3-x86_64", "_a", "A", "sha256-ab.sig"] {
            assert!(good.parse::<Tag>().is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "a/b", "a b", "a:b", "ä"] {
            assert_eq!(bad.parse::<Tag>(), Err(NameError::Tag), "{bad}");
        }
        assert!("a".repeat(128).parse::<Tag>().is_ok());
        assert!("a".repeat(129).parse::<Tag>().is_err());
    }

    #[test]
    fn a_reference_with_a_colon_is_a_digest() {
        assert!(matches!("v1".parse(), Ok(Reference::Tag(_))));
        assert_eq!(
            "sha256:zz".parse::<Reference>(),
            Err(NameError::Digest(DigestError::Malformed))
        );
    }
}
