//! Bringing back the deleted manifests of a repository.

use oci::{Digest, PastedImage, RepoName};
use serde::{Deserialize, Serialize};
use storage::StorageError;

use crate::command::names::repository_of;
use crate::command::{Command, CommandError, Context};

/// Brings back a page of the manifests of a repository that were deleted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreManifests {
    /// The repository.
    pub repository: PastedImage,
    /// The time at which they were deleted at the earliest, in seconds since 1970.
    pub since: i64,
    /// The last one of the page before.
    pub after: Option<Digest>,
}

/// A page of manifests was brought back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredManifests {
    /// The repository, as it was understood.
    pub repository: RepoName,
    /// How many are back.
    pub back: u64,
    /// Why others cannot come back.
    pub failed: Vec<String>,
    /// The last one of the page; none if no further one follows.
    pub next: Option<Digest>,
}

impl Command for RestoreManifests {
    type Reply = RestoredManifests;

    const NAME: &'static str = "tag-restore-manifests";

    fn words(&self) -> &'static str {
        "tag restore"
    }

    fn subject(&self) -> Option<String> {
        Some(self.repository.to_string())
    }

    fn run(self, context: &mut Context<'_>) -> Result<RestoredManifests, CommandError> {
        let store = context.store;
        let repository = repository_of(store, &self.repository)?;
        let after = self.after.as_ref();
        let page = store.deleted_since(&repository, self.since, after, RESTORED_ENTRIES)?;
        let (mut back, mut failed) = (0, Vec::new());
        for digest in &page {
            match store.restore_manifest(&repository, digest) {
                Ok(manifests) => back += manifests.len() as u64,
                Err(error @ StorageError::BlobsCollected { .. }) => failed.push(error.to_string()),
                Err(error) => return Err(error.into()),
            }
        }
        let next = page.last().copied().filter(|_| page.len() == RESTORED_ENTRIES);
        Ok(RestoredManifests { repository, back, failed, next })
    }
}

/// Manifests that one command brings back, each in a transaction of its own.
const RESTORED_ENTRIES: usize = 100;
