//! Letting a tag name again what it named.

use oci::{Digest, ImageName, PastedImage};
use serde::{Deserialize, Serialize};
use storage::RestorePoint;

use crate::command::names::{named, tag_of};
use crate::command::{Command, CommandError, Context, PAGE_ENTRIES};

/// Lets a tag name again what it named; without more, what it named before its last change.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreTag {
    /// The tag.
    pub image: PastedImage,
    /// The digest that it is to name.
    pub to: Option<Digest>,
    /// The time before which it named what it is to name, in seconds since 1970.
    pub before: Option<i64>,
    /// Whether a tag that is there stays as it is.
    pub only_if_gone: bool,
}

/// What a restoration did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredTag {
    /// The tag, with its repository.
    pub image: ImageName,
    /// What it named; none if it was not there.
    pub from: Option<Digest>,
    /// What it names now; none if it is not there any more.
    pub to: Option<Digest>,
    /// How many deleted manifests are back.
    pub manifests: u64,
    /// Other tags that went with them and are not there now, with their repository; no more than
    /// fit on a page.
    pub also_gone: Vec<ImageName>,
}

impl Command for RestoreTag {
    type Reply = RestoredTag;

    const NAME: &'static str = "tag-restore";

    fn words(&self) -> &'static str {
        "tag restore"
    }

    fn subject(&self) -> Option<String> {
        Some(self.image.to_string())
    }

    fn run(self, context: &mut Context<'_>) -> Result<RestoredTag, CommandError> {
        let point = match (self.to, self.before) {
            (Some(digest), _) if self.only_if_gone => RestorePoint::IfGone(digest),
            (Some(digest), _) => RestorePoint::Digest(digest),
            (None, Some(time)) => RestorePoint::Before(time),
            (None, None) => RestorePoint::LastChange,
        };
        let store = context.store;
        let (repository, tag) = tag_of(store, &self.image)?;
        let restored = store.restore_tag(&repository, &tag, point, context.by.as_ref())?;
        let gone = store.gone_tags(&repository, &restored.manifests, PAGE_ENTRIES)?;
        Ok(RestoredTag {
            image: named(&repository, &tag),
            from: restored.before,
            to: restored.after,
            manifests: restored.manifests.len() as u64,
            also_gone: gone.iter().map(|tag| named(&repository, tag)).collect(),
        })
    }
}
