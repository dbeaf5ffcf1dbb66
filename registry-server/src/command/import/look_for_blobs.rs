//! Finding out what an import has to read.

use oci::Digest;
use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandError, Context};

/// Asks which of these blobs the registry does not have.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookForBlobs {
    /// The blobs.
    pub digests: Vec<Digest>,
}

impl Command for LookForBlobs {
    /// Those that it does not have, or has lost.
    type Reply = Vec<Digest>;

    const NAME: &'static str = "import-look-for-blobs";

    fn words(&self) -> &'static str {
        "import"
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<Vec<Digest>, CommandError> {
        Ok(context.store.lacking_blobs(&self.digests)?)
    }
}
