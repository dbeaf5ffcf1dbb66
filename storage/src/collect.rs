//! Collection: what nothing needs any more goes, while everybody pushes and pulls.
//!
//! It goes in this order, because each step makes the next one's work: upload sessions that lie
//! unused; deleted manifests that can no longer be restored, and with them their edges; changes of
//! tags that are long past; what was put aside because it is damaged; manifests that came for an
//! index which is gone, and other untagged ones, where a rule says so; deleted blobs that nothing
//! can bring back any more; links from repositories to blobs that no manifest there names; blobs
//! that no repository holds; files that have no row; repositories that hold nothing.
//!
//! Every edge in the database belongs to a manifest that is held or can be restored, so whether
//! something is needed is one look into an index, and no mark has to be carried from one step to
//! the next. Manifests name each other by digest, which allows no circle that matters: only an
//! index that names its own subject as a child keeps itself.
//!
//! Crash argument: the row of a blob goes before its file, and both only when no repository holds
//! it. A crash in between leaves a file without a row, which the next run finds in the directories;
//! a file that comes back because its removal was not synced is found the same way.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::Duration;

use oci::Digest;
use serde::{Deserialize, Serialize};

use crate::db::Transaction;
use crate::db::key::{After, HeldDigest, RepoId, STEP_ROWS};
use crate::db::upkeep;
use crate::error::StorageError;
use crate::store::Store;

mod deleted_links;
mod files;
mod history;
mod kept;
mod reached;
#[cfg(test)]
mod tests;
pub(crate) mod unnamed_files;
mod untagged;

pub use kept::{KeptUntagged, Share};

/// What collection leaves, whatever else is true of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Blobs that were pushed, mounted, or told to somebody who may push, within this time.
    pub grace: Duration,
    /// Manifests that had a tag or were pushed within this time; without it, all of them.
    pub untagged: Option<Duration>,
    /// Manifests that were pushed longer than this before the first index that lists them. Of those
    /// that came with it, none is kept when the last such index is gone for good.
    pub listed_within: Duration,
    /// What was deleted within this time, so that it can be restored.
    pub deleted: Duration,
    /// What tags named within this time, and in any case within `deleted`. Rows are small, and undo
    /// a wrong move long after.
    pub history: Duration,
    /// Upload sessions that were used within this time.
    pub uploads: Duration,
}

/// What one run of collection did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Upload sessions that ended.
    pub uploads: u64,
    /// The bytes that had come for them.
    pub upload_bytes: u64,
    /// Deleted manifests that can no longer be restored.
    pub deleted_manifests: u64,
    /// Manifests without a tag.
    pub untagged_manifests: u64,
    /// What stays of those; none if the run did not come to its end, or was one of a program that
    /// did not count it.
    #[serde(default)]
    pub untagged_kept: Option<KeptUntagged>,
    /// Changes of tags that are forgotten.
    pub tag_changes: u64,
    /// Blobs that were taken out of a repository.
    pub links: u64,
    /// Blobs that are gone.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Files that had no row.
    pub stray_files: u64,
    /// Their bytes.
    pub stray_bytes: u64,
    /// Files of damaged blobs that had been put aside.
    pub damaged_files: u64,
    /// Their bytes.
    pub damaged_bytes: u64,
    /// Things among the files of blobs that no registry put there. They are left alone.
    pub foreign_files: u64,
    /// Repositories that held nothing. A dry run counts those that are empty already.
    pub repositories: u64,
    /// Blobs that the run has looked at.
    pub blobs_seen: u64,
    /// How many seconds are left until blobs may go: what was told to clients before the last crash
    /// is not known. Zero if they went.
    pub blobs_wait_seconds: u64,
    /// Whether the run came to its end.
    pub is_whole: bool,
}

impl Collected {
    /// The bytes that all of it had on the disk.
    pub fn bytes(&self) -> u64 {
        self.blob_bytes + self.stray_bytes + self.damaged_bytes + self.upload_bytes
    }
}

/// Hears how far a run is after each step, and says whether to go on.
pub type OnStep<'a> = &'a mut dyn FnMut(&Collected) -> ControlFlow<()>;

