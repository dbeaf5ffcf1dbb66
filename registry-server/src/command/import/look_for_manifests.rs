//! Finding out what an import needs not bring.

use oci::{Digest, RepoName};
use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandError, Context};

/// Asks which of these manifests a repository does not hold.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookForManifests {
    /// The repository.
    pub repository: RepoName,
    /// The manifests.
    pub digests: Vec<Digest>,
}

impl Command for LookForManifests {
    /// Those that it does not hold, or has lost.
    type Reply = Vec<Digest>;

    const NAME: &'static str = "import-look-for-manifests";

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
        Ok(context.store.lacking_manifests(&self.repository, &self.digests)?)
    }
}
