//! What an import did, or would do.

use std::collections::BTreeSet;

use archive::bundle::{BundleNumber, RegistryId};
use oci::{Digest, ImageName};
use serde::Serialize;
use storage::ImportNumber;

/// What an import did, or in a dry run would do.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ImportReport {
    /// Its number; none of a dry run.
    pub(crate) import: Option<ImportNumber>,
    pub(crate) is_dry_run: bool,
    /// What the sources are that a registry exported.
    pub(crate) bundles: Vec<TakenVolume>,
    /// Images that are there now.
    pub(crate) images: u64,
    /// Their manifests.
    #[serde(skip)]
    pub(crate) brought: BTreeSet<Digest>,
    /// Blobs that were read, or would be.
    pub(crate) read_blobs: u64,
    pub(crate) read_bytes: u64,
    /// Those of them that share their blocks with the source.
    pub(crate) cloned_bytes: u64,
    /// Blobs of these images that the registry had already.
    pub(crate) present_blobs: u64,
    pub(crate) present_bytes: u64,
    /// Tags that name something else than before, or were not there.
    pub(crate) moved: Vec<TagMove>,
    /// Tags that are protected and stay what they were.
    pub(crate) protected: Vec<ImageName>,
    /// What images need and neither the sources nor the registry have.
    pub(crate) missing: Vec<MissingPart>,
    /// The receipts by which bundles leave out what is missing.
    pub(crate) bases: Vec<MissingBase>,
    /// What the sources name and the registry does not have now.
    pub(crate) left: Vec<LeftImage>,
    /// What is wrong with the sources, though they could be read.
    pub(crate) damage: Vec<String>,
    /// What else is to be said.
    pub(crate) remarks: Vec<String>,
    pub(crate) seconds: u64,
}

/// A volume of a bundle that a registry exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct TakenVolume {
    /// The source, as it was typed.
    pub(crate) source: String,
    /// The number of the bundle.
    pub(crate) bundle: BundleNumber,
    /// The registry that wrote it.
    pub(crate) registry: RegistryId,
    /// When, in seconds since 1970.
    pub(crate) made: i64,
    /// Which volume it is, counted from 1.
    pub(crate) volume: u32,
    /// How many there are.
    pub(crate) volumes: u32,
    /// The key that it is signed with; none if nobody signed it.
    pub(crate) key: Option<String>,
}

/// A tag that an import moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct TagMove {
    pub(crate) image: ImageName,
    /// What it named before; none if it was not there.
    pub(crate) from: Option<Digest>,
    pub(crate) to: Digest,
}

/// Something that images lack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct MissingPart {
    pub(crate) digest: Digest,
    /// Why it is not to be had.
    pub(crate) why: String,
    /// Whether it is neither in the sources nor in the registry; else it is there and no good.
    pub(crate) is_nowhere: bool,
    /// The images that it hurts.
    pub(crate) images: Vec<ImageName>,
}

/// A receipt by which a bundle leaves out what is missing here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct MissingBase {
    /// The bundle.
    pub(crate) bundle: BundleNumber,
    /// The registry that wrote it.
    pub(crate) written_by: RegistryId,
    /// The sum of the receipt.
    pub(crate) receipt: Digest,
    /// The registry that had by then what is missing here.
    pub(crate) receipt_of: RegistryId,
    /// When it wrote the receipt, in seconds since 1970.
    pub(crate) made: i64,
    /// The registry that imports.
    pub(crate) this_registry: RegistryId,
    /// The images that lack something, as the bundle calls them.
    pub(crate) images: Vec<String>,
}

/// An image that was not imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LeftImage {
    /// What it is called.
    pub(crate) image: String,
    /// Why it was left.
    pub(crate) why: String,
}

impl ImportReport {
    /// Whether all is there that was asked for.
    pub(crate) fn is_whole(&self) -> bool {
        self.missing.is_empty()
            && self.left.is_empty()
            && self.protected.is_empty()
            && self.damage.is_empty()
    }
}
