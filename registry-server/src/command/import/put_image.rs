//! Storing an image that an import brings, whose blobs its repository has by now.

use oci::{Digest, Manifest, RepoName, Tag};
use serde::{Deserialize, Serialize};
use storage::{ImportNumber, ImportedImage, StorageError, TagFate, UploadId};

use crate::command::{Command, CommandError, Context};
use crate::limits::Limits;

/// Stores manifests and lets tags name an image, all at once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutImage {
    /// The number of the import.
    pub import: ImportNumber,
    /// Its directory, where the manifests lie.
    pub staging: UploadId,
    /// The repository.
    pub repository: RepoName,
    /// The manifests, those that an index lists before it.
    pub manifests: Vec<Digest>,
    /// The image itself: one of these manifests, or one that the repository holds.
    pub image: Digest,
    /// The tags that are to name it.
    pub tags: Vec<Tag>,
}

/// What became of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PutOutcome {
    /// It is stored, and this became of its tags.
    Put(Vec<TagOutcome>),
    /// No push of it would be taken; the sentence says why. Nothing of it was stored.
    Refused(String),
}

/// What became of a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TagOutcome {
    /// It names the image, and named this before.
    Set(Option<Digest>),
    /// It is protected, and names what it named.
    Protected,
}

impl Command for PutImage {
    type Reply = PutOutcome;

    const NAME: &'static str = "import-put-image";

    fn words(&self) -> &'static str {
        "import"
    }

    fn subject(&self) -> Option<String> {
        Some(self.repository.to_string())
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<PutOutcome, CommandError> {
        let Self { import, staging, repository, manifests, image, tags } = self;
        let limits = Limits::default();
        let mut read = Vec::with_capacity(manifests.len());
        for digest in manifests {
            let most = limits.manifest_bytes as u64;
            let bytes = match context.store.staged_bytes(staging, &digest, most) {
                Ok(bytes) => bytes,
                // The others come all the same.
                Err(gone @ StorageError::NotStaged(_)) => {
                    return Ok(PutOutcome::Refused(gone.to_string()));
                }
                Err(error) => return Err(error.into()),
            };
            let manifest = match Manifest::parse(bytes, None, digest.algorithm()) {
                Ok(manifest) => manifest,
                Err(error) => return Ok(PutOutcome::Refused(format!("{digest}: {error}"))),
            };
            let most = limits.manifest_descriptors;
            if manifest.edges().len() > most {
                let why = format!("{digest} names more than {most} others");
                return Ok(PutOutcome::Refused(why));
            }
            read.push(manifest);
        }
        let image = ImportedImage { repository: &repository, manifests: read, image, tags };
        match context.store.import_image(image, context.by.as_ref(), import) {
            Ok(fates) => Ok(PutOutcome::Put(fates.iter().map(outcome).collect())),
            Err(missing @ (StorageError::MissingBlobs(_) | StorageError::NoManifest { .. })) => {
                Ok(PutOutcome::Refused(missing.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn outcome(fate: &TagFate) -> TagOutcome {
    match fate {
        TagFate::Set(before) => TagOutcome::Set(*before),
        TagFate::Protected => TagOutcome::Protected,
    }
}
