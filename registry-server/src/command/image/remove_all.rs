//! Removing everything in a repository.

use oci::{PastedImage, RepoName};
use serde::{Deserialize, Serialize};

use crate::command::names::repository_of;
use crate::command::{Command, CommandError, Context};

/// Asks what a repository holds that is to be removed as a whole.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRemovalOfAll {
    /// The repository.
    pub repository: PastedImage,
}

/// What a repository holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryCounts {
    /// The repository, as it was understood.
    pub repository: RepoName,
    /// Its tags.
    pub tags: u64,
    /// Its manifests.
    pub manifests: u64,
}

/// Removes some tags or manifests of a repository.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveSome {
    /// The repository.
    pub repository: RepoName,
}

/// What a step removed; nothing if there was nothing left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedSome {
    /// Tags.
    pub tags: u64,
    /// Manifests.
    pub manifests: u64,
}

impl Command for PlanRemovalOfAll {
    type Reply = RepositoryCounts;

    const NAME: &'static str = "image-plan-all";

    fn words(&self) -> &'static str {
        "rm --dry-run"
    }

    fn subject(&self) -> Option<String> {
        Some(self.repository.to_string())
    }

    fn run(self, context: &mut Context<'_>) -> Result<RepositoryCounts, CommandError> {
        let repository = repository_of(context.store, &self.repository)?;
        let counts = context.store.plan_removal_of_all(&repository)?;
        let (tags, manifests) =
            counts.ok_or_else(|| CommandError::NoRepository(repository.clone()))?;
        Ok(RepositoryCounts { repository, tags, manifests })
    }
}

impl Command for RemoveSome {
    type Reply = RemovedSome;

    const NAME: &'static str = "image-remove-some";

    fn words(&self) -> &'static str {
        "rm"
    }

    fn subject(&self) -> Option<String> {
        Some(self.repository.to_string())
    }

    fn run(self, context: &mut Context<'_>) -> Result<RemovedSome, CommandError> {
        let step = context.store.remove_some(&self.repository, context.by.as_ref())?;
        Ok(RemovedSome { tags: step.tags, manifests: step.manifests })
    }
}
