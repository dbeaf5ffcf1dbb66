//! Media types of manifests: kept exactly as pushed, without parameters.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A media type such as `application/vnd.oci.image.index.v1+json`, without parameters.
///
/// Any type and subtype by the grammar of RFC 6838 section 4.2 is one, since clients push many
/// that no list knows. Parameters are cut off: the distribution specification wants none in an
/// answer, and a client of OpenShift's update service refuses a type that has them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MediaType(String);

impl MediaType {
    /// Docker's image manifest, version 2 schema 2.
    pub const DOCKER_MANIFEST: &'static str =
        "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's manifest list.
    pub const DOCKER_LIST: &'static str =
        "application/vnd.docker.distribution.manifest.list.v2+json";
    /// The configuration of an image of Docker's.
    pub const DOCKER_CONFIG: &'static str = "application/vnd.docker.container.image.v1+json";
    /// The OCI image manifest.
    pub const OCI_MANIFEST: &'static str = "application/vnd.oci.image.manifest.v1+json";
    /// The OCI image index.
    pub const OCI_INDEX: &'static str = "application/vnd.oci.image.index.v1+json";
    /// The configuration of an OCI image.
    pub const OCI_CONFIG: &'static str = "application/vnd.oci.image.config.v1+json";

    /// The longest type, in bytes: two names of 127 bytes and the slash, by RFC 6838.
    pub const MAX_BYTES: usize = 255;

    /// Reads a type that stands by itself, as in a document: nothing is cut off from it.
    ///
    /// # Errors
    /// [`MediaTypeError`] also for what a header may have around a type.
    pub fn exactly(text: &str) -> Result<Self, MediaTypeError> {
        let media_type: Self = text.parse()?;
        match media_type.0 == text {
            true => Ok(media_type),
            false => Err(MediaTypeError(text.chars().take(Self::MAX_BYTES).collect())),
        }
    }

    /// The type as it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is an image manifest, with a config and layers.
    pub fn is_image(&self) -> bool {
        matches!(self.as_str(), Self::DOCKER_MANIFEST | Self::OCI_MANIFEST)
    }

    /// Whether this is an index, a list of manifests.
    pub fn is_index(&self) -> bool {
        matches!(self.as_str(), Self::DOCKER_LIST | Self::OCI_INDEX)
    }

    /// Whether this is one of the types of Docker schema 1.
    pub fn is_docker_schema1(&self) -> bool {
        matches!(self.as_str(), SCHEMA1 | SCHEMA1_SIGNED)
    }

    /// Whether manifests may have this type: `application/…json`. A browser shows or runs many
    /// others, and what is no JSON is no manifest.
    pub fn is_json(&self) -> bool {
        let has = |start: &str, end: &str| {
            start.eq_ignore_ascii_case("application") && {
                let tail = end.len().checked_sub(JSON.len()).and_then(|at| end.get(at..));
                tail.is_some_and(|tail| tail.eq_ignore_ascii_case(JSON))
            }
        };
        self.0.split_once('/').is_some_and(|(start, end)| has(start, end))
    }

    /// The known type that a text would be if the case of letters did not matter. It does not to
    /// some readers (RFC 6838, section 4.2), and to programs in Go it does.
    pub fn known_as(text: &str) -> Option<&'static str> {
        let is_other = |known: &&&str| text.eq_ignore_ascii_case(known) && text != **known;
        KNOWN.iter().find(is_other).copied()
    }
}

impl FromStr for MediaType {
    type Err = MediaTypeError;

    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        let is_name = |name: &str| {
            let first_is_word = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
            let rest = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
            first_is_word && name.bytes().all(rest)
        };
        match essence.split_once('/') {
            Some((kind, subtype))
                if essence.len() <= Self::MAX_BYTES && is_name(kind) && is_name(subtype) =>
            {
                Ok(Self(essence.to_owned()))
            }
            _ => Err(MediaTypeError(text.chars().take(Self::MAX_BYTES).collect())),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not a media type.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a media type: write it as TYPE/SUBTYPE, with nothing around it")]
pub struct MediaTypeError(String);

const SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
const SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// How the types of manifests end.
const JSON: &str = "json";

/// The types of manifests and of what they name that readers do something for.
const KNOWN: [&str; 21] = [
    MediaType::DOCKER_MANIFEST,
    MediaType::DOCKER_LIST,
    MediaType::DOCKER_CONFIG,
    MediaType::OCI_MANIFEST,
    MediaType::OCI_INDEX,
    MediaType::OCI_CONFIG,
    SCHEMA1,
    SCHEMA1_SIGNED,
    "application/vnd.oci.artifact.manifest.v1+json",
    "application/vnd.oci.empty.v1+json",
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_json_by_their_type() {
        let is_json = |text: &str| text.parse::<MediaType>().unwrap().is_json();
        for json in [
            MediaType::OCI_INDEX,
            "application/json",
            "Application/JSON",
            "application/vnd.example+json",
            "application/vnd.example.json; charset=utf-8",
        ] {
            assert!(is_json(json), "{json}");
        }
        for other in [
            "text/html",
            "text/json",
            "multipart/form-data; boundary=x",
            "application/octet-stream",
            "application/x-www-form-urlencoded",
            "application/xhtml+xml",
            "application/json-seq",
            "application/x",
            "image/svg+xml",
            "application/son",
        ] {
            assert!(!is_json(other), "{other}");
        }
    }

    #[test]
    fn a_known_type_in_other_letters_is_recognized() {
        for known in KNOWN {
            assert_eq!(MediaType::known_as(known), None);
            assert_eq!(MediaType::known_as(&known.to_uppercase()), Some(known));
        }
        assert_eq!(MediaType::known_as("application/vnd.oci.image.manife\u{17f}t.v1+json"), None);
        assert_eq!(MediaType::known_as("Application/Json"), None);
    }

    #[test]
    fn what_a_header_may_have_around_a_type_is_no_part_of_it() {
        for text in ["a/b; c=d", " a/b", "a/b ", "a/b;"] {
            assert_eq!(text.parse(), MediaType::exactly("a/b"));
            assert_eq!(MediaType::exactly(text), Err(MediaTypeError(text.to_owned())));
        }
    }
}
