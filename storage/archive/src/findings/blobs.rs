//! Blobs, and which of them are manifests.

use bytes::Bytes;
use oci::{Digest, Manifest};

use super::{Findings, Want};
use crate::contents::ManifestFault;
use crate::damage::Damage;
use crate::documents;
use crate::error::ScanError;
use crate::path::EntryPath;

impl Findings {
    /// Adds a blob that was read, or can be. `beginning` is all of it if it could be a manifest.
    ///
    /// # Errors
    /// [`ScanError::TooMany`].
    pub(crate) fn add_blob(
        &mut self,
        digest: Digest,
        size: u64,
        beginning: &[u8],
    ) -> Result<(), ScanError> {
        self.keep(0)?;
        self.blobs.insert(digest, size);
        if !may_be_manifest(size, beginning) {
            return Ok(());
        }
        if Digest::of(digest.algorithm(), beginning) != digest {
            return self.fault(digest, ManifestFault::Digest);
        }
        let bytes = Bytes::copy_from_slice(beginning);
        match Manifest::parse(bytes, None, digest.algorithm()) {
            Ok(manifest) => {
                self.edges += manifest.edges().len();
                if self.edges > MOST_EDGES {
                    return Err(ScanError::TooMany {
                        what: "digests in manifests",
                        limit: MOST_EDGES,
                    });
                }
                let subject = manifest.subject().copied();
                self.subjects.extend(subject.map(|subject| (digest, subject)));
                self.manifests.insert(digest, manifest.edges().to_vec());
            }
            // A configuration, say: as many as there are images.
            Err(_) if !documents::is_like_manifest(beginning) => {}
            Err(error) => return self.fault(digest, ManifestFault::Refused(error)),
        }
        Ok(())
    }

    /// Whether a blob is to be read.
    pub(super) fn blob(
        &mut self,
        path: &EntryPath,
        digest: Digest,
        size: u64,
    ) -> Result<Want, ScanError> {
        match self.blobs.get(&digest).copied() {
            None => Ok(Want::Blob(digest)),
            Some(first) if first == size => Ok(Want::Known),
            // Not two readings of one entry: the longer one may well be whole.
            Some(other) if self.is_directory => {
                let path = path.as_str().to_owned();
                self.damaged(Damage::Size { path, size, other });
                Ok(if size > other { Want::Blob(digest) } else { Want::Known })
            }
            Some(first) => Err(ScanError::TwoSizes { digest, first, second: size }),
        }
    }

    /// Keeps why a blob is no manifest, where it seems to be one.
    fn fault(&mut self, digest: Digest, fault: ManifestFault) -> Result<(), ScanError> {
        self.faults.insert(digest, fault);
        self.keep(FAULT_BYTES)
    }
}

/// Whether a blob of this size that begins so is worth reading as a manifest. What begins so is
/// enough for the answer; the same is asked again of all of it.
pub(crate) fn may_be_manifest(size: u64, beginning: &[u8]) -> bool {
    let first = beginning.iter().find(|byte| !byte.is_ascii_whitespace());
    size <= MANIFEST_BYTES && first == Some(&b'{')
}

/// The longest manifest, in bytes: as long as the server takes.
pub(crate) const MANIFEST_BYTES: u64 = 4 << 20;
/// The most digests that the manifests of one source name.
const MOST_EDGES: usize = 1_000_000;
/// What is counted for one thing that is said of a blob, in bytes.
const FAULT_BYTES: usize = 512;
