//! What an import asks of the store: which blobs lack, giving a repository those that are there,
//! images that come whole, and taking an import back. Publishing what it has read stands in
//! `publish/batch.rs`.

use bytes::Bytes;
use oci::{Digest, Manifest, RepoName, Tag};
use serde::{Deserialize, Serialize};

use super::Store;
use crate::actor::{Actor, HostUser};
use crate::content::SizedDigest;
use crate::content::upload::UploadId;
use crate::db::imports::{TagFate, UndoneChange};
use crate::db::repeated_push::Change;
use crate::db::restore::Restored;
use crate::db::tag::Cause;
use crate::db::{PendingOutcome, PreparedWrite, Reader, Transaction};
use crate::error::StorageError;
use crate::import_number::ImportNumber;
use crate::page::Page;

/// Blobs that a repository is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepositoryBlobs {
    /// The repository.
    pub repository: RepoName,
    /// The blobs.
    pub digests: Vec<Digest>,
}

/// An image that an import brings.
pub struct ImportedImage<'a> {
    /// Where it is to be.
    pub repository: &'a RepoName,
    /// Manifests that come with it: those that an index lists before the index.
    pub manifests: Vec<Manifest>,
    /// The image itself, one of these or one that the repository holds.
    pub image: Digest,
    /// The tags that are to name it.
    pub tags: Vec<Tag>,
}

