//! Commands about whole images: looking at one, page by page, and removing it.

use serde::{Deserialize, Serialize};
use storage::{
    Digest, ImagePart, Keeper, ManifestInfo, PageSize, PartState, Platform, Reference, Removal,
    RepoName, Space, Store, TagPattern,
};

use super::tag::{full, image_of, parse_digest, repository_of};
use super::{CommandError, LIST_PAGE_ENTRIES};

/// A command about images, as it travels.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum ImageCommand {
    /// Asks for a manifest.
    Manifest {
        /// A tag or a digest.
        image: String,
        /// Whether it belongs to an image that was asked for before.
        is_part: bool,
    },
    /// Asks for a page of what a manifest names.
    Parts {
        /// The repository.
        repository: String,
        /// The manifest.
        digest: String,
        /// How many came before.
        skip: usize,
    },
    /// Asks for a page of the manifests that refer to one.
    Referrers {
        /// The repository.
        repository: String,
        /// The manifest.
        digest: String,
        /// The last one of the page before.
        after: Option<String>,
    },
    /// Removes an image, or says what that would remove.
    Remove {
        /// A tag or a digest.
        image: String,
        /// Whether to change nothing.
        dry_run: bool,
    },
    /// Asks what a repository holds that is to be removed as a whole.
    PlanAll {
        /// The repository.
        repository: String,
    },
    /// Asks for a part of the blobs that no other repository holds.
    SpaceOfAll {
        /// The repository.
        repository: String,
        /// The last blob of the part before.
        after: Option<String>,
    },
    /// Asks what goes with all tags for which a pattern stands.
    PlanMatching {
        /// `REPOSITORY:PATTERN`.
        image: String,
    },
    /// Removes some of these tags, and what goes with them.
    RemoveMatching {
        /// `REPOSITORY:PATTERN`.
        image: String,
        /// The last tag of the part before.
        after: Option<String>,
    },
    /// Removes some tags or manifests of a repository.
    RemoveSome {
        /// The repository.
        repository: String,
    },
}

/// What a command about images brings back.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageReply {
    /// A manifest; none if it is gone.
    Manifest(Option<Box<ManifestEntry>>),
    /// A page of what a manifest names; another may follow a full one.
    Parts(Vec<PartEntry>),
    /// A page of referrers.
    Referrers {
        /// The referrers.
        entries: Vec<ReferrerEntry>,
        /// Whether there are more.
        has_more: bool,
    },
    /// What a removal took, or would take.
    Removed(Box<RemovedEntry>),
    /// What a repository holds.
    All(AllEntry),
    /// Blobs in numbers.
    Space {
        /// How many.
        blobs: u64,
        /// Their bytes.
        bytes: u64,
        /// The last one, if more may follow.
        last: Option<String>,
    },
    /// What a step removed; nothing if there was nothing left.
    Step {
        /// Tags.
        tags: u64,
        /// Manifests.
        manifests: u64,
    },
    /// What a step removed of the tags for which a pattern stands.
    MatchingStep {
        /// Tags.
        tags: u64,
        /// Manifests.
        manifests: u64,
        /// The tag after which to go on, if there may be more.
        last: Option<String>,
    },
}

/// A manifest as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// The repository.
    pub repository: String,
    /// The digest.
    pub digest: String,
    /// The media type.
    pub media_type: String,
    /// The bytes of the manifest itself.
    pub size: u64,
    /// When it was pushed last, in seconds since 1970.
    pub pushed_at: i64,
    /// Whether its bytes are gone or wrong.
    pub is_lost: bool,
    /// Tags that name it; no more than fit on a page.
    pub tags: Vec<String>,
    /// Tags under which cosign keeps what belongs to it.
    pub signatures: Vec<String>,
}

