//! Commands about the history of tags, restoring and protecting them.

use serde::{Deserialize, Serialize};
use storage::{Digest, ImageName, Reference, RepoName, RestorePoint, Store, Tag, TagChange};

use super::{CommandError, LIST_PAGE_ENTRIES};

/// A command about tags, as it travels.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum TagCommand {
    /// Asks for a page of changes, the newest first.
    History {
        /// A repository, or one tag of it.
        image: String,
        /// The last change of the page before.
        before: Option<i64>,
    },
    /// Lets a tag name again what it named; without more, what it named before its last change.
    Restore {
        /// The tag.
        image: String,
        /// The digest that it is to name.
        to: Option<String>,
        /// The time before which it named what it is to name, in seconds since 1970.
        before: Option<i64>,
    },
    /// Protects a tag.
    Protect {
        /// The tag.
        image: String,
    },
    /// Ends the protection of a tag.
    Unprotect {
        /// The tag.
        image: String,
    },
}

/// What a command about tags brings back.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TagReply {
    /// A page of changes; another may follow a full one.
    History(Vec<ChangeEntry>),
    /// What a restoration did.
    Restored(RestoredEntry),
    /// The tag is as it was asked for.
    Protection {
        /// The tag.
        image: String,
        /// Whether that is a change.
        is_change: bool,
    },
}

/// One change of a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeEntry {
    /// Its number, which a next page begins after.
    pub id: i64,
    /// The tag, with its repository.
    pub image: String,
    /// What it named before; none if it was not there.
    pub from: Option<String>,
    /// What it named then; none if it was removed.
    pub to: Option<String>,
    /// When, in seconds since 1970.
    pub changed_at: i64,
    /// Who did it; none for a command on the host.
    pub by: Option<String>,
}

/// What a restoration did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredEntry {
    /// The tag, with its repository.
    pub image: String,
    /// What it named; none if it was not there.
    pub from: Option<String>,
    /// What it names now; none if it is not there any more.
    pub to: Option<String>,
    /// How many deleted manifests are back.
    pub manifests: u64,
    /// Other tags that went with them and are not there now, with their repository; no more than
    /// fit on a page.
    pub also_gone: Vec<String>,
}

impl TagCommand {
    /// Its name for the log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::History { .. } => "tag history",
            Self::Restore { .. } => "tag restore",
            Self::Protect { .. } => "tag protect",
            Self::Unprotect { .. } => "tag unprotect",
        }
    }

    /// What it is about, for the log.
    pub(super) fn object(&self) -> &str {
        match self {
            Self::History { image, .. }
            | Self::Restore { image, .. }
            | Self::Protect { image }
            | Self::Unprotect { image } => image,
        }
    }

    /// Whether it goes on with what another one began.
    pub(super) fn is_further_page(&self) -> bool {
        matches!(self, Self::History { before: Some(_), .. })
    }
}

pub(super) fn execute(store: &Store, command: TagCommand) -> Result<TagReply, CommandError> {
    match command {
        TagCommand::History { image, before } => history(store, &image, before),
        TagCommand::Restore { image, to, before } => {
            let to = to.map(|to| to.parse().map_err(storage::NameError::Digest)).transpose()?;
            let point = match (to, before) {
                (Some(digest), _) => RestorePoint::Digest(digest),
                (None, Some(time)) => RestorePoint::Before(time),
                (None, None) => RestorePoint::LastChange,
            };
            restore(store, &image, point)
        }
        TagCommand::Protect { image } => {
            let (repository, tag) = tag_of(store, &image)?;
            let is_change = store.protect_tag(&repository, &tag)?;
            Ok(TagReply::Protection { image: full(&repository, &tag), is_change })
        }
        TagCommand::Unprotect { image } => {
            let (repository, tag) = tag_of(store, &image)?;
            let is_change = store.unprotect_tag(&repository, &tag)?;
            Ok(TagReply::Protection { image: full(&repository, &tag), is_change })
        }
    }
}

fn history(store: &Store, image: &str, before: Option<i64>) -> Result<TagReply, CommandError> {
    let image = image_of(store, image)?;
    let tag = match image.reference() {
        None => None,
        Some(Reference::Tag(tag)) => Some(tag),
        Some(Reference::Digest(_)) => return Err(CommandError::NeedsTag(image)),
    };
    let name = image.repository();
    let page = store.tag_history(name, tag, before, LIST_PAGE_ENTRIES)?;
    let page = page.ok_or_else(|| CommandError::NoRepository(name.clone()))?;
    let entry = |change: TagChange| ChangeEntry {
        id: change.id,
        image: full(name, &change.tag),
        from: change.before.as_ref().map(Digest::to_string),
        to: change.after.as_ref().map(Digest::to_string),
        changed_at: change.changed_at,
        by: change.changed_by.map(|by| by.to_string()),
    };
    Ok(TagReply::History(page.into_iter().map(entry).collect()))
}

fn restore(store: &Store, image: &str, point: RestorePoint) -> Result<TagReply, CommandError> {
    let (repository, tag) = tag_of(store, image)?;
    let restored = store.restore_tag(&repository, &tag, point)?;
    let gone = store.gone_tags(&repository, &restored.manifests, LIST_PAGE_ENTRIES)?;
    Ok(TagReply::Restored(RestoredEntry {
        image: full(&repository, &tag),
        from: restored.before.as_ref().map(Digest::to_string),
        to: restored.after.as_ref().map(Digest::to_string),
        manifests: restored.manifests.len() as u64,
        also_gone: gone.iter().map(|tag| full(&repository, tag)).collect(),
    }))
}

/// The image that a text means here: a first component that could be a host is one unless a
/// repository is called so.
pub(super) fn image_of(store: &Store, text: &str) -> Result<ImageName, CommandError> {
    let (whole, shorter) = ImageName::read(text)?;
    match shorter {
        Some(shorter)
            if !store.repository_exists(whole.repository())?
                && store.repository_exists(shorter.repository())? =>
        {
            Ok(shorter)
        }
        _ => Ok(whole),
    }
}

fn tag_of(store: &Store, text: &str) -> Result<(RepoName, Tag), CommandError> {
    let image = image_of(store, text)?;
    match image.reference() {
        Some(Reference::Tag(tag)) => Ok((image.repository().clone(), tag.clone())),
        _ => Err(CommandError::NeedsTag(image)),
    }
}

/// A tag with its repository.
pub(super) fn full(repository: &RepoName, tag: &Tag) -> String {
    format!("{repository}:{tag}")
}
