//! Pushing a manifest: what is missing is looked for on a reader, then one write has it all.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use oci::{Digest, Manifest, RepoName, Tag, WrongSizes};

use super::Store;
use crate::actor::Actor;
use crate::db::repeated_push::Change;
use crate::db::{Reader, Transaction};
use crate::error::StorageError;

impl Store {
    /// Stores a manifest and moves the tags to it, all or nothing, and says what whoever pushed it
    /// should know; `by` is who does it, if that is known. Durable on return.
    ///
    /// # Errors
    /// [`StorageError::MissingBlobs`] if the repository lacks blobs that the manifest needs.
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
    pub(super) fn look_for_named(
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
