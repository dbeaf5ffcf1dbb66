//! Why a command fails.

use oci::{ImageName, RepoName, TagPattern};
use storage::{BackupError, StorageError, UserName};
use thiserror::Error;

use crate::advice::told;

/// Why a command fails.
#[expect(missing_docs, reason = "fields whose names say what they are")]
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// There is no such user.
    #[error("there is no user {0}: see `registry user list`")]
    NoUser(UserName),
    /// There is no such repository.
    #[error("there is no repository {0}: see `registry ls`")]
    NoRepository(RepoName),
    /// A command about one tag names none.
    #[error("{0} names no tag: say which one, as in REPOSITORY:TAG")]
    NeedsTag(ImageName),
    /// A command about one image names a whole repository.
    #[error("{0} is a whole repository: name an image in it, as in {0}:TAG or {0}@DIGEST")]
    NeedsImage(RepoName),
    /// A whole repository is to be removed, without the flag that says so.
    #[error(
        "{0} is a whole repository: name an image in it, as in {0}:TAG or {0}@DIGEST, or remove \
         all of them with `registry rm --all {0}`"
    )]
    WholeRepository(RepoName),
    /// One image is to be removed, with the flag for a whole repository.
    #[error("--all is for a whole repository, and {0} is one image: leave out one of the two")]
    NeedsRepository(ImageName),
    /// No tag is like a pattern.
    #[error(
        "no tag of {repository} is like {pattern}: `registry ls {repository}` shows them, and \
         `registry tag history {repository}` those that were there"
    )]
    NothingMatches { repository: RepoName, pattern: TagPattern },
    /// Whoever gave the command is gone.
    #[error("stopped before the end")]
    Stopped,
    /// There is no snapshot to be had.
    #[error("{}", told(.0))]
    Backup(BackupError),
    /// The store refuses, or cannot.
    #[error("{}", told(.0))]
    Storage(StorageError),
}

impl From<StorageError> for CommandError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<durable::IoError> for CommandError {
    fn from(error: durable::IoError) -> Self {
        Self::Storage(error.into())
    }
}
