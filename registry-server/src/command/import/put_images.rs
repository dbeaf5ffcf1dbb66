//! Storing images that an import brings, whose blobs their repositories have by now.

use oci::{Digest, Manifest, RepoName, Tag};
use serde::{Deserialize, Serialize};
use storage::{ImportNumber, ImportedImage, StorageError, Store, TagFate, UploadId};

use crate::command::{Command, CommandError, Context};
use crate::limits::Limits;

/// Stores images, each all at once or not at all.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutImages {
    /// The number of the import.
    pub import: ImportNumber,
    /// Its directory, where the manifests lie.
    pub staging: UploadId,
    /// The images.
    pub images: Vec<NewImage>,
}

/// Manifests that are to be stored, and tags that are to name an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewImage {
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

impl Command for PutImages {
    /// What became of each.
    type Reply = Vec<PutOutcome>;

    const NAME: &'static str = "import-put-images";

    fn words(&self) -> &'static str {
        "import"
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<Self::Reply, CommandError> {
        let Self { import, staging, images } = self;
        let (mut outcomes, mut read) = (Vec::with_capacity(images.len()), Vec::new());
        for image in &images {
            let manifests = read_manifests(context.store, staging, &image.manifests)?;
            // What is not refused by now is known below, in its place.
            outcomes.push(manifests.map(|manifests| {
                read.push(ImportedImage {
                    repository: &image.repository,
                    manifests,
                    image: image.image,
                    tags: image.tags.clone(),
                });
            }));
        }
        let mut put = context.store.import_images(read, context.by.as_ref(), import).into_iter();
        let outcome = |read: Result<(), String>| match read {
            Err(why) => Ok(PutOutcome::Refused(why)),
            Ok(()) => of_image(put.next().unwrap_or(Err(StorageError::Closed))),
        };
        outcomes.into_iter().map(outcome).collect()
    }
}

/// The manifests of an image, as they lie in an import's directory; or why no push of one of them
/// would be taken.
fn read_manifests(
    store: &Store,
    staging: UploadId,
    digests: &[Digest],
) -> Result<Result<Vec<Manifest>, String>, CommandError> {
    let limits = Limits::default();
    let mut read = Vec::with_capacity(digests.len());
    for digest in digests {
        let bytes = match store.staged_bytes(staging, digest, limits.manifest_bytes as u64) {
            Ok(bytes) => bytes,
            // The others come all the same.
            Err(gone @ StorageError::NotStaged(_)) => return Ok(Err(gone.to_string())),
            Err(error) => return Err(error.into()),
        };
        let manifest = match Manifest::parse(bytes, None, digest.algorithm()) {
            Ok(manifest) => manifest,
            Err(error) => return Ok(Err(format!("{digest}: {error}"))),
        };
        let most = limits.manifest_descriptors;
        if manifest.edges().len() > most {
            return Ok(Err(format!("{digest} names more than {most} others")));
        }
        read.push(manifest);
    }
    Ok(Ok(read))
}

fn of_image(put: Result<Vec<TagFate>, StorageError>) -> Result<PutOutcome, CommandError> {
    match put {
        Ok(fates) => Ok(PutOutcome::Put(fates.iter().map(of_tag).collect())),
        Err(missing @ (StorageError::MissingBlobs(_) | StorageError::NoManifest { .. })) => {
            Ok(PutOutcome::Refused(missing.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

fn of_tag(fate: &TagFate) -> TagOutcome {
    match fate {
        TagFate::Set(before) => TagOutcome::Set(*before),
        TagFate::Protected => TagOutcome::Protected,
    }
}
