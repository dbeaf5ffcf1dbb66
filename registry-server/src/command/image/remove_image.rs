//! Removing an image.

use oci::{ImageName, PastedImage, Reference, SIGNATURE_TAG_PREFIX, Tag};
use serde::{Deserialize, Serialize};
use storage::Keeper;

use super::RemovedImage;
use crate::command::names::{image_of, named};
use crate::command::{Command, CommandError, Context};

/// Removes an image, or says what that would remove.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveImage {
    /// A tag or a digest.
    pub image: PastedImage,
    /// Whether to change nothing.
    pub dry_run: bool,
}

impl Command for RemoveImage {
    type Reply = RemovedImage;

    const NAME: &'static str = "image-remove";

    fn words(&self) -> &'static str {
        if self.dry_run { "rm --dry-run" } else { "rm" }
    }

    fn subject(&self) -> Option<String> {
        Some(self.image.to_string())
    }

    fn run(self, context: &mut Context<'_>) -> Result<RemovedImage, CommandError> {
        let (store, dry_run) = (context.store, self.dry_run);
        let image = image_of(store, &self.image)?;
        let name = image.repository();
        let reference = image.reference();
        let reference = reference.ok_or_else(|| CommandError::WholeRepository(name.clone()))?;
        let mut removal = store.plan_removal(name, reference)?;
        // Before anything goes, so that trouble with adding up never hides that something went.
        let space = store.space_of(name, &removal.manifests)?;
        if !dry_run {
            removal = store.remove_image(name, reference, context.by.as_ref())?;
        }
        let kept_by = removal.kept_by.as_ref().map(|keeper| match keeper {
            Keeper::Tag(tag) => named(name, tag),
            Keeper::Index(digest) => ImageName::new(name.clone(), Some(Reference::Digest(*digest))),
        });
        // What the command named comes first: restoring that restores most.
        let is_named = |tag: &Tag| matches!(reference, Reference::Tag(it) if it == tag);
        let is_signature = |tag: &Tag| tag.as_str().starts_with(SIGNATURE_TAG_PREFIX);
        removal.tags.sort_by_key(|(tag, _)| (!is_named(tag), is_signature(tag)));
        let planned = RemovedImage::planned(image.to_string(), name, &removal, space);
        Ok(RemovedImage { dry_run, kept_by, ..planned })
    }
}
