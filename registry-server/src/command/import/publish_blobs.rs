//! Publishing what an import has read.

use serde::{Deserialize, Serialize};
use storage::{RepositoryBlobs, UploadId};

use crate::command::{Command, CommandError, Context};

/// Makes what an import has read and synced blobs of repositories.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishBlobs {
    /// The import's directory.
    pub staging: UploadId,
    /// The blobs of each repository.
    pub blobs: Vec<RepositoryBlobs>,
}

impl Command for PublishBlobs {
    type Reply = ();

    const NAME: &'static str = "import-publish-blobs";

    fn words(&self) -> &'static str {
        "import"
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<(), CommandError> {
        Ok(context.store.publish_staged(self.staging, &self.blobs)?)
    }
}
