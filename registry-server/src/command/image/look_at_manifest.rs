//! Looking at a manifest.

use oci::{Digest, ImageName, PastedImage, RepoName};
use serde::{Deserialize, Serialize};
use storage::ManifestInfo;

use crate::command::names::{image_of, named};
use crate::command::{Command, CommandError, Context, PAGE_ENTRIES};

/// Asks for a manifest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookAtManifest {
    /// A tag or a digest.
    pub image: PastedImage,
    /// Whether it belongs to an image that was asked for before.
    pub is_part: bool,
}

/// A manifest as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// The repository.
    pub repository: RepoName,
    /// The digest.
    pub digest: Digest,
    /// The media type, whatever was pushed.
    pub media_type: String,
    /// The bytes of the manifest itself.
    pub size: u64,
    /// When it was pushed last, in seconds since 1970.
    pub pushed_at: i64,
    /// Whether its bytes are gone or wrong.
    pub is_lost: bool,
    /// Tags that name it; no more than fit on a page.
    pub tags: Vec<ImageName>,
    /// Tags under which cosign keeps what belongs to it.
    pub signatures: Vec<ImageName>,
}

impl Command for LookAtManifest {
    /// None if it is gone.
    type Reply = Option<ManifestEntry>;

    const NAME: &'static str = "image-manifest";

    fn words(&self) -> &'static str {
        "inspect"
    }

    fn subject(&self) -> Option<String> {
        Some(self.image.to_string())
    }

    fn is_continued(&self) -> bool {
        self.is_part
    }

    fn run(self, context: &mut Context<'_>) -> Result<Option<ManifestEntry>, CommandError> {
        let image = image_of(context.store, &self.image)?;
        let name = image.repository();
        let reference = image.reference();
        let reference = reference.ok_or_else(|| CommandError::NeedsImage(name.clone()))?;
        let info = context.store.manifest_info(name, reference, PAGE_ENTRIES)?;
        Ok(info.map(|info: ManifestInfo| ManifestEntry {
            repository: name.clone(),
            digest: info.digest,
            media_type: info.media_type,
            size: info.size,
            pushed_at: info.pushed_at,
            is_lost: info.is_lost,
            tags: info.tags.iter().map(|tag| named(name, tag)).collect(),
            signatures: info.signatures.iter().map(|(tag, _)| named(name, tag)).collect(),
        }))
    }
}
