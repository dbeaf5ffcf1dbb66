//! What an import has read, as whoever publishes it or reads it finds it.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use bytes::Bytes;
use durable::At;
use oci::Digest;

use crate::content::publication::Synced;
use crate::content::{Content, SizedDigest};
use crate::error::StorageError;

/// What an import has read.
pub(crate) struct Staged {
    path: PathBuf,
    file: File,
    blob: SizedDigest,
}

impl Staged {
    /// The file at `path`, which has so many bytes.
    pub(super) fn new(path: PathBuf, file: File, blob: SizedDigest) -> Self {
        Self { path, file, blob }
    }

    /// The blob that it is to become.
    pub(crate) fn blob(&self) -> SizedDigest {
        self.blob
    }

    /// Sets it on its way to the name of its blob.
    pub(crate) fn synced<'a>(&'a self, content: &Content) -> Result<Synced<'a>, StorageError> {
        Synced::as_told(&content.layout, &self.path, &self.blob.digest)
    }

    /// Its bytes, of which there are no more than `most_bytes`, held against its digest.
    ///
    /// # Errors
    /// [`StorageError::NotStaged`] if they are more, or others; trouble with the disk.
    pub(crate) fn whole(&self, most_bytes: u64) -> Result<Bytes, StorageError> {
        let SizedDigest { digest, size } = self.blob;
        let mut bytes = Vec::new();
        if size <= most_bytes {
            (&self.file).take(size).read_to_end(&mut bytes).at("read", &self.path)?;
        }
        match Digest::of(digest.algorithm(), &bytes) == digest {
            true => Ok(bytes.into()),
            false => Err(StorageError::NotStaged(digest)),
        }
    }
}
