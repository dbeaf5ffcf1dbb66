//! Giving a repository blobs that the registry has.

use oci::{Digest, RepoName};
use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandError, Context};

/// Gives a repository those of these blobs that the registry has.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkBlobs {
    /// The repository.
    pub repository: RepoName,
    /// The blobs.
    pub digests: Vec<Digest>,
}

impl Command for LinkBlobs {
    /// The others.
    type Reply = Vec<Digest>;

    const NAME: &'static str = "import-link-blobs";

    fn words(&self) -> &'static str {
        "import"
    }

    fn subject(&self) -> Option<String> {
        Some(self.repository.to_string())
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<Vec<Digest>, CommandError> {
        Ok(context.store.link_blobs(&self.repository, &self.digests)?)
    }
}
