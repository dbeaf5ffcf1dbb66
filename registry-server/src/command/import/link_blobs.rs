//! Giving repositories blobs that the registry has.

use oci::Digest;
use serde::{Deserialize, Serialize};
use storage::RepositoryBlobs;

use crate::command::{Command, CommandError, Context};

/// Gives each repository those of its blobs that the registry has.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkBlobs {
    /// The blobs of each repository.
    pub blobs: Vec<RepositoryBlobs>,
}

impl Command for LinkBlobs {
    /// The others of each.
    type Reply = Vec<Vec<Digest>>;

    const NAME: &'static str = "import-link-blobs";

    fn words(&self) -> &'static str {
        "import"
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<Self::Reply, CommandError> {
        Ok(context.store.link_blobs(&self.blobs)?)
    }
}
