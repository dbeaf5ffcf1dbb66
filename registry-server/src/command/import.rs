//! Commands of an import: what the one process that reads an archive asks of whoever owns the
//! store. Bytes do not go this way: they lie in the import's own directory (`storage::Staging`),
//! and a command names them by their digests.
//!
//! The command that begins an import and the one that takes it back are logged; those in between
//! come by the thousand and are logged more quietly, since the history of each tag says which
//! import changed it.

mod begin_import;
mod end_import;
mod link_blobs;
mod look_at_tags;
mod look_for_blobs;
mod look_for_manifests;
mod publish_blobs;
mod put_images;
mod undo_import;

pub use begin_import::BeginImport;
pub use end_import::EndImport;
pub use link_blobs::LinkBlobs;
pub use look_at_tags::LookAtTags;
pub use look_for_blobs::LookForBlobs;
pub use look_for_manifests::LookForManifests;
pub use publish_blobs::PublishBlobs;
pub use put_images::{NewImage, PutImages, PutOutcome, TagOutcome};
pub use undo_import::{UndoImport, UndoneTag};
