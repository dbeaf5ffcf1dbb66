//! What a bundle consists of, and what its files are called.

use oci::{Algorithm, Digest};

/// A blob, and how many bytes it has. Manifests are blobs in a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

/// Where a blob stands in a layout.
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("{}/{}", blob_directory(digest.algorithm()), digest.hex())
}

/// Where the blobs of one algorithm stand.
pub(super) fn blob_directory(algorithm: Algorithm) -> String {
    format!("{BLOBS}/{algorithm}")
}

/// Where all blobs stand.
pub(super) const BLOBS: &str = "blobs";
/// The document of a bundle.
pub const DOCUMENT: &str = "registry-bundle.json";
/// Its signature: 64 bytes.
pub const SIGNATURE: &str = "registry-bundle.sig";
/// What people read.
pub const CONTENTS: &str = "CONTENTS.txt";
/// What says that a directory is an image layout.
pub const LAYOUT: &str = "oci-layout";
/// What names the images of a layout.
pub const INDEX: &str = "index.json";
/// The bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;
/// The most volumes of a bundle: their numbers have three digits.
pub(super) const MAX_VOLUMES: usize = 999;
