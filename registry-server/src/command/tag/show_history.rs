//! What tags named.

use oci::{Digest, ImageName, PastedImage, Reference};
use serde::{Deserialize, Serialize};
use storage::{Actor, ImportNumber, TagChange};

use crate::command::names::{image_of, named};
use crate::command::{Command, CommandError, Context, PAGE_ENTRIES, Page};

/// Asks for a page of changes, the newest first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowHistory {
    /// A repository, or one tag of it.
    pub image: PastedImage,
    /// Where the page begins; none for the newest.
    pub before: Option<i64>,
}

/// One change of a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its number, which a next page begins after.
    pub id: i64,
    /// The tag, with its repository.
    pub image: ImageName,
    /// What it named before; none if it was not there.
    pub from: Option<Digest>,
    /// What it named then; none if it was removed.
    pub to: Option<Digest>,
    /// When, in seconds since 1970.
    pub changed_at: i64,
    /// Who did it; none for a command on the host that did not say whose it is.
    pub by: Option<Actor>,
    /// The import that it was a part of.
    #[serde(default)]
    pub import: Option<ImportNumber>,
}

impl Command for ShowHistory {
    type Reply = Page<Change, i64>;

    const NAME: &'static str = "tag-history";

    fn words(&self) -> &'static str {
        "tag history"
    }

    fn subject(&self) -> Option<String> {
        Some(self.image.to_string())
    }

    fn is_continued(&self) -> bool {
        self.before.is_some()
    }

    fn run(self, context: &mut Context<'_>) -> Result<Self::Reply, CommandError> {
        let image = image_of(context.store, &self.image)?;
        let tag = match image.reference() {
            None => None,
            Some(Reference::Tag(tag)) => Some(tag),
            Some(Reference::Digest(_)) => return Err(CommandError::NeedsTag(image)),
        };
        let name = image.repository();
        let page = context.store.tag_history(name, tag, self.before, PAGE_ENTRIES)?;
        let page = page.ok_or_else(|| CommandError::NoRepository(name.clone()))?;
        let change = |change: TagChange| Change {
            id: change.id,
            image: named(name, &change.tag),
            from: change.before,
            to: change.after,
            changed_at: change.changed_at,
            by: change.changed_by,
            import: change.import,
        };
        Ok(Page::of(page.into_iter().map(change).collect(), PAGE_ENTRIES, |last| last.id))
    }
}
