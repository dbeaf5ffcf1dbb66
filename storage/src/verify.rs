//! Verification: everything that the store keeps is read again and held against its digest, while
//! the store is used.
//!
//! What is wrong is mended where the store itself knows better (edges, what lists show, links to
//! nothing), and else it is lost: hidden from clients, so that their next push brings it back, with
//! its file put aside for a person to look at. The walk goes by key, a page at a time; it holds
//! nobody up, and can go on from any place.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use oci::{Digest, MediaType, Reference, RepoName, WrongSizes};
use serde::{Deserialize, Serialize};

use crate::content::BlobDamage;

mod manifest;
mod needed_blobs;
mod pace;
mod walk;

pub(crate) use walk::VerificationRun;

/// How a store is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// The most that is read in a second, so that others find the disk free; none is no bound.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Whether what is wrong is only told, and stays as it is.
    pub is_dry_run: bool,
}

/// How often and how fast a store is verified by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrub {
    /// How long after its end the next one begins.
    pub interval: Duration,
    /// The most that is read in a second.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// Hears how far a verification is, at least once for each piece that is read, and says whether to
/// go on.
pub(crate) type OnStep<'a> = &'a mut dyn FnMut(&Verified) -> ControlFlow<()>;

/// What a verification read and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Manifests that were read.
    pub manifests: u64,
    /// Blobs that were read.
    pub blobs: u64,
    /// The bytes of blobs that were read.
    pub blob_bytes: u64,
    /// What was wrong, the first of it.
    pub findings: Vec<Finding>,
    /// How much more was wrong.
    pub more_findings: u64,
    /// Manifests that say sizes that are others, the first of them. Nothing of the store is wrong
    /// with that, and whoever may push can bring as many as they like, so these are no findings.
    pub missized: Vec<Missized>,
    /// How many more such manifests there are.
    pub more_missized: u64,
    /// Files among the blobs that no row names. They harm nobody, and collection takes them.
    pub stray_files: u64,
    /// The bytes of these files.
    pub stray_bytes: u64,
    /// Where the walk stands.
    pub position: Position,
    /// Whether it came to its end.
    pub is_done: bool,
}

impl Verified {
    pub(crate) fn add(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS {
            self.findings.push(finding);
        } else {
            self.more_findings += 1;
        }
    }

    pub(crate) fn add_missized(&mut self, missized: Missized) {
        if self.missized.len() < MISSIZED {
            self.missized.push(missized);
        } else {
            self.more_missized += 1;
        }
    }
}

/// A manifest that says sizes that are others, which only whoever made it can mend.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "a manifest and what is wrong with it say what they are")]
pub struct Missized {
    /// A repository that holds it.
    pub repository: RepoName,
    pub manifest: Digest,
    pub wrong: WrongSizes,
}

impl fmt::Display for Missized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} says {}", self.repository, self.manifest, self.wrong)
    }
}

/// One thing that was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "repository, tag, digest and path say what they are")]
pub enum Finding {
    /// A blob is lost.
    Blob {
        digest: Digest,
        /// What is wrong with its file.
        damage: BlobDamage,
        /// Where the file was put.
        put_aside: Option<PathBuf>,
    },
    /// A blob that was lost has a good file again.
    BlobFound(Digest),
    /// The size that was recorded of a blob was not that of its file, whose bytes are right. It is
    /// mended.
    BlobSize(Digest),
    /// A repository did not hold a blob that a manifest of it needs. It holds it again.
    Unheld { repository: RepoName, digest: Digest },
    /// The bytes of a manifest are not those that its digest names.
    Manifest(Digest),
    /// A manifest that was lost has its bytes again.
    ManifestFound(Digest),
    /// A manifest that has its bytes cannot be read.
    ManifestUnread {
        digest: Digest,
        /// Why not.
        message: String,
    },
    /// What is recorded of a manifest was not what it says, and is mended.
    Record(Digest),
    /// A repository served a manifest under a type that the document does not have, as programs
    /// before took it from a header. It is mended.
    Type {
        repository: RepoName,
        digest: Digest,
        /// What it was served as.
        kept: String,
        /// What it is.
        own: MediaType,
    },
    /// A tag names a manifest that the repository does not hold.
    Tag {
        repository: String,
        tag: String,
        /// What it names.
        digest: String,
    },
    /// A repository held a blob that does not exist. It holds it no more.
    Link { repository: String, digest: String },
    /// The name of a blob or a manifest in the database is no digest.
    Name(String),
    /// A directory cannot be read.
    Directory {
        path: PathBuf,
        /// The system's words.
        message: String,
    },
    /// The database's own structure is broken.
    Database(String),
}

impl Finding {
    /// Whether something is gone that only somebody outside can bring back.
    pub fn is_loss(&self) -> bool {
        !matches!(
            self,
            Self::BlobFound(_)
                | Self::BlobSize(_)
                | Self::Unheld { .. }
                | Self::ManifestFound(_)
                | Self::Record(_)
                | Self::Type { .. }
                | Self::Link { .. }
        )
    }

