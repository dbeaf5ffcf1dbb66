//! Commands about tags: what they name, what they named, and protecting them.

mod list_tags;
mod protect_tag;
mod restore_manifests;
mod restore_tag;
mod show_history;

pub use list_tags::{ListTags, TagEntry};
pub use protect_tag::{ProtectTag, Protection, UnprotectTag};
pub use restore_manifests::{RestoreManifests, RestoredManifests};
pub use restore_tag::{RestoreTag, RestoredTag};
pub use show_history::{Change, ShowHistory};
