//! Commands about the history of tags, restoring and protecting them.

use serde::{Deserialize, Serialize};
use storage::{
    Digest, ImageName, NameError, Reference, RepoName, RestorePoint, StorageError, Store, Tag,
    TagChange,
};

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
        /// Whether a tag that is there stays as it is.
        only_if_gone: bool,
    },
    /// Brings back a page of the manifests of a repository that were deleted.
    RestoreManifests {
        /// The repository.
        repository: String,
        /// The time at which they were deleted at the earliest, in seconds since 1970.
        since: i64,
        /// The last one of the page before.
        after: Option<String>,
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
    /// A page of manifests was brought back.
    RestoredManifests {
        /// The repository.
        repository: String,
        /// How many are back.
        back: u64,
        /// Why others cannot come back.
        failed: Vec<String>,
        /// The last one of the page; none if no further one follows.
        last: Option<String>,
    },
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
            Self::Restore { .. } | Self::RestoreManifests { .. } => "tag restore",
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
            Self::RestoreManifests { repository, .. } => repository,
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
        TagCommand::Restore { image, to, before, only_if_gone } => {
            let to = to.as_deref().map(parse_digest).transpose()?;
            let point = match (to, before) {
                (Some(digest), _) if only_if_gone => RestorePoint::IfGone(digest),
                (Some(digest), _) => RestorePoint::Digest(digest),
                (None, Some(time)) => RestorePoint::Before(time),
                (None, None) => RestorePoint::LastChange,
            };
            restore(store, &image, point)
        }
        TagCommand::RestoreManifests { repository, since, after } => {
            let after = after.as_deref().map(parse_digest).transpose()?;
            restore_manifests(store, &repository, since, after.as_ref())
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

fn restore_manifests(
    store: &Store,
    repository: &str,
    since: i64,
    after: Option<&Digest>,
) -> Result<TagReply, CommandError> {
    let name = repository_of(store, repository)?;
    let page = store.deleted_since(&name, since, after, RESTORE_PAGE_ENTRIES)?;
    let (mut back, mut failed) = (0, Vec::new());
    for digest in &page {
        match store.restore_manifest(&name, digest) {
            Ok(manifests) => back += manifests.len() as u64,
            Err(error @ StorageError::BlobsCollected { .. }) => failed.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    let last = page.last().filter(|_| page.len() == RESTORE_PAGE_ENTRIES);
    let (repository, last) = (name.to_string(), last.map(Digest::to_string));
    Ok(TagReply::RestoredManifests { repository, back, failed, last })
}

/// The repository that a text means here, which must name no image in it.
pub(super) fn repository_of(store: &Store, text: &str) -> Result<RepoName, CommandError> {
    let image = image_of(store, text)?;
    match image.reference() {
        Some(_) => Err(CommandError::NeedsRepository(image)),
        None => Ok(image.repository().clone()),
    }
}

pub(super) fn parse_digest(text: &str) -> Result<Digest, NameError> {
    text.parse().map_err(NameError::Digest)
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

/// Manifests that one command brings back, each in a transaction of its own.
const RESTORE_PAGE_ENTRIES: usize = 100;
