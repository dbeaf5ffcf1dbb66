//! Removing all images for whose tags a pattern stands.

use oci::{PastedPattern, Tag};
use serde::{Deserialize, Serialize};

use super::{RemovedImage, tags_of};
use crate::command::{Command, CommandError, Context};

/// Asks what goes with all tags for which a pattern stands. That some are protected, or none is
/// there, is found before the first one goes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRemovalOfMatching {
    /// The tags.
    pub tags: PastedPattern,
}

/// Removes some of these tags, and what goes with them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveMatching {
    /// The tags.
    pub tags: PastedPattern,
    /// The last tag of the part before.
    pub after: Option<Tag>,
}

/// What a step removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedMatching {
    /// Tags.
    pub tags: u64,
    /// Manifests.
    pub manifests: u64,
    /// The tag after which to go on, if there may be more.
    pub next: Option<Tag>,
}

impl Command for PlanRemovalOfMatching {
    type Reply = RemovedImage;

    const NAME: &'static str = "image-plan-matching";
    const IS_LONG: bool = true;

    fn words(&self) -> &'static str {
        "rm --dry-run"
    }

    fn subject(&self) -> Option<String> {
        Some(self.tags.to_string())
    }

    fn run(self, context: &mut Context<'_>) -> Result<RemovedImage, CommandError> {
        let store = context.store;
        let (name, pattern) = tags_of(store, &self.tags)?;
        if !store.repository_exists(&name)? {
            return Err(CommandError::NoRepository(name));
        }
        let removal = store.plan_removal_of_tags(&name, pattern)?;
        if removal.tags.is_empty() {
            let pattern = pattern.clone();
            return Err(CommandError::NothingMatches { repository: name, pattern });
        }
        let space = store.space_of(&name, &removal.manifests)?;
        Ok(RemovedImage::planned(format!("{name}:{pattern}"), &name, &removal, space))
    }
}

impl Command for RemoveMatching {
    type Reply = RemovedMatching;

    const NAME: &'static str = "image-remove-matching";

    fn words(&self) -> &'static str {
        "rm"
    }

    fn subject(&self) -> Option<String> {
        Some(self.tags.to_string())
    }

    fn run(self, context: &mut Context<'_>) -> Result<RemovedMatching, CommandError> {
        let (name, pattern) = tags_of(context.store, &self.tags)?;
        let (after, by) = (self.after.as_ref(), context.by.as_ref());
        let (step, next) = context.store.remove_tags(&name, pattern, after, by)?;
        Ok(RemovedMatching { tags: step.tags, manifests: step.manifests, next })
    }
}