impl Store {
    /// Notes that an import begins, which is to read these. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn begin_import(
        &self,
        sources: Vec<String>,
        by: Option<&HostUser>,
    ) -> Result<ImportNumber, StorageError> {
        let by = by.cloned();
        self.database.write(move |transaction| transaction.begin_import(&sources, by.as_ref()))
    }

    /// Notes that an import has come to its end. Durable on return.
    ///
    /// # Errors
    /// [`StorageError::NoImport`].
    pub fn end_import(&self, import: ImportNumber) -> Result<(), StorageError> {
        match self.database.write(move |transaction| transaction.end_import(import))? {
            true => Ok(()),
            false => Err(StorageError::NoImport(import)),
        }
    }

    /// Those of these blobs that the store does not have, or has lost, in their order.
    ///
    /// # Errors
    /// Trouble with the database or the disk.
    pub fn lacking_blobs(&self, digests: &[Digest]) -> Result<Vec<Digest>, StorageError> {
        let stored = self.stored_among(digests)?;
        let lacking = digests.iter().zip(stored).filter(|(_, blob)| blob.is_none());
        Ok(lacking.map(|(digest, _)| *digest).collect())
    }

    /// Those of these manifests that a repository does not hold, or whose bytes are lost, in their
    /// order.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn lacking_manifests(
        &self,
        name: &RepoName,
        digests: &[Digest],
    ) -> Result<Vec<Digest>, StorageError> {
        let held = self.database.read(|reader| reader.sound_manifests(name, digests))?;
        let lacking = digests.iter().zip(held).filter(|(_, is_held)| !is_held);
        Ok(lacking.map(|(digest, _)| *digest).collect())
    }

    /// Gives each repository those of its blobs that the store has; returns the others of each.
    /// Collection leaves them for the grace time, as what was pushed. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database or the disk.
    pub fn link_blobs(&self, wanted: &[RepositoryBlobs]) -> Result<Vec<Vec<Digest>>, StorageError> {
        // First, as when a blob is pushed.
        for (name, digest) in wanted.iter().flat_map(pairs) {
            self.told.tell(name.as_str(), digest);
        }
        let linked = self.link_told(wanted);
        for (place, RepositoryBlobs { repository, digests }) in wanted.iter().enumerate() {
            let lacking = linked.as_ref().ok().and_then(|lacking| lacking.get(place));
            let unlinked = lacking.unwrap_or(digests);
            unlinked.iter().for_each(|digest| self.forget_unless_held(repository, digest));
        }
        linked
    }

    fn link_told(&self, wanted: &[RepositoryBlobs]) -> Result<Vec<Vec<Digest>>, StorageError> {
        let (mut lacking, mut unlinked) = (Vec::with_capacity(wanted.len()), Vec::new());
        for (place, RepositoryBlobs { repository, digests }) in wanted.iter().enumerate() {
            let held = self.database.read(|reader| reader.held_blobs(repository, digests))?;
            let stored = self.stored_among(digests)?;
            let mut lacks = Vec::new();
            for ((digest, held), stored) in digests.iter().zip(held).zip(stored) {
                match stored {
                    None => lacks.push(*digest),
                    Some(blob) if held.is_none_or(|held| held.is_lost) => {
                        unlinked.push((place, repository.clone(), blob));
                    }
                    Some(_) => {}
                }
            }
            lacking.push(lacks);
        }
        if unlinked.is_empty() {
            return Ok(lacking);
        }
        // The row is looked for in the transaction that links it: collection may take the blob
        // before, and cannot take it afterwards.
        let link = move |transaction: &Transaction<'_>| {
            let mut gone = Vec::new();
            for (place, name, SizedDigest { digest, size }) in unlinked {
                if transaction.link_stored(&name, &digest, size)? != Some(true) {
                    gone.push((place, digest));
                }
            }
            Ok(gone)
        };
        let rows = wanted.iter().map(|wanted| wanted.digests.len()).sum();
        for (place, digest) in self.database.write_rows(rows, link)? {
            if let Some(lacks) = lacking.get_mut(place) {
                lacks.push(digest);
            }
        }
        Ok(lacking)
    }

    /// What the import `from` has read of this digest, held against it; or what the store has,
    /// since somebody may have pushed a manifest as a blob, and an import reads no blob again.
    ///
    /// # Errors
    /// [`StorageError::NotStaged`] if it is neither, or is more than `most_bytes`; trouble with the
    /// database or the disk.
    pub fn staged_bytes(
        &self,
        from: UploadId,
        digest: &Digest,
        most_bytes: u64,
    ) -> Result<Bytes, StorageError> {
        let staged = self.content.staged(from, digest);
        match staged.and_then(|staged| staged.whole(most_bytes)) {
            Err(StorageError::NotStaged(_)) => {}
            read => return read,
        }
        let stored = self.stored_among(&[*digest])?.into_iter().flatten();
        for SizedDigest { size, .. } in stored.filter(|blob| blob.size <= most_bytes) {
            let Some(reader) = self.content.open(digest, size)? else { continue };
            if let Some(bytes) = reader.whole(digest)? {
                return Ok(bytes);
            }
        }
        Err(StorageError::NotStaged(*digest))
    }

    /// Stores images that came whole and lets their tags name them, each all at once or not at all;
    /// says of the tags of each what became of them. What is there already changes nothing. Images
    /// of few rows share a transaction. Durable on return.
    ///
    /// # Errors
    /// Of each image, [`StorageError::MissingBlobs`] if the repository lacks blobs that a manifest
    /// needs, and [`StorageError::NoManifest`] if there is no such image.
    pub fn import_images(
        &self,
        images: Vec<ImportedImage<'_>>,
        by: Option<&Actor>,
        import: ImportNumber,
    ) -> Vec<Result<Vec<TagFate>, StorageError>> {
        let mut together = Vec::new();
        let mut begin = |image| self.begin_image(image, by, import, &mut together);
        let begun: Vec<_> = images.into_iter().map(&mut begin).collect();
        if !together.is_empty() {
            self.database.write_together(together);
        }
        begun.into_iter().map(|begun| self.end_image(begun?)).collect()
    }

    fn begin_image(
        &self,
        image: ImportedImage<'_>,
        by: Option<&Actor>,
        import: ImportNumber,
        together: &mut Vec<PreparedWrite>,
    ) -> Result<BegunImage, StorageError> {
        let name = image.repository.clone();
        for manifest in &image.manifests {
            self.look_for_named(&name, manifest)?;
        }
        let digest = |manifest: &Manifest| *manifest.digest();
        let digests: Vec<Digest> = image.manifests.iter().map(digest).collect();
        // Before they are looked for, as when a manifest is pushed that is there already.
        for digest in &digests {
            self.told.tell(name.as_str(), digest);
        }
        let put = self.put_told(image, by, import, together);
        let put = put.unwrap_or_else(|error| PutImage::Known(Err(error)));
        Ok(BegunImage { name, digests, put })
    }

    /// Waits until it is stored, or is not.
    fn end_image(&self, begun: BegunImage) -> Result<Vec<TagFate>, StorageError> {
        let BegunImage { name, digests, put } = begun;
        let put = match put {
            PutImage::Known(outcome) => outcome,
            PutImage::Awaited(outcome) => outcome.wait(),
        };
        if put.is_err() {
            // What somebody else pushed is still told, and stays so too if nobody can tell.
            let absent = self.lacking_manifests(&name, &digests).unwrap_or_default();
            absent.iter().for_each(|digest| self.told.take_back(name.as_str(), digest));
        }
        put
    }

    fn put_told(
        &self,
        image: ImportedImage<'_>,
        by: Option<&Actor>,
        import: ImportNumber,
        together: &mut Vec<PreparedWrite>,
    ) -> Result<PutImage, StorageError> {
        let ImportedImage { repository: name, manifests, image, tags } = image;
        let change = |manifest: Manifest| {
            let change = |reader: &Reader<'_>| reader.change_by_push(name, &manifest, &[]);
            let change = self.database.read_afresh(change)?;
            Ok((manifest, change))
        };
        let manifests: Vec<(Manifest, Change)> =
            manifests.into_iter().map(change).collect::<Result<_, StorageError>>()?;
        let names = self.named_by_tags(name, &tags)?;
        let is_there = |(_, change): &(Manifest, Change)| *change == Change::Nothing;
        if manifests.iter().all(is_there) && names.iter().all(|named| *named == Some(image)) {
            return Ok(PutImage::Known(Ok(names.into_iter().map(TagFate::Set).collect())));
        }
        let rows = |(manifest, _): &(Manifest, Change)| manifest.edges().len();
        let rows = manifests.iter().map(rows).sum::<usize>() + manifests.len() + tags.len();
        let (repository, by) = (name.clone(), by.cloned());
        let put = move |transaction: &Transaction<'_>| {
            let cause = Cause { by: by.as_ref(), import: Some(import) };
            transaction.put_image(&repository, &manifests, (&image, &tags), cause)
        };
        match rows > TOGETHER_ROWS {
            true => Ok(PutImage::Known(self.database.write_rows(rows, put))),
            false => {
                let (write, outcome) = self.database.prepare(put)?;
                together.push(write);
                Ok(PutImage::Awaited(outcome))
            }
        }
    }

    /// What these tags of a repository name.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn named_by_tags(
        &self,
        name: &RepoName,
        tags: &[Tag],
    ) -> Result<Vec<Option<Digest>>, StorageError> {
        self.database.read(|reader| tags.iter().map(|tag| reader.named_by(name, tag)).collect())
    }

    /// Takes back what an import did to tags, a page of changes at a time, the newest first, older
    /// than the change `before`: each tag that names what the import said names again what it named
    /// before, or is removed if it was not there. Durable on return.
    ///
    /// # Errors
    /// [`StorageError::NoImport`]; trouble with the database or the disk. What one tag refuses is
    /// told of it.
    pub fn undo_import(
        &self,
        import: ImportNumber,
        before: Option<i64>,
        by: Option<&Actor>,
    ) -> Result<Page<UndoneChange, i64>, StorageError> {
        let page = |reader: &Reader<'_>| match reader.has_import(import)? {
            true => reader.import_changes(import, before, UNDONE_AT_ONCE).map(Some),
            false => Ok(None),
        };
        let changes = self.database.read(page)?.ok_or(StorageError::NoImport(import))?;
        let mut undone = Vec::with_capacity(changes.len());
        for (repository, change) in changes {
            let (name, known, content) = (repository.clone(), change.clone(), self.content.clone());
            let by = by.cloned();
            let outcome = self.database.write(move |transaction| {
                let has_file = |blob: &Digest, size| content.has_file(blob, size);
                transaction.undo_change(&name, &known, by.as_ref(), &has_file)
            });
            let refused = match outcome {
                Ok(restored) => {
                    let restored = restored.map(|Restored { manifests, .. }| manifests);
                    self.tell_restored(&repository, &restored.unwrap_or_default());
                    None
                }
                Err(error) if is_of_tag(&error) => Some(error),
                Err(error) => return Err(error),
            };
            let named = |reader: &Reader<'_>| reader.named_by(&repository, &change.tag);
            let names = self.database.read(named)?;
            undone.push(UndoneChange { repository, change, names, refused });
        }
        Ok(Page::of(undone, UNDONE_AT_ONCE, |last| last.change.id))
    }

    /// What the store has of these blobs, in their order.
    fn stored_among(&self, digests: &[Digest]) -> Result<Vec<Option<SizedDigest>>, StorageError> {
        let sizes: Vec<Option<u64>> = self.database.read(|reader| {
            digests.iter().map(|digest| reader.sound_size(digest)).collect::<Result<_, _>>()
        })?;
        let stored = |(digest, size): (&Digest, Option<u64>)| match size {
            Some(size) if self.content.has_file(digest, size)? => {
                Ok(Some(SizedDigest { digest: *digest, size }))
            }
            _ => Ok(None),
        };
        digests.iter().zip(sizes).map(stored).collect()
    }
}

/// An image whose manifests are told, and which is being stored.
struct BegunImage {
    name: RepoName,
    digests: Vec<Digest>,
    put: PutImage,
}

/// What becomes of an image.
enum PutImage {
    Known(Result<Vec<TagFate>, StorageError>),
    /// Its transaction is to come.
    Awaited(PendingOutcome<Vec<TagFate>>),
}

/// The blobs of a repository, one by one.
pub(super) fn pairs(of: &RepositoryBlobs) -> impl Iterator<Item = (&RepoName, &Digest)> {
    of.digests.iter().map(|digest| (&of.repository, digest))
}

/// Whether an error is what one tag refuses, and no trouble that the next one meets too.
fn is_of_tag(error: &StorageError) -> bool {
    matches!(
        error,
        StorageError::TagProtected { .. }
            | StorageError::Collected { .. }
            | StorageError::BlobsCollected { .. }
            | StorageError::ManifestLost { .. }
    )
}

/// The rows of an image that shares its transaction with others, at most: so each of the others
/// waits for few.
const TOGETHER_ROWS: usize = 64;
/// Changes that are taken back at once, each of which is a write of its own.
const UNDONE_AT_ONCE: usize = 128;
