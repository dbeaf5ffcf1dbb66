//! What a manifest says of each digest that it names, for people who look at it.

use serde::Deserialize;

use super::document::{Document, DocumentDescriptor};
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
        let document: Document = serde_json::from_slice(manifest)
            .map_err(|error| ManifestError::NotJson(error.to_string()))?;
        let mut all = Vec::new();
        document.each(|edge, descriptor| all.push(Self::new(edge, descriptor)))?;
        Ok(all)
    }

    fn new(edge: Edge, descriptor: &DocumentDescriptor) -> Self {
        let platform = descriptor.platform.as_ref();
        Self {
            kind: edge.kind,
            digest: edge.child,
            media_type: short(&descriptor.media_type),
            size: descriptor.size,
            platform: platform.and_then(|platform| platform_of(platform.get())),
        }
    }
}

/// A platform (OCI image specification, image-index.md).
#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

fn platform_of(text: &str) -> Option<String> {
    let platform: Platform = serde_json::from_str(text).ok()?;
    let parts = [Some(platform.os), Some(platform.architecture), platform.variant];
    Some(short(&parts.into_iter().flatten().collect::<Vec<_>>().join("/")))
}

fn short(text: &str) -> String {
    text.chars().take(TEXT_CHARS).collect()
}

/// Characters of a text that is shown: a manifest could hold one of 4 MiB.
const TEXT_CHARS: usize = 255;
