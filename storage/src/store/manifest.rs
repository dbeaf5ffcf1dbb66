//! Manifests and tags, and lists of them.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use oci::{Digest, Manifest, Reference, RepoName, Tag, WrongSizes};

use super::Store;
use super::blob::TRIES;
use crate::actor::Actor;
use crate::db::list::{PageSize, Referrer};
use crate::db::lost::Losing;
use crate::db::manifest::{LongManifest, StoredManifest};
use crate::db::repeated_push::Change;
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
        let mut tries = TRIES;
        loop {
            let get = |reader: &Reader<'_>| reader.manifest(name, reference);
            let found = match tries {
                TRIES => self.database.read(get)?,
                _ => self.database.read_afresh(get)?,
            };
            let Some(found) = found else { return Ok(None) };
            if found.is_right() {
                return Ok(Some(found));
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
            let whole = match self.database.read(long)? {
                None => self.manifest(name, reference)?,
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

    /// Stores a manifest and moves the tags to it, all or nothing; `by` is who does it, if that is
    /// known. Durable on return.
    ///
    /// # Errors
    /// [`StorageError::MissingBlobs`] if the repository lacks blobs that the manifest needs.
    pub fn put_manifest(
        &self,
        name: &RepoName,
        manifest: Manifest,
        tags: Vec<Tag>,
        by: Option<&Actor>,
    ) -> Result<(), StorageError> {
        self.push_manifest(name, manifest, tags, by).map(drop)
    }

    /// Stores a manifest as [`Store::put_manifest`] does, and says what whoever pushed it should
    /// know.
    ///
    /// # Errors
    /// Those of [`Store::put_manifest`].
    pub fn push_manifest(
        &self,
        name: &RepoName,
        manifest: Manifest,
        tags: Vec<Tag>,
        by: Option<&Actor>,
    ) -> Result<Pushed, StorageError> {
        // Here and not in the writing thread, where everybody would wait for it. The transaction
        // looks again.
        let wrong_sizes = self.look_for_named(name, &manifest)?;
        let (digest, pushed_as) = (*manifest.digest(), manifest.media_type().clone());
        let may_be_kept_otherwise = manifest.has_type_of_choice();
        self.put_complete(name, manifest, tags, by)?;
        let mut kept_type = None;
        if may_be_kept_otherwise {
            let kept = |reader: &Reader<'_>| reader.kept_media_type(name, &digest);
            kept_type = self.database.read(kept)?.filter(|kept| kept != pushed_as.as_str());
        }
        Ok(Pushed { kept_type, wrong_sizes })
    }

    /// Stores a manifest of which everything is there, as far as anybody knows.
    fn put_complete(
        &self,
        name: &RepoName,
        manifest: Manifest,
        tags: Vec<Tag>,
        by: Option<&Actor>,
    ) -> Result<(), StorageError> {
        let digest = *manifest.digest();
        let change =
            || self.database.read_afresh(|reader| reader.change_by_push(name, &manifest, &tags));
        let mut changes = change()?;
        if changes == Change::Nothing {
            // It is remembered first and looked for then, so that collection does not take it in
            // between. What a delete that commits after that look takes was there when it was
            // pushed: the two came at once, and the delete is the later one.
            self.told.tell(name.as_str(), &digest);
            changes = change()?;
            if changes == Change::Nothing {
                return Ok(());
            }
        }
        let (repository, by, count) = (name.clone(), by.cloned(), tags.len() as u64);
        let rows = manifest.edges().len() + tags.len() + manifest.bytes().len() / ROW_BYTES;
        let put = move |transaction: &Transaction<'_>| {
            if changes == Change::Bytes {
                transaction.rewrite_manifest(&manifest)?;
            }
            transaction.put_manifest(&repository, &manifest, &[], &tags, by.as_ref())
        };
        self.database.write_rows(rows, put)?;
        // Without regard to the clock, which may be set.
        self.told.tell(name.as_str(), &digest);
        let before = self.tags_pushed.fetch_add(count, Ordering::Relaxed);
        if before / LOOK_CHANGES != before.saturating_add(count) / LOOK_CHANGES {
            // The push is done. What cannot be forgotten now is for the next look, or collection.
            let _ = self.bound_history(name);
        }
        Ok(())
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

    /// Removes a tag and nothing else; false if it was not there. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn delete_tag(
        &self,
        name: &RepoName,
        tag: &Tag,
        by: Option<&Actor>,
    ) -> Result<bool, StorageError> {
        let (name, tag, by) = (name.clone(), tag.clone(), by.cloned());
        self.database
            .write_to_free(move |transaction| transaction.remove_tag(&name, &tag, by.as_ref()))
    }

    /// A page of the repositories that hold a manifest, in ASCII order, after `after`.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn repositories(
        &self,
        after: Option<&str>,
        size: impl Into<PageSize>,
    ) -> Result<Vec<RepoName>, StorageError> {
        let size = size.into();
        self.database.read(|reader| reader.repositories(after, size))
    }

    /// Whether anything was ever pushed to a repository of this name.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn repository_exists(&self, name: &RepoName) -> Result<bool, StorageError> {
        self.database.read(|reader| reader.repository_exists(name))
    }

    /// A page of the tags of a repository with what they name, in ASCII order, after `after`;
    /// `None` if there is no such repository.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn tags(
        &self,
        name: &RepoName,
        after: Option<&str>,
        size: impl Into<PageSize>,
    ) -> Result<Option<Vec<(Tag, Digest)>>, StorageError> {
        let size = size.into();
        self.database.read(|reader| reader.tags(name, after, size))
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

    /// Forgets some of the oldest changes of tags of a repository that has more than are kept of
    /// one: somebody's push waits for it, and an older program may have left millions.
    fn bound_history(&self, name: &RepoName) -> Result<(), StorageError> {
        let surplus = |reader: &Reader<'_>| match reader.repository_id(name)? {
            Some(id) => Ok(reader.surplus_of_history(id)?.map(|last| (id, last))),
            None => Ok(None),
        };
        let Some((id, last)) = self.database.read(surplus)? else { return Ok(()) };
        let forget =
            move |transaction: &Transaction<'_>| transaction.forget_changes_until(id, last);
        for _ in 0..LOOK_STEPS {
            if self.database.step_to_free(forget)? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Looks for what a manifest names, and compares the sizes that it says. A row whose file is
    /// gone is no blob: only a new push brings it back.
    ///
    /// # Errors
    /// [`StorageError::MissingBlobs`].
    fn look_for_named(
        &self,
        name: &RepoName,
        manifest: &Manifest,
    ) -> Result<WrongSizes, StorageError> {
        let needed: Vec<Digest> = manifest.required_blobs().copied().collect();
        let (mut absent, mut found) = (Vec::new(), HashMap::new());
        for page in needed.chunks(PAGE_DIGESTS) {
            let held = |reader: &Reader<'_>| reader.held_blobs(name, page);
            for (digest, held) in page.iter().zip(self.database.read(held)?) {
                match held {
                    Some(blob) if !blob.is_lost && self.content.has_file(digest, blob.size)? => {
                        found.insert(*digest, blob.size);
                    }
                    _ => absent.push(*digest),
                }
            }
        }
        if !absent.is_empty() {
            return Err(StorageError::MissingBlobs(absent));
        }
        // What need not be there has a size too, if it is.
        let mut others: Vec<Digest> = manifest.sizes().iter().map(|said| said.child).collect();
        others.dedup();
        others.retain(|digest| !found.contains_key(digest));
        for page in others.chunks(PAGE_DIGESTS) {
            let sizes = |reader: &Reader<'_>| reader.held_sizes(name, page);
            let sizes = page.iter().zip(self.database.read(sizes)?);
            found.extend(sizes.filter_map(|(digest, size)| Some((*digest, size?))));
        }
        let mut wrong_sizes = WrongSizes::default();
        for said in manifest.sizes() {
            wrong_sizes.compare(*said, found.get(&said.child).copied());
        }
        Ok(wrong_sizes)
    }

    /// Calls a manifest lost whose bytes were found to be wrong when it was to be served; false if
    /// by now it has others. Whether it can be noted or not, nobody is answered with these.
    pub(super) fn lose_found_manifest(&self, found: &StoredManifest) -> bool {
        let (digest, bytes) = (found.digest, found.bytes.clone());
        let lose = move |transaction: &Transaction<'_>| transaction.lose_manifest(&digest, &bytes);
        match self.database.step_to_mend(lose) {
            Ok(Losing::IsGone) => return false,
            Ok(Losing::WasLost) => {}
            Ok(Losing::Lost) | Err(_) => {
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

/// What is to be said of a manifest that was stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// The type that its repository keeps it under, if that is another one than it was pushed
    /// under: the document leaves it open, and whoever pushed it first said so.
    pub kept_type: Option<String>,
    /// What it says of sizes that is not so.
    pub wrong_sizes: WrongSizes,
}

fn lost_itself(manifest: Digest) -> StorageError {
    StorageError::ManifestLost { manifest, lost: manifest }
}

/// Tags that pushes name between two looks at how many changes a repository has: each look takes as
/// long as hundreds of changes.
const LOOK_CHANGES: u64 = 1024;
/// Steps in which one look forgets changes, at most: somewhat more of them than came since the look
/// before. The rest is left to collection.
const LOOK_STEPS: usize = 24;
/// What one read looks for, at most.
const PAGE_DIGESTS: usize = 256;
/// So many bytes of a manifest cost as much as a row of what it names.
const ROW_BYTES: usize = 256;
