//! Listing the bundles that are remembered.

use archive::bundle::{BundleNumber, RegistryId};
use oci::Digest;
use serde::{Deserialize, Serialize};
use storage::{KnownBundle, VolumeNote};

use crate::command::{Command, CommandError, Context};

/// Asks for the bundles all of whose volumes are remembered, the newest first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListBundles {
    /// Those that were taken, and else those that were written here.
    pub is_taken: bool,
}

/// A bundle that is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundBundle {
    /// Its number.
    pub bundle: BundleNumber,
    /// The sum over the blobs of all its volumes.
    pub checksum: Digest,
    /// The registry that wrote it.
    pub registry: RegistryId,
    /// When, in seconds since 1970.
    pub made: i64,
    /// What [`super::ReadNote`] reads the digests of each volume from.
    pub notes: Vec<VolumeNote>,
    /// How many digests these are.
    pub digests: u64,
}

impl Command for ListBundles {
    type Reply = Vec<FoundBundle>;

    const NAME: &'static str = "bundles";

    fn words(&self) -> &'static str {
        if self.is_taken { "receipt" } else { "export" }
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<Vec<FoundBundle>, CommandError> {
        let known = context.store.known_bundles(self.is_taken)?;
        // What cannot be read was not written by this program, and is as good as forgotten.
        Ok(known.into_iter().filter_map(found).collect())
    }
}

fn found(known: KnownBundle) -> Option<FoundBundle> {
    let KnownBundle { bundle, checksum, registry, made, volumes, digests } = known;
    let (bundle, registry) = (bundle.parse().ok()?, registry.parse().ok()?);
    Some(FoundBundle { bundle, checksum, registry, made, notes: volumes, digests })
}
