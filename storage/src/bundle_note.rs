//! What is remembered of bundles that cross an air gap: those that this registry wrote, and those
//! that it took. Their numbers, and what tells registries apart, are texts that the store compares
//! and reads nothing in: whoever notes them has parsed them.

use oci::Digest;
use serde::{Deserialize, Serialize};

/// A volume of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleVolume {
    /// The number of the bundle.
    pub bundle: String,
    /// The sum over the blobs of all its volumes.
    pub checksum: Digest,
    /// The registry that wrote it.
    pub registry: String,
    /// When, in seconds since 1970, as that registry says.
    pub made: i64,
    /// Which volume this is, counted from 1.
    pub volume: u32,
    /// How many there are.
    pub volumes: u32,
}

/// A bundle all of whose volumes are remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBundle {
    /// Its number.
    pub bundle: String,
    /// The sum over the blobs of all its volumes.
    pub checksum: Digest,
    /// The registry that wrote it.
    pub registry: String,
    /// When, in seconds since 1970, as that registry says.
    pub made: i64,
    /// Where the digests of each volume are noted.
    pub volumes: Vec<VolumeNote>,
    /// How many these are.
    pub digests: u64,
}

/// Where the digests of a volume are noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VolumeNote(i64);

impl VolumeNote {
    /// The note whose row has this number.
    pub(crate) fn of_row(row: i64) -> Self {
        Self(row)
    }

    /// The number of its row.
    pub(crate) fn row(self) -> i64 {
        self.0
    }
}