impl Store {
    /// Collects what nothing needs any more, or, in a dry run, only counts it.
    ///
    /// It works in short steps of at most 256 rows; whatever waits for the writing thread comes
    /// between two of them. A run that comes to its end is noted, unless it was a dry one.
    ///
    /// # Errors
    /// Trouble with the database or the disk; what is gone by then stays gone, the rest is for the
    /// next run.
    pub fn collect(
        &self,
        keep: &Keep,
        is_dry_run: bool,
        on_step: OnStep<'_>,
    ) -> Result<Collected, StorageError> {
        if !is_dry_run {
            self.space.check_writable()?;
        }
        let mut run = CollectionRun {
            store: self,
            keep: *keep,
            is_dry_run,
            done: Collected::default(),
            on_step,
            leaving: HashSet::new(),
            unlinked: HashMap::new(),
            passed: HashMap::new(),
        };
        let outcome = run.whole();
        self.space.restore_reserve();
        run.done.is_whole = outcome?.is_continue();
        let done = run.done;
        if done.is_whole && !is_dry_run {
            let summary = upkeep::summary(&done)?;
            let note =
                move |transaction: &Transaction<'_>| transaction.note_upkeep(COLLECTION, &summary);
            self.database.write_to_free(note)?;
        }
        Ok(done)
    }

    /// When collection last came to its end, in seconds since 1970, and what it did; none if it
    /// never did.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn last_collection(&self) -> Result<Option<(i64, Collected)>, StorageError> {
        let note = self.database.read(|reader| reader.last_upkeep(COLLECTION))?;
        // What a later version noted there may be more than this one understands.
        Ok(note.and_then(|note| Some((note.ended_at, serde_json::from_str(&note.summary).ok()?))))
    }

    /// How long the store has been open since collection last came to its end; none if it never
    /// did.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn since_collection(&self) -> Result<Option<Duration>, StorageError> {
        let note = self.database.read(|reader| reader.last_upkeep(COLLECTION))?;
        Ok(note.map(|note| self.database.clock().since(note.ended_tick)))
    }
}

/// One run.
struct CollectionRun<'a> {
    store: &'a Store,
    keep: Keep,
    is_dry_run: bool,
    done: Collected,
    on_step: OnStep<'a>,
    /// What a dry run would have removed so far: manifests, by repository.
    leaving: HashSet<HeldDigest>,
    /// And how many links to each blob.
    unlinked: HashMap<Digest, u64>,
    /// Of manifests that may go, up to which of the indexes that list them all leave.
    passed: HashMap<HeldDigest, Digest>,
}

/// `Break` when somebody wants the run to stop.
type Flow = Result<ControlFlow<()>, StorageError>;

/// Goes on with the next part unless the run was stopped.
macro_rules! unless_stopped {
    ($flow:expr) => {
        if $flow?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    };
}

