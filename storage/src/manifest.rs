//! Manifests: what is read from their bytes, and which bytes are refused.
//!
//! A manifest is parsed once, when it is pushed; its bytes are kept and served as they came.
//! Owned here: the rules of which documents are manifests, and which digests they name (their
//! edges). Whether those digests are present is the database's question.

use bytes::Bytes;
use thiserror::Error;

use crate::digest::{Algorithm, Digest, DigestError};

mod descriptor;
mod document;
mod media_type;

pub use descriptor::Descriptor;
pub use media_type::{MediaType, MediaTypeError};

use document::Document;

/// A manifest that passed every check that its bytes alone allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    bytes: Bytes,
    digest: Digest,
    media_type: MediaType,
    edges: Vec<Edge>,
    artifact_type: Option<String>,
    annotations: Option<String>,
}

impl Manifest {
    /// Reads a manifest from the body of a push.
    ///
    /// `content_type` is the type that the client declared, if any; the document's own
    /// `mediaType`, if any, must be the same (CVE-2021-41190: two readers must not take one
    /// document for two kinds). The digest is computed with `algorithm`.
    ///
    /// # Errors
    /// Every [`ManifestError`] is the client's to mend.
    pub fn parse(
        bytes: Bytes,
        content_type: Option<MediaType>,
        algorithm: Algorithm,
    ) -> Result<Self, ManifestError> {
        let document: Document = serde_json::from_slice(&bytes)
            .map_err(|error| ManifestError::NotJson(error.to_string()))?;
        let media_type = declared_type(&document, content_type)?;
        document.check_shape(&media_type)?;
        let edges = document.edges()?;
        // Lists show the two of referrers, and of nothing else.
        let is_referrer = edges.iter().any(|edge| edge.kind == EdgeKind::Subject);
        let artifact_type = document.artifact_type().filter(|_| is_referrer);
        let annotations = if is_referrer { document.annotations() } else { None };
        let digest = Digest::of(algorithm, &bytes);
        Ok(Self { bytes, digest, media_type, edges, artifact_type, annotations })
    }

    /// The bytes as they were pushed.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The digest of the bytes.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The type to serve the manifest with.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// Everything this manifest names, each digest once for each kind.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// The blobs that must be in the repository before the manifest is accepted.
    pub fn required_blobs(&self) -> impl Iterator<Item = &Digest> {
        let required = self.edges.iter().filter(|edge| edge.kind.is_required_blob());
        required.map(|edge| &edge.child)
    }

    /// The manifest this one refers to, if any.
    pub fn subject(&self) -> Option<&Digest> {
        self.edges.iter().find(|edge| edge.kind == EdgeKind::Subject).map(|edge| &edge.child)
    }

    /// The artifact type that a referrers list shows: the manifest's own, else an image
    /// manifest's config media type (OCI distribution specification, "Listing Referrers"). None of
    /// a manifest that refers to none.
    pub fn artifact_type(&self) -> Option<&str> {
        self.artifact_type.as_deref()
    }

    /// The annotations that a referrers list shows, as the JSON object that was pushed. None of a
    /// manifest that refers to none.
    pub fn annotations(&self) -> Option<&str> {
        self.annotations.as_deref()
    }
}

/// One digest that a manifest names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Edge {
    /// What the manifest names it as.
    pub kind: EdgeKind,
    /// The digest that is named.
    pub child: Digest,
}

/// The ways in which a manifest names a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EdgeKind {
    /// The configuration of an image.
    Config,
    /// A layer of an image.
    Layer,
    /// A blob of an artifact manifest.
    Blob,
    /// A layer that its publisher does not allow to be pushed: it has URLs and a
    /// nondistributable type, and may be absent.
    ForeignLayer,
    /// A manifest listed by an index; it may be absent (a sparse index).
    Child,
    /// The manifest that this one refers to; it may be absent.
    Subject,
}

impl EdgeKind {
    /// Whether the blob must be in the repository before the manifest is accepted.
    pub fn is_required_blob(self) -> bool {
        matches!(self, Self::Config | Self::Layer | Self::Blob)
    }

    /// The word that the database keeps.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Layer => "layer",
            Self::Blob => "blob",
            Self::ForeignLayer => "foreign-layer",
            Self::Child => "child",
            Self::Subject => "subject",
        }
    }
}

/// Why bytes are refused as a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// The body is not a JSON object with fields of the right types.
    #[error("the manifest cannot be read: {0}")]
    NotJson(String),
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
    /// A Docker schema 1 manifest, whose digest is not that of its bytes.
    #[error(
        "Docker schema 1 manifests are not supported: convert the image to schema 2, for example \
         with skopeo copy --format v2s2, or rebuild it"
    )]
    Schema1,
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

fn declared_type(
    document: &Document,
    content_type: Option<MediaType>,
) -> Result<MediaType, ManifestError> {
    let body = document.media_type.as_deref().map(str::parse::<MediaType>).transpose()?;
    let is_schema1 = |media_type: &Option<MediaType>| {
        media_type.as_ref().is_some_and(MediaType::is_docker_schema1)
    };
    if document.schema_version == Some(1) || is_schema1(&body) || is_schema1(&content_type) {
        return Err(ManifestError::Schema1);
    }
    match (content_type, body) {
        (Some(header), Some(body)) if header != body => {
            Err(ManifestError::TypeMismatch { header, body })
        }
        (Some(media_type), _) | (None, Some(media_type)) => Ok(media_type),
        (None, None) => Err(ManifestError::NoMediaType),
    }
}

#[cfg(test)]
mod tests;
