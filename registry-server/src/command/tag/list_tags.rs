//! Listing the tags of a repository.

use std::collections::HashSet;

use oci::{Digest, RepoName, Tag};
use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandError, Context, PAGE_ENTRIES, Page};

/// Asks for a page of the tags of a repository, in ASCII order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListTags {
    /// The repository.
    pub repository: RepoName,
    /// Where the page begins; none for the first one.
    pub after: Option<Tag>,
    /// Whether it belongs to something larger that was asked for before.
    #[serde(default)]
    pub is_part: bool,
}

/// One tag, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagEntry {
    /// The tag.
    pub tag: Tag,
    /// The digest of the manifest it names.
    pub digest: Digest,
    /// Whether it may be neither moved nor deleted.
    pub protected: bool,
}

impl Command for ListTags {
    type Reply = Page<TagEntry, Tag>;

    const NAME: &'static str = "tag-list";

    fn words(&self) -> &'static str {
        "ls"
    }

    fn subject(&self) -> Option<String> {
        Some(self.repository.to_string())
    }

    fn is_continued(&self) -> bool {
        self.after.is_some() || self.is_part
    }

    fn run(self, context: &mut Context<'_>) -> Result<Self::Reply, CommandError> {
        let (store, name) = (context.store, self.repository);
        let after = self.after.as_ref().map(Tag::as_str);
        let page = store.tags(&name, after, PAGE_ENTRIES)?;
        let page = page.ok_or_else(|| CommandError::NoRepository(name.clone()))?;
        let protected = match (page.first(), page.last()) {
            (Some((first, _)), Some((last, _))) => store.protected_tags(&name, first, last)?,
            _ => HashSet::new(),
        };
        let entry = |(tag, digest): (Tag, Digest)| {
            let protected = protected.contains(&tag);
            TagEntry { tag, digest, protected }
        };
        Ok(Page::of(page.into_iter().map(entry).collect(), PAGE_ENTRIES, |last| last.tag.clone()))
    }
}