    /// What a verification says that changes nothing.
    pub fn in_dry_run(&self) -> String {
        match self {
            Self::Record(digest) => format!(
                "what is recorded of the manifest {digest} is not what it says: would be mended"
            ),
            Self::Type { repository, digest, kept, own } => format!(
                "the repository {repository} serves the manifest {digest} as {kept}, and it is \
                 {own}: would be mended"
            ),
            Self::Link { repository, digest } => format!(
                "the repository {repository} holds {digest}, which is not there: would be mended"
            ),
            Self::BlobFound(digest) => {
                format!("the blob {digest} is called lost, and its file is good: would be mended")
            }
            Self::BlobSize(digest) => format!(
                "the size that is recorded of the blob {digest} is not that of its file, whose \
                 bytes are right: would be mended"
            ),
            Self::Unheld { repository, digest } => format!(
                "the repository {repository} does not hold {digest}, which a manifest there \
                 needs: would be mended"
            ),
            Self::ManifestFound(digest) => format!(
                "the manifest {digest} is called lost, and its bytes are right: would be mended"
            ),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob { digest, damage, .. } => write!(f, "the blob {digest} is lost: {damage}"),
            Self::BlobFound(digest) => {
                write!(f, "the blob {digest} was lost, and its file is good again")
            }
            Self::BlobSize(digest) => write!(
                f,
                "the size that was recorded of the blob {digest} was not that of its file, whose \
                 bytes are right: mended"
            ),
            Self::Unheld { repository, digest } => write!(
                f,
                "the repository {repository} did not hold {digest}, which a manifest there needs: \
                 mended"
            ),
            Self::Manifest(digest) => {
                write!(f, "the manifest {digest} is lost: its bytes are others")
            }
            Self::ManifestFound(digest) => {
                write!(f, "the manifest {digest} was lost, and its bytes are right again")
            }
            Self::ManifestUnread { digest, message } => {
                write!(f, "the manifest {digest} has its bytes, but {message}")
            }
            Self::Record(digest) => {
                write!(f, "what was recorded of the manifest {digest} was not what it says: mended")
            }
            Self::Type { repository, digest, kept, own } => write!(
                f,
                "the repository {repository} served the manifest {digest} as {kept}, and it is \
                 {own}: mended"
            ),
            Self::Tag { repository, tag, digest } => write!(
                f,
                "the tag {repository}:{tag} names {digest}, which is not there: push it again, or \
                 delete the tag"
            ),
            Self::Link { repository, digest } => {
                write!(f, "the repository {repository} held {digest}, which is not there: mended")
            }
            Self::Name(text) => write!(
                f,
                "the database names something {text:?}, which is no digest: restore it from a \
                 backup"
            ),
            Self::Directory { path, message } => {
                write!(f, "the directory {} cannot be read: {message}", path.display())
            }
            Self::Database(message) => {
                write!(
                    f,
                    "the database is damaged, or its disk cannot be read ({message}): look into \
                     the kernel's log, and restore it from a backup if it stays so"
                )
            }
        }
    }
}

/// Images that cannot be pulled because of what is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokenImages {
    /// The first of them.
    pub images: Vec<Image>,
    /// How many more there are.
    pub more: u64,
}

/// An image by its name in this registry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "a repository says what it is")]
pub struct Image {
    pub repository: RepoName,
    /// The tag, or the digest of one that has no tag.
    pub reference: Reference,
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = match self.reference {
            Reference::Tag(_) => ':',
            Reference::Digest(_) => '@',
        };
        write!(f, "{}{separator}{}", self.repository, self.reference)
    }
}

/// Where a walk through a store stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub(crate) phase: VerifyPhase,
    /// The row of the repository, or the number of the directory, where that counts.
    pub(crate) number: i64,
    /// The last key that is done.
    pub(crate) after: String,
}

/// What a walk is at, in its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum VerifyPhase {
    /// The bytes of manifests, and what is recorded of them.
    #[default]
    Manifests,
    /// Manifests of repositories.
    Holders,
    /// Tags.
    Tags,
    /// Blobs of repositories.
    Links,
    /// The files of blobs.
    Blobs,
    /// Files that no row names.
    Files,
}

impl VerifyPhase {
    pub(crate) fn next(self) -> Option<Self> {
        match self {
            Self::Manifests => Some(Self::Holders),
            Self::Holders => Some(Self::Tags),
            Self::Tags => Some(Self::Links),
            Self::Links => Some(Self::Blobs),
            Self::Blobs => Some(Self::Files),
            Self::Files => None,
        }
    }
}

/// Findings that are told one by one.
const FINDINGS: usize = 1000;
/// Manifests with wrong sizes that are told one by one.
const MISSIZED: usize = 100;

#[cfg(test)]
mod tests;
