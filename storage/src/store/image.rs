//! Images as a whole: what belongs to one, whether it is there, and removing it.

use std::collections::HashSet;

use oci::{Descriptor, Digest, EdgeKind, Reference, RepoName};
use serde::{Deserialize, Serialize};

use super::Store;
use crate::actor::Actor;
use crate::db::Transaction;
use crate::db::image_removal::{Removal, RemovalStep};
use crate::db::inspect::{HeldBytes, ManifestInfo};
use crate::db::totals::{BlobTotal, RepositoryTotal};
use crate::error::{StorageError, Trouble};

/// One thing that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePart {
    /// What the manifest says of it.
    pub descriptor: Descriptor,
    /// Whether it is there.
    pub state: PartState,
    /// Its bytes, if it is there: the descriptor may say another number.
    pub stored_size: Option<u64>,
    /// Whether it is a manifest: not, if it is listed by an index and held as a blob, as the parts
    /// of a build cache are.
    pub is_manifest: bool,
}

/// Whether what a manifest names is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartState {
    /// It is.
    Present,
    /// The repository does not hold it.
    Absent,
    /// A layer that its publisher does not allow to be pushed, and that was not.
    Foreign,
    /// The repository holds it, but its file or its bytes are gone or wrong.
    Lost,
}

impl PartState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Foreign => "foreign",
            Self::Lost => "lost",
        }
    }
}

