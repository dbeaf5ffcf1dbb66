//! Listing the manifests of a repository, tagged or not.

use oci::{Digest, RepoName};
use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandError, Context, PAGE_ENTRIES, Page};

/// Asks for a page of the manifests of a repository, in the order of their digests.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListManifests {
    /// The repository.
    pub repository: RepoName,
    /// Where the page begins; none for the first one.
    pub after: Option<Digest>,
}

impl Command for ListManifests {
    type Reply = Page<Digest, Digest>;

    const NAME: &'static str = "image-manifests";

    fn words(&self) -> &'static str {
        "export"
    }

    fn subject(&self) -> Option<String> {
        Some(self.repository.to_string())
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<Self::Reply, CommandError> {
        let Self { repository, after } = self;
        let page = context.store.manifests_in(&repository, after.as_ref(), PAGE_ENTRIES)?;
        Ok(Page::of(page, PAGE_ENTRIES, |last| *last))
    }
}
