//! Reading what a volume held.

use oci::Digest;
use serde::{Deserialize, Serialize};
use storage::VolumeNote;

use crate::command::{Command, CommandError, Context};

/// Asks for a page of the digests that a volume held.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadNote {
    /// The note of the volume.
    pub note: VolumeNote,
    /// Which page, counted from 0.
    pub page: u32,
    /// Whether it is to be looked up how many bytes of each are there.
    pub is_looked_up: bool,
}

/// Something that a volume held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotedDigest {
    /// A blob, and no manifest.
    pub digest: Digest,
    /// Its bytes, if it was looked up and is there.
    pub size: Option<u64>,
}

impl Command for ReadNote {
    /// None behind the last page, and if the volume was forgotten.
    type Reply = Option<Vec<NotedDigest>>;

    const NAME: &'static str = "bundle-read-note";

    fn words(&self) -> &'static str {
        if self.is_looked_up { "receipt" } else { "export" }
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<Self::Reply, CommandError> {
        let Some(digests) = context.store.noted_digests(self.note, self.page)? else {
            return Ok(None);
        };
        let sizes = match self.is_looked_up {
            true => context.store.whole_sizes(&digests)?,
            false => vec![None; digests.len()],
        };
        let noted = digests.into_iter().zip(sizes);
        Ok(Some(noted.map(|(digest, size)| NotedDigest { digest, size }).collect()))
    }
}