/// One thing that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartEntry {
    /// What the manifest names it as: config, layer, blob, foreign-layer, child or subject.
    pub kind: String,
    /// The digest.
    pub digest: String,
    /// The media type that the manifest says.
    pub media_type: String,
    /// The bytes that the manifest says.
    pub size: u64,
    /// The bytes that it has, if it is there.
    #[serde(default)]
    pub stored_size: Option<u64>,
    /// The platform that the manifest says, if any: the following three with slashes between them.
    pub platform: Option<String>,
    /// The operating system of the platform.
    #[serde(default)]
    pub os: Option<String>,
    /// The architecture of the platform.
    #[serde(default)]
    pub architecture: Option<String>,
    /// The variant of the platform.
    #[serde(default)]
    pub variant: Option<String>,
    /// Whether it is there: present, absent, foreign or lost.
    pub state: String,
    /// Whether it is a manifest. A child that is a blob is a part of a build cache.
    pub is_manifest: bool,
}

/// One manifest that refers to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferrerEntry {
    /// The digest.
    pub digest: String,
    /// What it is.
    pub artifact_type: Option<String>,
    /// The bytes of the manifest.
    pub size: u64,
}

/// What a removal took. Lists hold no more than fits on a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedEntry {
    /// The image, as it was understood.
    pub image: String,
    /// The repository.
    pub repository: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The tags, with their repository.
    pub tags: Vec<String>,
    /// How many tags that are in all.
    pub tag_count: u64,
    /// The manifests.
    pub manifests: Vec<String>,
    /// How many manifests that are in all.
    pub manifest_count: u64,
    /// Blobs that nothing else holds.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// What keeps the manifest that the tag named, if something does.
    pub kept_by: Option<String>,
    /// Indexes that list a manifest that went, and stay.
    pub sparse: Vec<String>,
}

/// What a repository holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllEntry {
    /// The repository, as it was understood.
    pub repository: String,
    /// Its tags.
    pub tags: u64,
    /// Its manifests.
    pub manifests: u64,
}

impl ImageCommand {
    /// Its name for the log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Manifest { .. } | Self::Parts { .. } | Self::Referrers { .. } => "inspect",
            Self::Remove { dry_run: false, .. }
            | Self::RemoveMatching { .. }
            | Self::RemoveSome { .. } => "rm",
            Self::Remove { .. }
            | Self::PlanMatching { .. }
            | Self::PlanAll { .. }
            | Self::SpaceOfAll { .. } => "rm --dry-run",
        }
    }

    /// What it is about, for the log.
    pub(super) fn object(&self) -> &str {
        match self {
            Self::Manifest { image, .. }
            | Self::Remove { image, .. }
            | Self::PlanMatching { image }
            | Self::RemoveMatching { image, .. } => image,
            Self::Parts { repository, .. }
            | Self::Referrers { repository, .. }
            | Self::PlanAll { repository }
            | Self::SpaceOfAll { repository, .. }
            | Self::RemoveSome { repository } => repository,
        }
    }

    /// Whether it goes on with what another one began. Whatever removes something is no such.
    pub(super) fn is_further_page(&self) -> bool {
        match self {
            Self::Manifest { is_part, .. } => *is_part,
            Self::Parts { .. } | Self::Referrers { .. } | Self::SpaceOfAll { .. } => true,
            Self::Remove { .. }
            | Self::PlanMatching { .. }
            | Self::RemoveMatching { .. }
            | Self::PlanAll { .. }
            | Self::RemoveSome { .. } => false,
        }
    }

    /// Whether it may take longer than a client's request.
    pub(super) fn is_long(&self) -> bool {
        matches!(self, Self::PlanMatching { .. })
    }
}

