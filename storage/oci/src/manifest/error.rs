//! Why a manifest is refused.

use thiserror::Error;

use super::{KeyedObject, MediaType, MediaTypeError};
use crate::digest::DigestError;

/// Why bytes are refused as a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// The body is no JSON that any reader takes. What is wrong with it, and where.
    #[error("the manifest is no JSON: {0}")]
    NotJson(String),
    /// The body is JSON, but not an object with fields of the right types. What is wrong with it,
    /// and where.
    #[error("the manifest cannot be read: {0}")]
    Unfit(String),
    /// The body is no UTF-8 (RFC 8259, section 8.1), for which some readers put other characters.
    #[error("the manifest is not UTF-8: write it so")]
    NotUtf8,
    /// A key is one that readers know, but for the case of its letters.
    #[error(
        "{place} has the key {key:?}, which programs in Go take for {known:?} and others do not: \
         write it as {known:?}, and once"
    )]
    KeyFolds {
        /// What it is a key of.
        place: KeyedObject,
        /// The key.
        key: String,
        /// The known one.
        known: &'static str,
    },
    /// A key stands twice.
    #[error("{place} has the key {key:?} twice, and readers take different ones: write it once")]
    KeyTwice {
        /// What it is a key of.
        place: KeyedObject,
        /// The key.
        key: String,
    },
    /// Lists and objects are in each other at too many levels.
    #[error("the manifest has lists and objects at more than {limit} levels: flatten it")]
    TooDeep {
        /// The bound, where programs in Go end, too.
        limit: usize,
    },
    /// A media type is a known one, but for the case of its letters.
    #[error(
        "the media type {text:?} is {known} to some readers and unknown to others: write it so"
    )]
    LetterCase {
        /// The type.
        text: String,
        /// The known one.
        known: &'static str,
    },
    /// The document calls itself something that no manifest is.
    #[error(
        "the manifest's mediaType is {0}: the type of a manifest is application/NAME+json or \
         application/json"
    )]
    NotJsonType(MediaType),
    /// Neither the request nor the document says what the document is.
    #[error("the manifest has no media type: send it in Content-Type")]
    NoMediaType,
    /// A media type is not one.
    #[error(transparent)]
    MediaType(#[from] MediaTypeError),
    /// `Content-Type` and `mediaType` contradict each other.
    #[error("Content-Type is {header} but the manifest's mediaType is {body}: they must be equal")]
    TypeMismatch {
        /// What the request said.
        header: MediaType,
        /// What the document says.
        body: MediaType,
    },
    /// `Content-Type` is none that the document can have.
    #[error(
        "Content-Type is {header} but the manifest has no mediaType, and its fields are those of \
         {}: send that", types.join(" or ")
    )]
    NotItsShape {
        /// What the request said.
        header: MediaType,
        /// What the document can be.
        types: &'static [&'static str],
    },
    /// A Docker schema 1 manifest, whose digest is not that of its bytes.
    #[error(
        "Docker schema 1 manifests are not supported: convert the image to schema 2, for example \
         with skopeo copy --format v2s2, or rebuild it"
    )]
    Schema1,
    /// Docker schema 1 to some readers, and something else to others.
    #[error(
        "the manifest is Docker schema 1 by its type, its schemaVersion or its fsLayers, and \
         something else by its other fields: rebuild the image"
    )]
    LikeSchema1,
    /// `schemaVersion` is missing or not 2.
    #[error("schemaVersion must be 2")]
    SchemaVersion,
    /// A field that this kind of manifest must have is missing.
    #[error("a manifest of type {media_type} must have the field {field}")]
    MissingField {
        /// The manifest's type.
        media_type: MediaType,
        /// The missing field.
        field: &'static str,
    },
    /// A field that makes the document ambiguous.
    #[error("a manifest of type {media_type} must not have the field {field}")]
    ForbiddenField {
        /// The manifest's type.
        media_type: MediaType,
        /// The offending field.
        field: &'static str,
    },
    /// A descriptor names content by something that is not a usable digest.
    #[error("the digest {text:?} in {field}: {error}")]
    Digest {
        /// The field that holds the descriptor.
        field: &'static str,
        /// The text in place of a digest.
        text: String,
        /// Why it is not one.
        error: DigestError,
    },
}
