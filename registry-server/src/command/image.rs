//! Commands about whole images: looking at one, page by page, and removing it.

use oci::{Digest, ImageName, PastedPattern, RepoName, TagPattern};
use serde::{Deserialize, Serialize};
use storage::{BlobTotal, Removal, Store};

use super::names::{named, repository_of};
use super::{CommandError, PAGE_ENTRIES};

mod list_manifests;
mod list_parts;
mod list_referrers;
mod look_at_manifest;
mod read_manifest;
mod remove_all;
mod remove_image;
mod remove_matching;

pub use list_manifests::ListManifests;
pub use list_parts::{ListParts, Part};
pub use list_referrers::{ListReferrers, Referrer};
pub use look_at_manifest::{LookAtManifest, ManifestEntry};
pub use read_manifest::ReadManifest;
pub use remove_all::{PlanRemovalOfAll, RemoveSome, RemovedSome, RepositoryCounts};
pub use remove_image::RemoveImage;
pub use remove_matching::{PlanRemovalOfMatching, RemoveMatching, RemovedMatching};

/// What a removal took, or would take. Lists hold no more than fits on a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedImage {
    /// The image, as it was understood, or the pattern of tags.
    pub image: String,
    /// The repository.
    pub repository: RepoName,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The tags, with their repository.
    pub tags: Vec<ImageName>,
    /// How many tags that are in all.
    pub tag_count: u64,
    /// The manifests.
    pub manifests: Vec<Digest>,
    /// How many manifests that are in all.
    pub manifest_count: u64,
    /// Blobs that nothing else holds.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// What keeps the manifest that the tag named, if something does.
    pub kept_by: Option<ImageName>,
    /// Indexes that list a manifest that went, and stay.
    pub sparse: Vec<Digest>,
}

impl RemovedImage {
    /// What a removal takes, before anything has changed.
    fn planned(image: String, name: &RepoName, removal: &Removal, space: BlobTotal) -> Self {
        let first = |digests: &[Digest]| digests.iter().take(PAGE_ENTRIES).copied().collect();
        let tags = removal.tags.iter().take(PAGE_ENTRIES).map(|(tag, _)| named(name, tag));
        Self {
            image,
            repository: name.clone(),
            dry_run: true,
            tags: tags.collect(),
            tag_count: removal.tags.len() as u64,
            manifests: first(&removal.manifests),
            manifest_count: removal.manifests.len() as u64,
            blobs: space.blobs,
            blob_bytes: space.bytes,
            kept_by: None,
            sparse: first(&removal.sparse),
        }
    }
}

/// The tags that a text with a pattern means here.
fn tags_of<'a>(
    store: &Store,
    tags: &'a PastedPattern,
) -> Result<(RepoName, &'a TagPattern), CommandError> {
    Ok((repository_of(store, tags.repository())?, tags.pattern()))
}
