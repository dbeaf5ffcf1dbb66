//! What lies in one of the directories below `blobs/`.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use durable::At;
use oci::{Algorithm, Digest};

use super::Content;
use crate::error::StorageError;

/// What lies in a directory of blobs.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The files that are named as blobs are, in no order.
    pub(crate) blobs: Vec<Digest>,
    /// Everything else, which no registry put there.
    pub(crate) foreign: Vec<PathBuf>,
}

impl Content {
    /// Lists the directory of the blobs whose digests begin with this byte.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub(crate) fn list(&self, algorithm: Algorithm, prefix: u8) -> Result<Listing, StorageError> {
        let directory = self.layout.shard(algorithm, prefix);
        let mut listing = Listing::default();
        for entry in fs::read_dir(&directory).at("list", &directory)? {
            let entry = entry.at("list", &directory)?;
            let is_file = match entry.file_type() {
                Ok(kind) => kind.is_file(),
                // It went meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                failed => failed.at("look at", &entry.path())?.is_file(),
            };
            let name = entry.file_name();
            let digest = format!("{algorithm}:{}", name.to_string_lossy()).parse::<Digest>();
            match digest {
                Ok(digest) if is_file && directory.ends_with(&digest.hex()[..2]) => {
                    listing.blobs.push(digest);
                }
                _ => listing.foreign.push(entry.path()),
            }
        }
        Ok(listing)
    }
}
