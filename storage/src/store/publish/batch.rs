//! Blobs that an import has read and synced, and that are published some at a time: all get their
//! names, then each of their directories is synced once, and one transaction has all their rows.

use std::collections::BTreeSet;

use oci::{Digest, RepoName};

use super::Store;
use crate::content::staging::Staged;
use crate::content::upload::UploadId;
use crate::content::{Named, Placed, Replaced, SizedDigest, SyncedShards};
use crate::db::Transaction;
use crate::error::StorageError;
use crate::store::import::{RepositoryBlobs, pairs};

impl Store {
    /// Makes what the import `from` has read blobs of repositories, a batch after the other. No
    /// digest may be named twice: what is published was read once. Durable on return.
    ///
    /// Whatever file a blob had before, it has these bytes afterwards, as when it is pushed.
    ///
    /// # Errors
    /// [`StorageError::NotStaged`] if one of them was not read; trouble with the disk or the
    /// database. What is not published by then is where it was, unless its name could not be
    /// synced.
    pub fn publish_staged(
        &self,
        from: UploadId,
        blobs: &[RepositoryBlobs],
    ) -> Result<(), StorageError> {
        self.space.check_writable()?;
        let all: Vec<(&RepoName, &Digest)> = blobs.iter().flat_map(pairs).collect();
        for batch in all.chunks(BATCH_BLOBS) {
            // Remembered first, as when a blob is pushed.
            for (name, digest) in batch {
                self.told.tell(name.as_str(), digest);
            }
            if let Err(error) = self.publish_batch(from, batch) {
                batch.iter().for_each(|(name, digest)| self.forget_unless_held(name, digest));
                return Err(self.space.explained(error));
            }
        }
        Ok(())
    }

    /// Crash argument: the contents were synced before this was asked; all names are synced before
    /// the one transaction that has the rows. A crash before that leaves what was staged, which
    /// nobody needs, complete files that no row names, and for blobs that have a row the old file
    /// or the new one, both complete. Collection takes what is nobody's, and the import reads the
    /// rest again.
    fn publish_batch(
        &self,
        from: UploadId,
        batch: &[(&RepoName, &Digest)],
    ) -> Result<(), StorageError> {
        // As when a blob is pushed: nobody takes a file away between the look at its row and the
        // row that is written, and what is put back is nobody else's.
        let digests: BTreeSet<Digest> = batch.iter().map(|(_, digest)| **digest).collect();
        let _claim = self.claims.claim_each(&digests);
        let staged = batch.iter().map(|(_, digest)| self.content.staged(from, digest));
        let staged: Vec<Staged> = staged.collect::<Result<_, _>>()?;
        let mut renamed = Renamed::default();
        let named = staged.iter().try_for_each(|staged| self.name_staged(staged, &mut renamed));
        let (placed, synced) = renamed.sync();
        let names = batch.iter().map(|(name, _)| (*name).clone());
        let blobs: Vec<(RepoName, SizedDigest)> =
            names.zip(staged.iter().map(Staged::blob)).collect();
        let added = named.and(synced).and_then(|()| {
            self.database.write_rows(blobs.len(), move |transaction: &Transaction<'_>| {
                let mut blobs = blobs.iter();
                blobs.try_for_each(|(name, SizedDigest { digest, size })| {
                    transaction.add_blob(name, digest, *size)
                })
            })
        });
        added.inspect_err(|error| {
            // All or nothing: what is left is the import's, to be published again.
            placed.into_iter().for_each(|placed| drop(placed.put_back(error.clone())));
        })
    }

    fn name_staged<'a>(
        &self,
        staged: &'a Staged,
        renamed: &mut Renamed<'a>,
    ) -> Result<(), StorageError> {
        let blob = staged.blob();
        let row = self.database.read_afresh(|reader| reader.stored_blob(&blob.digest))?;
        let synced = staged.synced(&self.content)?;
        if row.is_some() {
            renamed.replaced.push(synced.replace_name()?);
            return Ok(());
        }
        self.put_back_before(blob)?;
        renamed.named.push(synced.name().map_err(|unpublished| unpublished.error)?);
        Ok(())
    }
}

/// Files that have their names, which may not last.
#[derive(Default)]
struct Renamed<'a> {
    /// Those of blobs that have no row yet.
    named: Vec<Named<'a>>,
    /// Those of blobs that have one.
    replaced: Vec<Replaced>,
}

impl<'a> Renamed<'a> {
    /// Syncs all names, also where one of them fails: what has no row yet is put back or removed
    /// afterwards.
    fn sync(self) -> (Vec<Placed<'a>>, Result<(), StorageError>) {
        let (mut shards, mut placed, mut outcome) = (SyncedShards::default(), Vec::new(), Ok(()));
        for named in self.named {
            match named.sync_once(&mut shards) {
                Ok(one) => placed.push(one),
                Err(unpublished) => outcome = Err(unpublished.error),
            }
        }
        for replaced in self.replaced {
            if let Err(unpublished) = replaced.sync(&mut shards) {
                outcome = Err(unpublished.error);
            }
        }
        (placed, outcome)
    }
}

/// Blobs that are published at once: a push that waits for one of them, or for the writing thread,
/// waits for no more.
const BATCH_BLOBS: usize = 128;
