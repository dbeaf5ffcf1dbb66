//! What a manifest names.

use oci::{Digest, EdgeKind, Platform, RepoName};
use serde::{Deserialize, Serialize};
use storage::{ImagePart, PartState};

use crate::command::{Command, CommandError, Context, PAGE_ENTRIES, Page};

/// Asks for a page of what a manifest names, in its own order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListParts {
    /// The repository.
    pub repository: RepoName,
    /// The manifest.
    pub digest: Digest,
    /// How many came before.
    pub skip: usize,
}

/// One thing that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What the manifest names it as.
    pub kind: EdgeKind,
    /// The digest.
    pub digest: Digest,
    /// The media type that the manifest says.
    pub media_type: String,
    /// The bytes that the manifest says.
    pub size: u64,
    /// The bytes that it has, if it is there.
    pub stored_size: Option<u64>,
    /// The platform that the manifest says, if any: the following three with slashes between them.
    pub platform: Option<String>,
    /// The operating system of the platform.
    pub os: Option<String>,
    /// The architecture of the platform.
    pub architecture: Option<String>,
    /// The variant of the platform.
    pub variant: Option<String>,
    /// Whether it is there.
    pub state: PartState,
    /// Whether it is a manifest. A child that is a blob is a part of a build cache.
    pub is_manifest: bool,
}

impl Command for ListParts {
    /// The cursor is how many came before.
    type Reply = Page<Part, usize>;

    const NAME: &'static str = "image-parts";

    fn words(&self) -> &'static str {
        "inspect"
    }

    fn subject(&self) -> Option<String> {
        Some(self.repository.to_string())
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<Self::Reply, CommandError> {
        let Self { repository, digest, skip } = self;
        let parts = context.store.image_parts(&repository, &digest, skip, PAGE_ENTRIES)?;
        // A manifest that was deleted since has no parts any more.
        let parts: Vec<Part> = parts.unwrap_or_default().into_iter().map(part).collect();
        let next = skip.saturating_add(parts.len());
        Ok(Page::of(parts, PAGE_ENTRIES, |_| next))
    }
}

fn part(part: ImagePart) -> Part {
    let platform = part.descriptor.platform;
    let Platform { os, architecture, variant } = platform.clone().unwrap_or_default();
    let joined = |it: Platform| {
        let parts = [it.os, it.architecture, it.variant];
        parts.into_iter().flatten().collect::<Vec<_>>().join("/")
    };
    Part {
        kind: part.descriptor.kind,
        digest: part.descriptor.digest,
        media_type: part.descriptor.media_type,
        size: part.descriptor.size,
        stored_size: part.stored_size,
        platform: platform.map(joined),
        os,
        architecture,
        variant,
        state: part.state,
        is_manifest: part.is_manifest,
    }
}
