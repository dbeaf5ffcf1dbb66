//! Listing blobs, for a receipt.

use oci::{Algorithm, Digest};
use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandError, Context};

/// Asks for the blobs whose digests begin so, as far as a repository holds them and they are not
/// lost. The first byte of a digest makes 256 pages of them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListBlobs {
    /// Whether their digests are of SHA-512, and else of SHA-256.
    pub is_sha512: bool,
    /// The first byte.
    pub first_byte: u8,
}

impl Command for ListBlobs {
    type Reply = Vec<Digest>;

    const NAME: &'static str = "blobs";

    fn words(&self) -> &'static str {
        "receipt"
    }

    fn is_continued(&self) -> bool {
        self.is_sha512 || self.first_byte > 0
    }

    fn run(self, context: &mut Context<'_>) -> Result<Vec<Digest>, CommandError> {
        let algorithm = if self.is_sha512 { Algorithm::Sha512 } else { Algorithm::Sha256 };
        Ok(context.store.whole_blobs(algorithm, self.first_byte)?)
    }
}
