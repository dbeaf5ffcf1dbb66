//! Manifests: what is read from their bytes, and which bytes are refused.
//!
//! A manifest is parsed once, when it is pushed; its bytes are kept and served as they came.
//! Owned here: the rules of which documents are manifests, and which digests they name (their
//! edges). Whether those digests are present is the database's question.
//!
//! A document that two readers could take for two things is refused (docs/manifests.md has the
//! table). Refused is only what is pushed: what was stored under older rules goes on being served.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest::{Algorithm, Digest};

mod descriptor;
mod document;
mod error;
mod keys;
mod media_type;
mod read;
mod sizes;
mod types;

pub use descriptor::{Descriptor, Platform};
pub use error::ManifestError;
pub use keys::{KeyedObject, folds_onto};
pub use media_type::{MediaType, MediaTypeError};
pub use sizes::{StatedSize, WrongSize, WrongSizes};

use document::Document;
use read::Rules;
use types::Types;

/// A manifest that passed every check that its bytes alone allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    bytes: Bytes,
    digest: Digest,
    media_type: MediaType,
    /// Those that it may be kept under.
    types: Types,
    content: Content,
}

/// What is kept of a document besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    edges: Vec<Edge>,
    sizes: Vec<StatedSize>,
    artifact_type: Option<String>,
    annotations: Option<String>,
}

impl Content {
    fn of(document: &Document<'_>) -> Self {
        let (edges, sizes) = (document.edges(), document.sizes());
        // Lists show the two of referrers, and of nothing else.
        let is_referrer = edges.iter().any(|edge| edge.kind == EdgeKind::Subject);
        let artifact_type = document.artifact_type().filter(|_| is_referrer);
        let annotations = if is_referrer { document.annotations() } else { None };
        Self { edges, sizes, artifact_type, annotations }
    }
}

impl Manifest {
    /// Reads a manifest from the body of a push.
    ///
    /// `content_type` is the type that the client declared, if any. What the document is, its bytes
    /// say: its `mediaType`, else its fields and the type of its config; the client may declare
    /// nothing else (CVE-2021-41190: two readers must not take one document for two kinds), but for
    /// a document that says nothing. The digest is computed with `algorithm`.
    ///
    /// # Errors
    /// Every [`ManifestError`] is the client's to mend.
    pub fn parse(
        bytes: Bytes,
        content_type: Option<MediaType>,
        algorithm: Algorithm,
    ) -> Result<Self, ManifestError> {
        let document = Document::read(&bytes, Rules::Push)?;
        let is_schema1 = |media_type: &MediaType| media_type.is_docker_schema1();
        if document.schema_version == Some(1)
            || document.has_fs_layers
            || content_type.as_ref().is_some_and(is_schema1)
        {
            return Err(match document.could_be_other_than_schema1() {
                true => ManifestError::LikeSchema1,
                false => ManifestError::Schema1,
            });
        }
        let types = Types::of(&document, Rules::Push)?;
        if matches!(&types, Types::Own(own) if is_schema1(own)) {
            return Err(ManifestError::LikeSchema1);
        }
        let media_type = types.of_push(content_type)?;
        document.check_shape(&media_type)?;
        // What a repository keeps it under already may be more, and stays.
        let types = Types::of(&document, Rules::Stored)?;
        let content = Content::of(&document);
        Ok(Self::new(bytes, content, media_type, types, algorithm))
    }

    /// Reads a manifest that a repository keeps, whatever is asked of one that is pushed today.
    ///
    /// `kept` is the type it is kept under. It is another one's than the document's own only if an
    /// earlier program took it from a header; the manifest then has the document's.
    ///
    /// # Errors
    /// None for bytes that [`Manifest::parse`] took, now or in an earlier program.
    pub fn of_stored(
        bytes: Bytes,
        kept: MediaType,
        algorithm: Algorithm,
    ) -> Result<Self, ManifestError> {
        let document = Document::read(&bytes, Rules::Stored)?;
        let types = Types::of(&document, Rules::Stored)?;
        let (media_type, content) = (types.of_stored(kept), Content::of(&document));
        Ok(Self::new(bytes, content, media_type, types, algorithm))
    }

    /// The sizes alone of a manifest that is kept, as [`Manifest::sizes`] has them.
    ///
    /// # Errors
    /// Those of [`Manifest::of_stored`].
    pub fn sizes_of_stored(bytes: &[u8]) -> Result<Vec<StatedSize>, ManifestError> {
        Ok(Document::read(bytes, Rules::Stored)?.sizes())
    }

    fn new(
        bytes: Bytes,
        content: Content,
        media_type: MediaType,
        types: Types,
        algorithm: Algorithm,
    ) -> Self {
        let digest = Digest::of(algorithm, &bytes);
        Self { bytes, digest, media_type, types, content }
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

    /// Whether the document says so little of its type that a repository could keep it under
    /// another one as well.
    pub fn has_type_of_choice(&self) -> bool {
        match &self.types {
            Types::Own(_) => false,
            Types::Shape(types) => types.len() > 1,
            Types::Any => true,
        }
    }

    /// Whether a repository that has its bytes under this type keeps them so: no push changes the
    /// type for other tags, unless no manifest can have it.
    pub fn may_be(&self, media_type: &MediaType) -> bool {
        self.types.may_be(media_type)
    }

    /// Everything this manifest names, each digest once for each kind.
    pub fn edges(&self) -> &[Edge] {
        &self.content.edges
    }

    /// The sizes that it says of what it names, in the order of the digests; of one digest each
    /// size once.
    pub fn sizes(&self) -> &[StatedSize] {
        &self.content.sizes
    }

    /// The blobs that must be in the repository before the manifest is accepted.
    pub fn required_blobs(&self) -> impl Iterator<Item = &Digest> {
        let required = self.content.edges.iter().filter(|edge| edge.kind.is_required_blob());
        required.map(|edge| &edge.child)
    }

    /// The manifest this one refers to, if any.
    pub fn subject(&self) -> Option<&Digest> {
        self.content
            .edges
            .iter()
            .find(|edge| edge.kind == EdgeKind::Subject)
            .map(|edge| &edge.child)
    }

    /// The artifact type that a referrers list shows: the manifest's own, else an image
    /// manifest's config media type (OCI distribution specification, "Listing Referrers"). None of
    /// a manifest that refers to none.
    pub fn artifact_type(&self) -> Option<&str> {
        self.content.artifact_type.as_deref()
    }

    /// The annotations that a referrers list shows, as the JSON object that was pushed. None of a
    /// manifest that refers to none.
    pub fn annotations(&self) -> Option<&str> {
        self.content.annotations.as_deref()
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

#[cfg(test)]
mod tests;
