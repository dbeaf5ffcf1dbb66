//! Finding out which tags an import would move.

use oci::{Digest, RepoName, Tag};
use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandError, Context};

/// Asks what these tags of a repository name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookAtTags {
    /// The repository.
    pub repository: RepoName,
    /// The tags.
    pub tags: Vec<Tag>,
}

impl Command for LookAtTags {
    /// What each of them names; none if it is not there.
    type Reply = Vec<Option<Digest>>;

    const NAME: &'static str = "import-look-at-tags";

    fn words(&self) -> &'static str {
        "import"
    }

    fn subject(&self) -> Option<String> {
        Some(self.repository.to_string())
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<Self::Reply, CommandError> {
        Ok(context.store.named_by_tags(&self.repository, &self.tags)?)
    }
}