impl Store {
    /// Looks at a manifest and at most `tags` of its tags; `None` if the repository does not hold
    /// it.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn manifest_info(
        &self,
        name: &RepoName,
        reference: &Reference,
        tags: usize,
    ) -> Result<Option<ManifestInfo>, StorageError> {
        self.database.read(|reader| reader.manifest_info(name, reference, tags))
    }

    /// At most `limit` things that a manifest names, in its own order after the first `skip`, and
    /// whether each is there; `None` if the repository does not hold the manifest. Of one that is
    /// lost nothing is known any more. This is for commands: clients are not told of a manifest
    /// that needs what is lost.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn image_parts(
        &self,
        name: &RepoName,
        digest: &Digest,
        skip: usize,
        limit: usize,
    ) -> Result<Option<Vec<ImagePart>>, StorageError> {
        let bytes = match self.database.read(|reader| reader.held_manifest_bytes(name, digest))? {
            Some(HeldBytes::Right(bytes)) => bytes,
            Some(HeldBytes::Lost) => return Ok(Some(Vec::new())),
            None => return Ok(None),
        };
        let all = Descriptor::all_of(&bytes).map_err(|error| {
            StorageError::Failed(Trouble::Database(format!("{digest} was kept wrong: {error}")))
        })?;
        let page = all.into_iter().skip(skip).take(limit);
        // Each is a read of its own: looking at the files between them may wait for the disk.
        let part = |descriptor: Descriptor| {
            let (state, stored_size, is_manifest) = self.state_of(name, &descriptor)?;
            Ok(ImagePart { descriptor, state, stored_size, is_manifest })
        };
        page.map(part).collect::<Result<_, _>>().map(Some)
    }

    /// Finds out what goes with an image when it is removed, and changes nothing.
    ///
    /// # Errors
    /// Those of [`Store::remove_image`].
    pub fn plan_removal(
        &self,
        name: &RepoName,
        reference: &Reference,
    ) -> Result<Removal, StorageError> {
        self.database.read(|reader| reader.plan_removal(name, reference))
    }

    /// Removes a tag, or a manifest with its tags, and every manifest that then nothing else in
    /// the repository keeps, all or nothing. Durable on return.
    ///
    /// # Errors
    /// [`StorageError::NoTag`], [`StorageError::NoManifest`], [`StorageError::TagProtected`].
    pub fn remove_image(
        &self,
        name: &RepoName,
        reference: &Reference,
        by: Option<&Actor>,
    ) -> Result<Removal, StorageError> {
        let (repository, reference, by) = (name.clone(), reference.clone(), by.cloned());
        let remove = move |transaction: &Transaction<'_>| {
            transaction.remove_image(&repository, &reference, by.as_ref())
        };
        let removal = self.database.write_to_free(remove)?;
        let gone = removal.manifests.iter();
        gone.for_each(|digest| self.told.take_back(name.as_str(), digest));
        Ok(removal)
    }

    /// Removes some tags of a repository, or some manifests when no tag is left. A step that
    /// removes nothing was the last. Durable on return.
    ///
    /// # Errors
    /// [`StorageError::TagProtected`] while any tag of the repository is protected.
    pub fn remove_some(
        &self,
        name: &RepoName,
        by: Option<&Actor>,
    ) -> Result<RemovalStep, StorageError> {
        let (repository, by) = (name.clone(), by.cloned());
        let remove =
            move |transaction: &Transaction<'_>| transaction.remove_some(&repository, by.as_ref());
        loop {
            let done = self.database.step_to_free(remove.clone())?;
            let gone = done.manifests.iter();
            gone.for_each(|digest| self.told.take_back(name.as_str(), digest));
            if done.step != RemovalStep::default() || !done.has_more {
                return Ok(done.step);
            }
        }
    }

    /// Adds up the blobs that no manifest of any repository holds but these of this repository,
    /// whether those are still there or not.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn space_of(
        &self,
        name: &RepoName,
        manifests: &[Digest],
    ) -> Result<BlobTotal, StorageError> {
        let gone: HashSet<Digest> = manifests.iter().copied().collect();
        let (mut seen, mut space) = (HashSet::new(), BlobTotal::default());
        for manifest in manifests {
            let mut after = None;
            loop {
                let (page, next) = self.database.read(|reader| {
                    let after = after.as_ref();
                    reader.only_held_by(name, manifest, &gone, &mut seen, after)
                })?;
                space += page;
                after = next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(space)
    }

    /// Adds up a page of the blobs that manifests of this repository hold, after `after`. Returns
    /// the last blob of the page, if another page may follow.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn space_in(
        &self,
        name: &RepoName,
        after: Option<&Digest>,
    ) -> Result<(RepositoryTotal, Option<Digest>), StorageError> {
        self.database.read(|reader| reader.held_in(name, after))
    }

    /// How many tags and manifests a repository holds; `None` if there is no such repository.
    ///
    /// # Errors
    /// [`StorageError::TagProtected`] if any tag of it is protected.
    pub fn plan_removal_of_all(&self, name: &RepoName) -> Result<Option<(u64, u64)>, StorageError> {
        self.database.read(|reader| reader.plan_removal_of_all(name))
    }

    /// Whether it is there, how large it is then, and whether it is a manifest.
    fn state_of(
        &self,
        name: &RepoName,
        descriptor: &Descriptor,
    ) -> Result<(PartState, Option<u64>, bool), StorageError> {
        let (kind, digest) = (descriptor.kind, &descriptor.digest);
        let may_be_manifest = matches!(kind, EdgeKind::Child | EdgeKind::Subject);
        if may_be_manifest {
            match self.database.read(|reader| reader.held_manifest_bytes(name, digest))? {
                Some(HeldBytes::Right(bytes)) => {
                    return Ok((PartState::Present, Some(bytes.len() as u64), true));
                }
                Some(HeldBytes::Lost) => return Ok((PartState::Lost, None, true)),
                None if kind == EdgeKind::Subject => return Ok((PartState::Absent, None, true)),
                None => {}
            }
        }
        let held = self.database.read(|reader| reader.held_blob(name, digest))?;
        Ok(match held {
            Some(blob) if !blob.is_lost && self.content.has_file(digest, blob.size)? => {
                (PartState::Present, Some(blob.size), false)
            }
            Some(_) => (PartState::Lost, None, false),
            None if kind == EdgeKind::ForeignLayer => (PartState::Foreign, None, false),
            None => (PartState::Absent, None, may_be_manifest),
        })
    }
}
