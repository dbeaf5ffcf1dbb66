//! The name of an image as people type it: a repository, with a tag, a digest or neither.

use std::fmt;
use std::str::FromStr;

use super::{NameError, Reference, RepoName};

/// `REPOSITORY`, `REPOSITORY:TAG` or `REPOSITORY@DIGEST`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageName {
    repository: RepoName,
    reference: Option<Reference>,
}

impl ImageName {
    /// The image of a repository that a tag or a digest names.
    pub fn new(repository: RepoName, reference: Option<Reference>) -> Self {
        Self { repository, reference }
    }

    /// The repository.
    pub fn repository(&self) -> &RepoName {
        &self.repository
    }

    /// The tag or the digest; none if the whole repository is meant.
    pub fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }
}

/// An image as somebody typed or pasted it: the registry's own name, and a scheme, may stand in
/// front of it. A repository may be called like a host, so there can be two meanings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastedImage {
    text: String,
    whole: ImageName,
    shorter: Option<ImageName>,
}

impl PastedImage {
    /// The image, if nothing in front of it is the registry's name. This holds if its repository
    /// exists.
    pub fn whole(&self) -> &ImageName {
        &self.whole
    }

    /// The image without a first component that could be a host, because it has a dot or a colon;
    /// none if no other meaning is left.
    pub fn shorter(&self) -> Option<&ImageName> {
        self.shorter.as_ref()
    }
}

impl From<ImageName> for PastedImage {
    /// An image whose name is known already.
    fn from(image: ImageName) -> Self {
        Self { text: image.to_string(), whole: image, shorter: None }
    }
}

impl FromStr for PastedImage {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let scheme = ["https://", "docker://"].iter().find_map(|it| text.strip_prefix(it));
        let image = scheme.unwrap_or(text);
        let is_host = |first: &str| first.contains(['.', ':']);
        let rest = image.split_once('/').filter(|(first, _)| is_host(first)).map(|(_, rest)| rest);
        let (whole, shorter) = match (image.parse(), rest.map(ImageName::from_str)) {
            (Ok(whole), shorter) => (whole, shorter.and_then(Result::ok)),
            (Err(_), Some(shorter)) => (shorter?, None),
            (Err(error), None) => return Err(error),
        };
        Ok(Self { text: text.to_owned(), whole, shorter })
    }
}

impl fmt::Display for PastedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for ImageName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (repository, reference) = match text.split_once('@') {
            Some((repository, digest)) => {
                let digest = digest.parse().map_err(NameError::Digest)?;
                (repository, Some(Reference::Digest(digest)))
            }
            None => match text.split_once(':') {
                Some((repository, tag)) => (repository, Some(Reference::Tag(tag.parse()?))),
                None => (text, None),
            },
        };
        // A tag and a digest at once leave it open which of them is meant.
        if repository.contains(':') {
            return Err(NameError::Image);
        }
        Ok(Self { repository: repository.parse()?, reference })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reference {
            None => self.repository.fmt(f),
            Some(Reference::Tag(tag)) => write!(f, "{}:{tag}", self.repository),
            Some(Reference::Digest(digest)) => write!(f, "{}@{digest}", self.repository),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// How an image is understood, and how else.
    fn read(text: &str) -> Result<(String, Option<String>), NameError> {
        let PastedImage { whole, shorter, .. } = text.parse()?;
        Ok((whole.to_string(), shorter.map(|other| other.to_string())))
    }

    #[test]
    fn an_image_is_a_repository_with_a_tag_or_a_digest_or_neither() {
        let by_digest = format!("team/app@{DIGEST}");
        for text in ["app", "team/app:1", by_digest.as_str(), "a:sha256-ab.sig"] {
            assert_eq!(read(text), Ok((text.to_owned(), None)));
        }
        let both = format!("team/app:1@{DIGEST}");
        for (text, error) in [
            ("", NameError::Repository),
            ("App:1", NameError::Repository),
            ("app:", NameError::Tag),
            ("app:1:2", NameError::Tag),
            ("app@sha256:ab", NameError::Digest(crate::DigestError::Malformed)),
            (both.as_str(), NameError::Image),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
    }

    #[test]
    fn the_registry_in_front_of_a_pasted_image_is_dropped() {
        let app = || "team/app:1".to_owned();
        for text in [
            "mirror:8443/team/app:1",
            "mirror.example.com:8443/team/app:1",
            "https://[::1]:8443/team/app:1",
            "docker://192.0.2.10:8443/team/app:1",
        ] {
            assert_eq!(read(text), Ok((app(), None)), "{text}");
        }
        // This could be a repository as well.
        let whole = "quay.io/team/app:1".to_owned();
        assert_eq!(read("quay.io/team/app:1"), Ok((whole, Some(app()))));
        assert_eq!(read("mirror/team/app:1"), Ok(("mirror/team/app:1".to_owned(), None)));
        assert_eq!(read("mirror:8443/Team"), Err(NameError::Repository));
    }
}