impl CollectionRun<'_> {
    fn whole(&mut self) -> Flow {
        let ended = self.store.sweep_uploads(self.keep.uploads, self.is_dry_run)?;
        (self.done.uploads, self.done.upload_bytes) = (ended.sessions, ended.bytes);
        unless_stopped!(self.deleted_manifests(self.ago(self.keep.deleted)));
        unless_stopped!(self.tag_changes());
        unless_stopped!(self.surplus_changes());
        self.damaged_files()?;
        // Who was told what before that time, nobody knows.
        let missing = self.keep.grace.saturating_sub(self.store.told.age());
        self.done.blobs_wait_seconds =
            missing.as_secs().saturating_add(u64::from(missing.subsec_nanos() > 0));
        self.store.told.forget_old(self.keep.grace);
        if missing.is_zero() {
            unless_stopped!(self.untagged_manifests());
            unless_stopped!(self.deleted_links());
            unless_stopped!(self.links());
            unless_stopped!(self.blobs());
            unless_stopped!(self.stray_files());
        }
        if !self.is_dry_run {
            self.store.forget_named_files()?;
        }
        unless_stopped!(self.repositories());
        self.kept()
    }

    /// The last moment on the store's clock of those that lie so long ago.
    fn ago(&self, time: Duration) -> i64 {
        self.store.database.clock().ago(time)
    }

    fn step(&mut self) -> Flow {
        Ok((self.on_step)(&self.done))
    }

    /// Deleted manifests that were deleted at the tick `until` or before.
    fn deleted_manifests(&mut self, until: i64) -> Flow {
        let mut after: After = None;
        loop {
            let page = self.store.database.read(|reader| reader.expired(&after, until))?;
            let Some(last) = page.last().cloned() else { return Ok(ControlFlow::Continue(())) };
            let mut rest = page;
            while !rest.is_empty() {
                let gone = if self.is_dry_run {
                    rest.len()
                } else {
                    // What somebody copies now is for the next run.
                    let Some(_unlinking) = self.store.begin_unlinking() else {
                        return Ok(ControlFlow::Continue(()));
                    };
                    let step = rest.clone();
                    self.store
                        .database
                        .step_to_free(move |transaction| transaction.drop_expired(&step, until))?
                };
                let gone = rest.drain(..gone);
                self.done.deleted_manifests += gone.len() as u64;
                if self.is_dry_run {
                    self.leaving.extend(gone);
                }
                unless_stopped!(self.step());
            }
            after = Some(last);
        }
    }

    fn links(&mut self) -> Flow {
        let (store, grace, until) = (self.store, self.keep.grace, self.ago(self.keep.grace));
        let mut after: After = None;
        loop {
            let (leaving, begin) = (&self.leaving, &after);
            let mut page = store.database.read(|reader| {
                let mut page = reader.links(begin, until)?;
                for link in page.iter_mut().filter(|link| link.is_named && !leaving.is_empty()) {
                    let is_leaving = |manifest: &HeldDigest| leaving.contains(manifest);
                    link.is_named = reader.is_named(&link.held, &is_leaving)?;
                }
                Ok(page)
            })?;
            let Some(last) = page.last().map(|link| link.held.clone()) else {
                return Ok(ControlFlow::Continue(()));
            };
            let ahead: Vec<HeldDigest> =
                page.iter().filter(|link| link.is_ahead).map(|link| link.held.clone()).collect();
            if !self.is_dry_run && !ahead.is_empty() {
                store.database.step_to_free(move |transaction| transaction.renew_links(&ahead))?;
            }
            page.retain(|link| {
                link.is_old
                    && !link.is_named
                    && store.told.condemn(&link.name, &link.held.digest, grace)
            });
            let step: Vec<HeldDigest> = page.iter().map(|link| link.held.clone()).collect();
            let outcome = if self.is_dry_run || step.is_empty() {
                step.iter().for_each(|held| *self.unlinked.entry(held.digest).or_default() += 1);
                Ok(step.len() as u64)
            } else {
                store.database.step_to_free(move |transaction| transaction.unlink(&step, until))
            };
            let are_taken = outcome.is_ok() && !self.is_dry_run;
            let blobs = page.iter().map(|link| (&*link.name, &link.held.digest));
            store.told.release(blobs, are_taken);
            self.done.links += outcome?;
            unless_stopped!(self.step());
            after = Some(last);
        }
    }

    fn blobs(&mut self) -> Flow {
        let mut after: Option<Digest> = None;
        loop {
            let begin = after.as_ref();
            let page = self.store.database.read(|reader| reader.linked_blobs(begin))?;
            let Some(last) = page.last().map(|blob| blob.digest) else {
                return Ok(ControlFlow::Continue(()));
            };
            self.done.blobs_seen += page.len() as u64;
            let unlinked = |digest: &Digest| self.unlinked.get(digest).copied().unwrap_or(0);
            let unheld: HashMap<Digest, u64> = page
                .into_iter()
                .filter(|blob| blob.links <= unlinked(&blob.digest))
                .map(|blob| (blob.digest, blob.size))
                .collect();
            // A note that a blob is lost goes with its row, so each may count twice.
            let digests: Vec<Digest> = unheld.keys().copied().collect();
            for step in digests.chunks(STEP_ROWS / 2) {
                for digest in self.drop_blobs(step)? {
                    self.done.blobs += 1;
                    self.done.blob_bytes += unheld.get(&digest).copied().unwrap_or(0);
                }
                unless_stopped!(self.step());
            }
            after = Some(last);
        }
    }

    /// Drops the rows of blobs and then their files; returns which.
    fn drop_blobs(&self, digests: &[Digest]) -> Result<Vec<Digest>, StorageError> {
        if self.is_dry_run {
            return Ok(digests.to_vec());
        }
        // What somebody copies now is for the next run, rows and all.
        let Some(_unlinking) = self.store.begin_unlinking() else { return Ok(Vec::new()) };
        // No commit puts one of these files back before it is certain that it stays.
        let claim = self.store.claims.claim_free(digests.iter().copied());
        let step = claim.digests().to_vec();
        let drop = move |transaction: &Transaction<'_>| transaction.drop_blobs(&step);
        let dropped = self.store.database.step_to_free(drop)?;
        for digest in &dropped {
            // If it stays, it is a file without a row, which the next run finds.
            self.store.content.remove(digest)?;
        }
        Ok(dropped)
    }

    fn repositories(&mut self) -> Flow {
        let mut after = RepoId::BEFORE_ALL;
        loop {
            let page = self.store.database.read(|reader| reader.repository_ids(after))?;
            let Some((last, _)) = page.last().copied() else {
                return Ok(ControlFlow::Continue(()));
            };
            let empty = page.into_iter().filter(|(_, is_empty)| *is_empty);
            let empty: Vec<RepoId> = empty.map(|(id, _)| id).collect();
            if !empty.is_empty() {
                self.done.repositories += if self.is_dry_run {
                    empty.len() as u64
                } else {
                    self.store
                        .database
                        .step_to_free(move |transaction| transaction.drop_repositories(&empty))?
                };
            }
            unless_stopped!(self.step());
            after = last;
        }
    }
}

/// The name under which a run notes its end.
const COLLECTION: &str = "collection";