pub(super) fn execute(store: &Store, command: ImageCommand) -> Result<ImageReply, CommandError> {
    match command {
        ImageCommand::Manifest { image, .. } => manifest(store, &image),
        ImageCommand::Parts { repository, digest, skip } => {
            let (name, digest) = (repository.parse()?, parse_digest(&digest)?);
            let parts = store.image_parts(&name, &digest, skip, LIST_PAGE_ENTRIES)?;
            // A manifest that was deleted since has no parts any more.
            Ok(ImageReply::Parts(parts.unwrap_or_default().into_iter().map(part).collect()))
        }
        ImageCommand::Referrers { repository, digest, after } => {
            referrers(store, &repository, &digest, after.as_deref())
        }
        ImageCommand::Remove { image, dry_run } => remove(store, &image, dry_run),
        ImageCommand::PlanMatching { image } => plan_matching(store, &image),
        ImageCommand::RemoveMatching { image, after } => {
            let (name, pattern) = pattern_of(store, &image)?;
            let after = after.as_deref().map(str::parse).transpose()?;
            let (step, last) = store.remove_tags(&name, &pattern, after.as_ref())?;
            let last = last.as_ref().map(storage::Tag::to_string);
            Ok(ImageReply::MatchingStep { tags: step.tags, manifests: step.manifests, last })
        }
        ImageCommand::PlanAll { repository } => plan_all(store, &repository),
        ImageCommand::SpaceOfAll { repository, after } => {
            let after = after.as_deref().map(parse_digest).transpose()?;
            let (space, last) = store.space_in(&repository.parse()?, after.as_ref())?;
            let last = last.as_ref().map(Digest::to_string);
            Ok(ImageReply::Space { blobs: space.blobs, bytes: space.bytes, last })
        }
        ImageCommand::RemoveSome { repository } => {
            let step = store.remove_some(&repository.parse()?)?;
            Ok(ImageReply::Step { tags: step.tags, manifests: step.manifests })
        }
    }
}

fn manifest(store: &Store, image: &str) -> Result<ImageReply, CommandError> {
    let image = image_of(store, image)?;
    let name = image.repository();
    let reference = image.reference();
    let reference = reference.ok_or_else(|| CommandError::NeedsImage(name.clone()))?;
    let info = store.manifest_info(name, reference, LIST_PAGE_ENTRIES)?;
    let entry = |info: ManifestInfo| ManifestEntry {
        repository: name.to_string(),
        digest: info.digest.to_string(),
        media_type: info.media_type,
        size: info.size,
        pushed_at: info.pushed_at,
        is_lost: info.is_lost,
        tags: info.tags.iter().map(|tag| full(name, tag)).collect(),
        signatures: info.signatures.iter().map(|(tag, _)| full(name, tag)).collect(),
    };
    Ok(ImageReply::Manifest(info.map(entry).map(Box::new)))
}

fn part(part: ImagePart) -> PartEntry {
    let state = match part.state {
        PartState::Present => "present",
        PartState::Absent => "absent",
        PartState::Foreign => "foreign",
        PartState::Lost => "lost",
    };
    let platform = part.descriptor.platform;
    let Platform { os, architecture, variant } = platform.clone().unwrap_or_default();
    let joined = |it: Platform| {
        let parts = [it.os, it.architecture, it.variant];
        parts.into_iter().flatten().collect::<Vec<_>>().join("/")
    };
    PartEntry {
        kind: part.descriptor.kind.as_str().to_owned(),
        digest: part.descriptor.digest.to_string(),
        media_type: part.descriptor.media_type,
        size: part.descriptor.size,
        stored_size: part.stored_size,
        platform: platform.map(joined),
        os,
        architecture,
        variant,
        state: state.to_owned(),
        is_manifest: part.is_manifest,
    }
}

fn referrers(
    store: &Store,
    repository: &str,
    digest: &str,
    after: Option<&str>,
) -> Result<ImageReply, CommandError> {
    let after = after.map(parse_digest).transpose()?;
    let (name, digest) = (repository.parse()?, parse_digest(digest)?);
    let referrers = |size| store.referrers(&name, &digest, None, after.as_ref(), size);
    let (mut page, mut has_more) = referrers(REFERRERS)?;
    if page.is_empty() && has_more {
        // The next one is longer than such a page.
        (page, has_more) = referrers(1.into())?;
    }
    let entry = |referrer: storage::Referrer| ReferrerEntry {
        digest: referrer.digest.to_string(),
        artifact_type: referrer.artifact_type,
        size: referrer.size,
    };
    Ok(ImageReply::Referrers { entries: page.into_iter().map(entry).collect(), has_more })
}

