//! Publishing what an import has read.

use oci::{Digest, RepoName};
use serde::{Deserialize, Serialize};
use storage::UploadId;

use crate::command::{Command, CommandError, Context};

/// Makes what an import has read and synced blobs of a repository.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishBlobs {
    /// The import's directory.
    pub staging: UploadId,
    /// The repository.
    pub repository: RepoName,
    /// The blobs.
    pub digests: Vec<Digest>,
}

impl Command for PublishBlobs {
    type Reply = ();

    const NAME: &'static str = "import-publish-blobs";

    fn words(&self) -> &'static str {
        "import"
    }

    fn subject(&self) -> Option<String> {
        Some(self.repository.to_string())
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<(), CommandError> {
        Ok(context.store.publish_staged(self.staging, &self.repository, &self.digests)?)
    }
}
