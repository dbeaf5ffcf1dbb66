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
    /// The OCI image manifest.
    pub const OCI_MANIFEST: &'static str = "application/vnd.oci.image.manifest.v1+json";
    /// The OCI image index.
    pub const OCI_INDEX: &'static str = "application/vnd.oci.image.index.v1+json";

    /// The longest type, in bytes: two names of 127 bytes and the slash, by RFC 6838.
    pub const MAX_BYTES: usize = 255;

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
        matches!(
            self.as_str(),
            "application/vnd.docker.distribution.manifest.v1+json"
                | "application/vnd.docker.distribution.manifest.v1+prettyjws"
        )
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
#[error("{0:?} is not a media type")]
pub struct MediaTypeError(String);
