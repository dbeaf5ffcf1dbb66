//! What a manifest says of each digest that it names, for people who look at it.

use super::document::{Document, DocumentDescriptor};
use super::keys::short;
use super::read::{Rules, platform};
use super::{Digest, Edge, EdgeKind, ManifestError};

/// One descriptor of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// What the manifest names the digest as.
    pub kind: EdgeKind,
    /// The digest.
    pub digest: Digest,
    /// The type that the manifest says, cut where it is unreasonably long.
    pub media_type: String,
    /// The bytes that the manifest says.
    pub size: u64,
    /// `OS/ARCHITECTURE` and the variant, if the manifest says a platform.
    pub platform: Option<String>,
}

impl Descriptor {
    /// All descriptors of a stored manifest, in its own order.
    ///
    /// # Errors
    /// None for bytes that [`super::Manifest::parse`] took.
    pub fn all_of(manifest: &[u8]) -> Result<Vec<Self>, ManifestError> {
        let document = Document::read(manifest, Rules::Stored)?;
        Ok(document.descriptors().map(|(edge, descriptor)| Self::new(edge, descriptor)).collect())
    }

    fn new(edge: Edge, descriptor: &DocumentDescriptor<'_>) -> Self {
        let platform = descriptor.platform.and_then(platform);
        let shown = |parts: [Option<String>; 3]| {
            short(&parts.into_iter().flatten().collect::<Vec<_>>().join("/"))
        };
        Self {
            kind: edge.kind,
            digest: edge.child,
            media_type: short(&descriptor.media_type),
            size: descriptor.size,
            platform: platform.map(shown),
        }
    }
}
