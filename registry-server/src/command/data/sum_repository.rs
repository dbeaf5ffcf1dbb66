//! What a repository takes of the disk.

use oci::{Digest, RepoName};
use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandError, Context};

/// Asks for a part of what the manifests of a repository hold.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SumRepository {
    /// The repository.
    pub repository: RepoName,
    /// The last blob of the part before.
    pub after: Option<Digest>,
}

/// Blobs in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositorySum {
    /// How many blobs the repository holds, whoever else holds them.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them no other repository holds.
    pub own_blobs: u64,
    /// Their bytes.
    pub own_bytes: u64,
    /// The last blob, if more may follow.
    pub next: Option<Digest>,
}

impl Command for SumRepository {
    type Reply = RepositorySum;

    const NAME: &'static str = "repository-sum";

    fn words(&self) -> &'static str {
        "df"
    }

    fn subject(&self) -> Option<String> {
        Some(self.repository.to_string())
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<RepositorySum, CommandError> {
        let (space, next) = context.store.space_in(&self.repository, self.after.as_ref())?;
        Ok(RepositorySum {
            blobs: space.held.blobs,
            bytes: space.held.bytes,
            own_blobs: space.held_alone.blobs,
            own_bytes: space.held_alone.bytes,
            next,
        })
    }
}
