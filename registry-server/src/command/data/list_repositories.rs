//! Listing repositories.

use oci::RepoName;
use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandError, Context, PAGE_ENTRIES, Page};

/// Asks for a page of the repositories that hold a manifest, in ASCII order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListRepositories {
    /// Where the page begins; none for the first one.
    pub after: Option<RepoName>,
}

impl Command for ListRepositories {
    type Reply = Page<RepoName, RepoName>;

    const NAME: &'static str = "repositories";

    fn words(&self) -> &'static str {
        "ls"
    }

    fn is_continued(&self) -> bool {
        self.after.is_some()
    }

    fn run(self, context: &mut Context<'_>) -> Result<Self::Reply, CommandError> {
        let after = self.after.as_ref().map(RepoName::as_str);
        Ok(Page::of(
            context.store.repositories(after, PAGE_ENTRIES)?,
            PAGE_ENTRIES,
            RepoName::clone,
        ))
    }
}
