//! What a disk holds of content: the files of blobs, those of uploads and imports, and those that
//! were put aside because their bytes are wrong. Nobody else opens, lists, renames or removes them.
//!
//! A directory of content may be a store's, a backup's, or one that is being restored: all three
//! are laid out alike. Rows are not known here: who asks says which blob it is, and how many bytes
//! its row promises. Nor is it decided here who may touch a file: whoever takes one away holds the
//! claim on its digest (`in_memory/claims.rs`).
//!
//! Files that are read in pieces to be hashed go through [`hash_file`], and every list of a
//! directory of blobs comes from [`shard`].

use oci::Digest;

use crate::layout::Layout;

mod blob;
mod copy;
mod damage;
mod hash_file;
mod publication;
mod reader;
mod reread;
mod set_aside;
mod shard;
mod spool;
pub(crate) mod staging;
pub(crate) mod upload;
mod write_back;

pub(crate) use copy::CopyError;
pub use copy::CopyOutcome;
pub use damage::BlobDamage;
pub(crate) use publication::{Named, Placed, Replaced, SyncedShards, Unpublished, UploadRemains};
pub use reader::{BlobContent, BlobReader};
pub(crate) use reread::{Identity, Reread};
pub(crate) use shard::Listing;
pub use spool::Spool;
pub use staging::{CheckedFile, StagedFile, Staging};

/// The content in one directory.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    layout: Layout,
}

impl Content {
    /// The content at these paths. Touches nothing.
    pub(crate) fn new(layout: &Layout) -> Self {
        Self { layout: layout.clone() }
    }
}

/// A blob by its digest, with the number of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SizedDigest {
    pub(crate) digest: Digest,
    /// In bytes.
    pub(crate) size: u64,
}
