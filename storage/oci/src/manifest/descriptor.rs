//! What a manifest says of each digest that it names, for people who look at it.

use super::document::{Document, DocumentDescriptor};
use super::read::{Rules, platform};
use super::{Digest, Edge, EdgeKind, ManifestError};

/// One descriptor of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// What the manifest names the digest as.
    pub kind: EdgeKind,
    /// The digest.
    pub digest: Digest,
    /// The type that the manifest says, whatever it is and however long.
    pub media_type: String,
    /// The bytes that the manifest says.
    pub size: u64,
    /// The platform that the manifest says, if any.
    pub platform: Option<Platform>,
}

/// What a descriptor says of the machines that an image is for, whatever the texts are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// The operating system.
    pub os: Option<String>,
    /// The architecture of the processor.
    pub architecture: Option<String>,
    /// The variant of the processor.
    pub variant: Option<String>,
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
        Self {
            kind: edge.kind,
            digest: edge.child,
            media_type: descriptor.media_type.clone().into_owned(),
            size: descriptor.size,
            platform: descriptor.platform.and_then(platform),
        }
    }
}
