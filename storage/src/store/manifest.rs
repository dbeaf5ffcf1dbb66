//! Manifests: reading and deleting them, and lists of what refers to one.

use std::sync::Arc;

use oci::{Digest, Reference, RepoName};

use super::Store;
use super::blob::TRIES;
use crate::actor::Actor;
use crate::db::key::RepoId;
use crate::db::list::{PageSize, Referrer};
use crate::db::lost::LossOutcome;
use crate::db::manifest::{LongManifest, StoredManifest};
use crate::db::{Reader, Transaction};
use crate::error::StorageError;

impl Store {
    /// Reads a manifest, if the repository holds it, and holds its bytes against its digest.
    ///
    /// # Errors
    /// [`StorageError::ManifestLost`] if its bytes are others, which from then on is known, or if
    /// something that it needs is lost; trouble with the database.
    pub fn manifest(
        &self,
        name: &RepoName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>, StorageError> {
        Ok(self.manifest_of(name, reference)?.map(|(manifest, _)| manifest))
    }

    /// The same, with its repository.
    fn manifest_of(
        &self,
        name: &RepoName,
        reference: &Reference,
    ) -> Result<Option<(StoredManifest, RepoId)>, StorageError> {
        let mut tries = TRIES;
        loop {
            let get = |reader: &Reader<'_>| reader.manifest(name, reference);
            let found = match tries {
                TRIES => self.database.read(get)?,
                _ => self.database.read_afresh(get)?,
            };
            let Some((found, repository)) = found else { return Ok(None) };
            if found.is_right() {
                return Ok(Some((found, repository)));
            }
            tries -= 1;
            // Somebody may have pushed it meanwhile.
            if self.lose_found_manifest(&found) {
                return Err(lost_itself(found.digest));
            }
            if tries == 0 {
                // The disk gives other bytes each time.
                let lost = lost_itself(found.digest);
                (self.on_trouble)(&lost);
                return Err(lost);
            }
        }
    }

    /// Finds a manifest to answer with. Of one that is longer than `whole_bytes`, and for whose
    /// bytes `has_room` finds no room, that is only what is to be known before it is sent: its
    /// bytes are held against its digest a piece at a time, and left where they are.
    ///
    /// Who may push will name the manifest in an index, or call it copied, without pushing it if it
    /// is there: collection then leaves it for the grace time.
    ///
    /// # Errors
    /// Those of [`Store::manifest`]; [`StorageError::Closed`] after [`Store::close`].
    pub fn open_manifest(
        &self,
        name: &RepoName,
        reference: &Reference,
        whole_bytes: usize,
        may_push: bool,
        has_room: impl FnOnce(u64) -> bool,
    ) -> Result<Option<ManifestContent>, StorageError> {
        let open = || {
            let long =
                |reader: &Reader<'_>| reader.long_manifest(name, reference, whole_bytes, has_room);
            // Before the first look.
            let read = self.hot_manifests.now();
            let whole = match self.database.read(long)? {
                None => {
                    let found = self.manifest_of(name, reference)?;
                    found.map(|(manifest, repository)| {
                        let seen = (read, repository);
                        self.hot_manifests.remember(name, reference, seen, &manifest);
                        manifest
                    })
                }
                Some(LongManifest { digest, media_type, bytes: Some(bytes), .. }) => {
                    Some(StoredManifest { digest, media_type, bytes })
                }
                Some(long) => return Ok(Some(ManifestContent::Long(long))),
            };
            Ok(whole.map(ManifestContent::Whole))
        };
        match reference {
            Reference::Digest(digest) if may_push => self.told_of(name, digest, open),
            // What a tag names is kept by the tag.
            _ => open(),
        }
    }

    /// A manifest that was answered lately, if what [`Store::open_manifest`] would find now is
    /// known without a look at the disk, and nobody has to be waited for. Its bytes were held
    /// against its digest.
    pub fn hot_manifest(
        &self,
        name: &RepoName,
        reference: &Reference,
        may_push: bool,
    ) -> Option<Arc<StoredManifest>> {
        let found = self.hot_manifests.find(name, reference)?;
        match reference {
            // Entered before it is looked for, as in `told_of`. What is told of one that is not
            // found then is taken back there: that is where whoever asks goes on.
            Reference::Digest(digest) if may_push => {
                let is_told = self.told.tell_at_once(name.as_str(), digest);
                is_told.then(|| self.hot_manifests.find(name, reference)).flatten()
            }
            _ => Some(found),
        }
    }

    /// Reads at most `length` bytes of a manifest from `offset`, of one that is there.
    ///
    /// # Errors
    /// [`StorageError::ManifestLost`] if it is there no more; trouble with the database.
    pub fn read_manifest(
        &self,
        digest: &Digest,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StorageError> {
        let piece = |reader: &Reader<'_>| reader.manifest_piece(digest, offset, length);
        self.database.read(piece)?.ok_or_else(|| lost_itself(*digest))
    }

    /// Finds a manifest for somebody who is told of it, and remembers it before it is looked for.
    fn told_of<T>(
        &self,
        name: &RepoName,
        digest: &Digest,
        find: impl FnOnce() -> Result<Option<T>, StorageError>,
    ) -> Result<Option<T>, StorageError> {
        if !self.told.tell(name.as_str(), digest) {
            return Err(StorageError::Closed);
        }
        let found = find()?;
        if found.is_none() {
            self.told.take_back(name.as_str(), digest);
        }
        Ok(found)
    }

    /// Removes a manifest and its tags from a repository; false if it was not there. It can be
    /// restored until collection takes it. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn delete_manifest(
        &self,
        name: &RepoName,
        digest: &Digest,
        by: Option<&Actor>,
    ) -> Result<bool, StorageError> {
        let (repository, manifest, by) = (name.clone(), *digest, by.cloned());
        let is_gone = self.database.write_to_free(move |transaction| {
            transaction.remove_manifest(&repository, &manifest, by.as_ref())
        })?;
        self.told.take_back(name.as_str(), digest);
        Ok(is_gone)
    }

    /// A page of the manifests that refer to `subject`, in the order of their digests, after
    /// `after`, all or those of one artifact type; and whether there are more. It has no more bytes
    /// than its size says: an empty one with more behind it begins with one that is longer.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn referrers(
        &self,
        name: &RepoName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        size: impl Into<PageSize>,
    ) -> Result<(Vec<Referrer>, bool), StorageError> {
        let size = size.into();
        self.database.read(|reader| reader.referrers(name, subject, artifact_type, after, size))
    }

    /// Calls a manifest lost whose bytes were found to be wrong when it was to be served; false if
    /// by now it has others. Whether it can be noted or not, nobody is answered with these.
    pub(super) fn lose_found_manifest(&self, found: &StoredManifest) -> bool {
        let (digest, bytes) = (found.digest, found.bytes.clone());
        let lose = move |transaction: &Transaction<'_>| transaction.lose_manifest(&digest, &bytes);
        match self.database.step_to_mend(lose) {
            Ok(LossOutcome::IsGone) => return false,
            Ok(LossOutcome::WasLost) => {}
            Ok(LossOutcome::Lost) | Err(_) => {
                (self.on_trouble)(&lost_itself(digest));
            }
        }
        true
    }
}

/// A manifest on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestContent {
    /// All of it.
    Whole(StoredManifest),
    /// One that is read while it is sent.
    Long(LongManifest),
}

fn lost_itself(manifest: Digest) -> StorageError {
    StorageError::ManifestLost { manifest, lost: manifest }
}