fn remove(store: &Store, image: &str, dry_run: bool) -> Result<ImageReply, CommandError> {
    let image = image_of(store, image)?;
    let name = image.repository();
    let reference = image.reference();
    let reference = reference.ok_or_else(|| CommandError::WholeRepository(name.clone()))?;
    let mut removal = store.plan_removal(name, reference)?;
    // Before anything goes, so that trouble with adding up never hides that something went.
    let space = store.space_of(name, &removal.manifests)?;
    if !dry_run {
        removal = store.remove_image(name, reference)?;
    }
    let kept_by = removal.kept_by.as_ref().map(|keeper| match keeper {
        Keeper::Tag(tag) => full(name, tag),
        Keeper::Index(digest) => format!("{name}@{digest}"),
    });
    // What the command named comes first: restoring that restores most.
    let is_named = |tag: &storage::Tag| matches!(reference, Reference::Tag(it) if it == tag);
    removal.tags.sort_by_key(|(tag, _)| (!is_named(tag), tag.as_str().starts_with("sha256-")));
    let entry =
        RemovedEntry { dry_run, kept_by, ..entry(image.to_string(), name, &removal, space) };
    Ok(ImageReply::Removed(Box::new(entry)))
}

/// What a removal takes, as it is told.
fn entry(image: String, name: &RepoName, removal: &Removal, space: Space) -> RemovedEntry {
    let digests = |digests: &[Digest]| {
        digests.iter().take(LIST_PAGE_ENTRIES).map(Digest::to_string).collect::<Vec<_>>()
    };
    let tags = removal.tags.iter().take(LIST_PAGE_ENTRIES).map(|(tag, _)| full(name, tag));
    RemovedEntry {
        image,
        repository: name.to_string(),
        dry_run: true,
        tags: tags.collect(),
        tag_count: removal.tags.len() as u64,
        manifests: digests(&removal.manifests),
        manifest_count: removal.manifests.len() as u64,
        blobs: space.blobs,
        blob_bytes: space.bytes,
        kept_by: None,
        sparse: digests(&removal.sparse),
    }
}

/// What goes with all tags for which a pattern stands. That some are protected, or none is there,
/// is found before the first one goes.
fn plan_matching(store: &Store, image: &str) -> Result<ImageReply, CommandError> {
    let (name, pattern) = pattern_of(store, image)?;
    if !store.repository_exists(&name)? {
        return Err(CommandError::NoRepository(name));
    }
    let removal = store.plan_removal_of_tags(&name, &pattern)?;
    if removal.tags.is_empty() {
        return Err(CommandError::NothingMatches { repository: name, pattern });
    }
    let space = store.space_of(&name, &removal.manifests)?;
    let entry = entry(format!("{name}:{pattern}"), &name, &removal, space);
    Ok(ImageReply::Removed(Box::new(entry)))
}

/// The tags that a text with a pattern means here.
fn pattern_of(store: &Store, text: &str) -> Result<(RepoName, TagPattern), CommandError> {
    let (repository, pattern) = TagPattern::after_repository(text)?;
    Ok((repository_of(store, repository)?, pattern))
}

fn plan_all(store: &Store, repository: &str) -> Result<ImageReply, CommandError> {
    let name = repository_of(store, repository)?;
    let counts = store.plan_removal_of_all(&name)?;
    let (tags, manifests) = counts.ok_or_else(|| CommandError::NoRepository(name.clone()))?;
    Ok(ImageReply::All(AllEntry { repository: name.to_string(), tags, manifests }))
}

/// A page of referrers. What they are annotated with is not shown, and read all the same.
const REFERRERS: PageSize = PageSize { entries: 1000, bytes: 1 << 20 };
