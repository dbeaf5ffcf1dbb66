//! What can go wrong in the store, by door: what a verb refuses stands here, what its opening meets
//! in `open`, and what is wrong with the disk in `trouble`. They are closed enums that callers
//! match and tests compare; what to type next is whoever prints them to say.

use std::io::ErrorKind;

use durable::{IoError, ReadError};
use oci::{Digest, RepoName, Tag};
use thiserror::Error;

use crate::byte_count::ByteCount;
use crate::import_number::ImportNumber;

mod open;
mod quay;
mod trouble;

pub use open::OpenError;
pub use quay::{QuayError, QuayFault};
pub use trouble::Trouble;

/// A failure of the store.
///
/// What a client asked for and is not there is `None` or `false` in a verb's result; an error
/// here is a refusal with a reason, or trouble with the disk.
#[expect(missing_docs, reason = "fields whose names say what they are")]
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StorageError {
    /// The bytes of a blob are not those that its digest names.
    #[error(
        "the content has the digest {actual}, not {expected}: this upload has ended, begin a new \
         one and send the content again"
    )]
    DigestMismatch {
        /// What the client promised.
        expected: Digest,
        /// What its bytes hash to.
        actual: Digest,
    },
    /// There is no such upload session of this user in this repository.
    #[error("there is no such upload session: it ended or expired, begin a new one")]
    UploadUnknown,
    /// Another request has taken over the upload session.
    #[error("another request continued this upload: ask for its status and go on from there")]
    UploadTaken,
    /// An image manifest names blobs that its repository does not hold.
    #[error("the repository does not hold {}: push the blobs before the manifest", list(.0))]
    MissingBlobs(Vec<Digest>),
    /// The repository holds the blob, but its file is missing or holds other bytes.
    #[error("the registry lost the blob {0}: push the image again")]
    BlobLost(Digest),
    /// The repository holds the manifest, but what it needs to be pulled is lost.
    #[error("the registry lost {}: push the image again", needed(lost, manifest))]
    ManifestLost {
        /// The manifest that was asked for.
        manifest: Digest,
        /// A blob or a manifest that it needs, or itself.
        lost: Digest,
    },
    /// A blob cannot be deleted while a manifest of the repository names it.
    #[error("the manifest {manifest} of this repository names the blob: delete the manifest first")]
    BlobInUse {
        /// One manifest that names the blob.
        manifest: Digest,
    },
    /// A protected tag, or what it needs, would change.
    #[error("the tag {repository}:{tag} is protected, and with it all that it names")]
    TagProtected { repository: RepoName, tag: Tag },
    /// A command is about a tag that is not there.
    #[error("there is no tag {repository}:{tag}")]
    NoTag { repository: RepoName, tag: Tag },
    /// A command is about a manifest that is not there.
    #[error("there is no manifest {repository}@{digest}")]
    NoManifest { repository: RepoName, digest: Digest },
    /// A tag has no history that could be undone.
    #[error(
        "no change of {repository}:{tag} is known that could be undone, and what is long past is \
         forgotten"
    )]
    NothingToUndo { repository: RepoName, tag: Tag },
    /// A tag is to be as it was when it was not there.
    #[error("{repository}:{tag} did not exist at that time")]
    NotThereThen { repository: RepoName, tag: Tag },
    /// A manifest that is to be restored is not there any more.
    #[error(
        "{repository}@{digest} cannot be restored: collection took it, or it never was here; push \
         it again"
    )]
    Collected { repository: RepoName, digest: Digest },
    /// Blobs of a manifest that is to be restored are not there any more.
    #[error(
        "{digest} cannot be restored, since the repository holds no more {}: push the image again",
        list(.blobs)
    )]
    BlobsCollected {
        digest: Digest,
        /// What it lacks.
        blobs: Vec<Digest>,
    },
    /// An import names what it has not read, or what is something else by now.
    #[error("the import has not read {0}: begin it again, which goes on with what is there")]
    NotStaged(Digest),
    /// There is no import of this number.
    #[error("there is no import {0}")]
    NoImport(ImportNumber),
    /// A user of this name exists already.
    #[error("this user exists already")]
    UserExists,
    /// The file system or the user's quota is full.
    #[error("the disk of the registry is full")]
    Full,
    /// The file system has room left, but not for this upload.
    #[error(
        "the disk of the registry is too full for {} ({} are free, and uploads leave {} of that)",
        coming(*.wanted_bytes), ByteCount(*.free_bytes), ByteCount(*.kept_bytes)
    )]
    NoRoom {
        /// What the upload would add; 0 if it would only begin.
        wanted_bytes: u64,
        /// What is free.
        free_bytes: u64,
        /// What uploads leave free.
        kept_bytes: u64,
    },
    /// The file system of the store is read-only: what is there can be read, and that is all.
    #[error(
        "the disk of the registry is read-only, so it can be pulled from and nothing else: on its \
         host, look into the kernel's log, mend the disk, mount it writable, and restart the \
         registry"
    )]
    ReadOnly,
    /// The store is being closed.
    #[error("the registry is stopping: try again in a moment")]
    Closed,
    /// The disk, or what lies on it, is in trouble.
    #[error(transparent)]
    Failed(#[from] Trouble),
}

impl StorageError {
    /// Whether the disk refused because it is read-only. For the store's own disk that is
    /// [`StorageError::ReadOnly`].
    pub fn is_read_only(&self) -> bool {
        matches!(
            self,
            Self::ReadOnly
                | Self::Failed(Trouble::Io(IoError { kind: ErrorKind::ReadOnlyFilesystem, .. }))
        )
    }
}

impl From<IoError> for StorageError {
    fn from(error: IoError) -> Self {
        match error.kind {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full,
            _ => Trouble::Io(error).into(),
        }
    }
}

impl From<ReadError> for StorageError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => error.into(),
            ReadError::NotRegular(path) => {
                Trouble::Damaged { path, what: "it is no regular file".to_owned() }.into()
            }
            ReadError::TooLarge { path, most_bytes } => {
                let what = format!("it has more than {most_bytes} bytes");
                Trouble::Damaged { path, what }.into()
            }
        }
    }
}

fn coming(bytes: u64) -> String {
    if bytes == 0 { "uploads".to_owned() } else { format!("{} more", ByteCount(bytes)) }
}

fn needed(lost: &Digest, manifest: &Digest) -> String {
    match lost == manifest {
        true => format!("the manifest {manifest}"),
        false => format!("{lost}, which {manifest} needs"),
    }
}

fn list(digests: &[Digest]) -> String {
    let named: Vec<_> = digests.iter().take(NAMED_DIGESTS).map(Digest::to_string).collect();
    let named = named.join(", ");
    match digests.len().saturating_sub(NAMED_DIGESTS) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Digests that one sentence names: a manifest can name thousands.
const NAMED_DIGESTS: usize = 10;
