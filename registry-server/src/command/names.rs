//! What the names mean that somebody typed or pasted, in this registry.

use oci::{ImageName, PastedImage, Reference, RepoName, Tag};
use storage::Store;

use super::CommandError;

/// The image that a text means here: a first component that could be a host is one unless a
/// repository is called so.
pub(super) fn image_of(store: &Store, image: &PastedImage) -> Result<ImageName, CommandError> {
    let whole = image.whole();
    match image.shorter() {
        Some(shorter)
            if !store.repository_exists(whole.repository())?
                && store.repository_exists(shorter.repository())? =>
        {
            Ok(shorter.clone())
        }
        _ => Ok(whole.clone()),
    }
}

/// The repository that a text means here, which must name no image in it.
pub(super) fn repository_of(store: &Store, image: &PastedImage) -> Result<RepoName, CommandError> {
    let image = image_of(store, image)?;
    match image.reference() {
        Some(_) => Err(CommandError::NeedsRepository(image)),
        None => Ok(image.repository().clone()),
    }
}

/// The tag that is meant.
pub(super) fn tag_of(store: &Store, image: &PastedImage) -> Result<(RepoName, Tag), CommandError> {
    let image = image_of(store, image)?;
    match image.reference() {
        Some(Reference::Tag(tag)) => Ok((image.repository().clone(), tag.clone())),
        _ => Err(CommandError::NeedsTag(image)),
    }
}

/// A tag with its repository.
pub(super) fn named(repository: &RepoName, tag: &Tag) -> ImageName {
    ImageName::new(repository.clone(), Some(Reference::Tag(tag.clone())))
}
