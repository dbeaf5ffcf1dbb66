//! Verifying the store: now, or on a schedule; and what is lost.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use oci::{Digest, Reference};
use serde::{Deserialize, Serialize};

use super::Store;
use crate::content::{Identity, Reread};
use crate::db::key::RepoId;
use crate::db::lost::{HurtManifest, LossOutcome, Lost, LostDigests};
use crate::db::upkeep;
use crate::db::{Reader, Transaction};
use crate::error::StorageError;
use crate::in_memory::claims::Claim;
use crate::page::Page;
use crate::verify::{
    BrokenImages, Finding, Image, Position, Scrub, Verification, VerificationRun, Verified,
};

impl Store {
    /// Reads everything again and mends what it can, or only tells: see [`Finding`]. `on_step`
    /// hears how far it is, and stops it. Pushes and pulls go on meanwhile.
    ///
    /// # Errors
    /// Trouble with the database, or with the disk that is not a single file's.
    pub fn verify(
        &self,
        how: &Verification,
        on_step: &mut dyn FnMut(&Verified) -> ControlFlow<()>,
    ) -> Result<Verified, StorageError> {
        if !how.is_dry_run {
            self.space.check_writable()?;
        }
        let verified = VerificationRun::new(self, *how, Verified::default(), on_step).run()?;
        if verified.is_done && !how.is_dry_run {
            self.note_verified(&verified)?;
        }
        Ok(verified)
    }

    /// Verifies the store if that is due: goes on with the verification that was cut short, or
    /// begins the next; none if the last one ended not long ago.
    ///
    /// # Errors
    /// Those of [`Store::verify`].
    pub fn scrub(
        &self,
        how: &Scrub,
        on_step: &mut dyn FnMut(&Verified) -> ControlFlow<()>,
    ) -> Result<Option<Verified>, StorageError> {
        self.space.check_writable()?;
        let Some(begun) = self.due(how.interval)? else { return Ok(None) };
        let mut saved = Saved::of(&begun);
        let mut outcome = Ok(());
        let mut step = |verified: &Verified| {
            if saved.is_far_from(verified) {
                saved = Saved::of(verified);
                outcome = self.save(&saved);
                if outcome.is_err() {
                    return ControlFlow::Break(());
                }
            }
            on_step(verified)
        };
        let verification =
            Verification { bytes_per_second: how.bytes_per_second, is_dry_run: false };
        let verified = VerificationRun::new(self, verification, begun, &mut step).run()?;
        outcome?;
        match verified.is_done {
            true => self.note_verified(&verified)?,
            false => self.save(&Saved::of(&verified))?,
        }
        Ok(Some(verified))
    }

    /// When the store was last verified to its end, in seconds since 1970; none if it never was.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn last_verified(&self) -> Result<Option<i64>, StorageError> {
        let noted = self.database.read(|reader| reader.last_upkeep(VERIFY))?;
        Ok(noted.map(|note| note.ended_at))
    }

    /// How much is lost.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn lost(&self) -> Result<Lost, StorageError> {
        self.database.read(|reader| reader.count_lost())
    }

    /// What is lost, at most `limit` blobs and as many manifests.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn lost_digests(&self, limit: usize) -> Result<LostDigests, StorageError> {
        self.database.read(|reader| reader.lost_digests(limit))
    }

    /// The images that cannot be pulled because of what is lost, or would be if what these
    /// findings say were called lost; `limit` of them. Nothing is walked if nothing is lost.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn broken_images(
        &self,
        findings: &[Finding],
        limit: usize,
    ) -> Result<BrokenImages, StorageError> {
        let losses = findings.iter().filter_map(|finding| match finding {
            Finding::Blob { digest, .. } | Finding::Manifest(digest) => Some(digest.to_string()),
            _ => None,
        });
        let also: HashSet<String> = losses.collect();
        let mut broken = BrokenImages::default();
        if also.is_empty() && self.lost()?.is_nothing() {
            return Ok(broken);
        }
        let mut after = (RepoId::BEFORE_ALL, String::new());
        loop {
            let page = |reader: &Reader<'_>| reader.hurt_manifests(&also, &after);
            let Page { entries, next } = self.database.read(page)?;
            for image in entries.into_iter().flat_map(images) {
                match broken.images.len() < limit {
                    true => broken.images.push(image),
                    false => broken.more += 1,
                }
            }
            match next {
                Some(next) => after = next,
                None => break,
            }
        }
        broken.images.sort_by_cached_key(Image::to_string);
        Ok(broken)
    }

    /// Calls a blob lost and puts its file aside; none if by now another file is in its place.
    ///
    /// Crash argument: the row that hides the blob is durable before its file is touched, and stays
    /// until a push has put a good file in place, synced, and cleared the row in the transaction
    /// that it acknowledges. A crash in between leaves a hidden blob with its bad file, here or put
    /// aside, or with the good file of a push that nobody acknowledged yet: wrong bytes are
    /// answered in no state. A push of this digest waits for the claim, so the file that is moved
    /// is the one that was read.
    pub(crate) fn lose_blob(
        &self,
        digest: &Digest,
        reread: &Reread,
    ) -> Result<Option<(LossOutcome, Option<PathBuf>)>, StorageError> {
        let hidden = self.hide_blob(digest, reread.identity.as_ref())?;
        let Some((_claim, losing)) = hidden else { return Ok(None) };
        if losing == LossOutcome::IsGone || reread.identity.is_none() || reread.is_unreadable() {
            // What cannot be read now may be good, and is answered again when it was read.
            return Ok(Some((losing, None)));
        }
        // Where it has to stay, the row hides it.
        Ok(Some((losing, self.content.set_aside(digest))))
    }

    /// Calls a blob lost and leaves its file; none if by now another file is in its place. Nobody
    /// else works on the file until the claim is dropped.
    pub(super) fn hide_blob(
        &self,
        digest: &Digest,
        identity: Option<&Identity>,
    ) -> Result<Option<(Claim<'_>, LossOutcome)>, StorageError> {
        let claim = self.claims.claim(digest);
        if self.content.identity(digest).as_ref() != identity {
            return Ok(None);
        }
        let lost = *digest;
        let lose = move |transaction: &Transaction<'_>| transaction.lose_blob(&lost);
        Ok(Some((claim, self.database.step_to_free(lose)?)))
    }

    /// Calls a blob lost no more whose file was read and is good, and records its size; none if by
    /// now another file is in its place, false if that was so already.
    ///
    /// Crash argument: whoever put the file there may not have synced it; that is done before the
    /// row goes.
    pub(crate) fn regain_blob(
        &self,
        digest: &Digest,
        reread: &Reread,
    ) -> Result<Option<bool>, StorageError> {
        let _claim = self.claims.claim(digest);
        let synced = self.content.sync_reread(digest, reread);
        if !synced.map_err(|error| self.space.explained(error))? {
            return Ok(None);
        }
        let (found, size) = (*digest, reread.length);
        let regain = move |transaction: &Transaction<'_>| {
            let is_mended = transaction.mend_size(&found, size)?;
            Ok(transaction.regain_blob(&found)? || is_mended)
        };
        self.database.step_to_mend(regain).map(Some)
    }

    /// Where a verification that is due begins; none if none is.
    fn due(&self, interval: Duration) -> Result<Option<Verified>, StorageError> {
        let noted = |task| self.database.read(|reader| reader.last_upkeep(task));
        if let Some(note) = noted(POSITION)? {
            // What a later version wrote there makes this one begin anew.
            let saved = serde_json::from_str::<Saved>(&note.summary).unwrap_or_default();
            return Ok(Some(saved.verified()));
        }
        let clock = self.database.clock();
        let is_due = noted(VERIFY)?.is_none_or(|note| clock.since(note.ended_tick) >= interval);
        Ok(is_due.then(Verified::default))
    }

    fn save(&self, saved: &Saved) -> Result<(), StorageError> {
        let text = upkeep::summary(saved)?;
        self.database.step_to_free(move |transaction| transaction.note_upkeep(POSITION, &text))
    }

    fn note_verified(&self, verified: &Verified) -> Result<(), StorageError> {
        let text = upkeep::summary(&Saved::of(verified))?;
        self.database.step_to_free(move |transaction| {
            transaction.forget_upkeep(POSITION)?;
            transaction.note_upkeep(VERIFY, &text)
        })
    }
}

/// What is kept of a verification over restarts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Saved {
    position: Position,
    manifests: u64,
    blobs: u64,
    blob_bytes: u64,
    findings: u64,
}

impl Saved {
    fn of(verified: &Verified) -> Self {
        Self {
            position: verified.position.clone(),
            manifests: verified.manifests,
            blobs: verified.blobs,
            blob_bytes: verified.blob_bytes,
            findings: verified.more_findings + verified.findings.len() as u64,
        }
    }

    fn verified(self) -> Verified {
        Verified {
            manifests: self.manifests,
            blobs: self.blobs,
            blob_bytes: self.blob_bytes,
            more_findings: self.findings,
            position: self.position,
            ..Verified::default()
        }
    }

    /// Whether so much was read since that reading it again would be a pity.
    fn is_far_from(&self, now: &Verified) -> bool {
        self.position.phase != now.position.phase
            || now.manifests - self.manifests >= SAVE_ENTRIES
            || self.position.after != now.position.after
                && (now.blobs - self.blobs >= SAVE_ENTRIES
                    || now.blob_bytes.saturating_sub(self.blob_bytes) >= SAVE_BYTES)
    }
}

/// The names of a manifest that is hurt: its tags, or its digest if nothing else leads to it.
fn images(manifest: HurtManifest) -> Vec<Image> {
    let HurtManifest { repository, digest, tags, is_listed } = manifest;
    let references = match tags.is_empty() {
        true if is_listed => Vec::new(),
        true => vec![Reference::Digest(digest)],
        false => tags.into_iter().map(Reference::Tag).collect(),
    };
    let image = |reference| Image { repository: repository.clone(), reference };
    references.into_iter().map(image).collect()
}

/// The name of the task whose end is kept.
const VERIFY: &str = "verify";
/// The name of the task that keeps where a verification stands.
const POSITION: &str = "verify-position";
/// Manifests or blobs after which that is kept.
const SAVE_ENTRIES: u64 = 256;
/// Bytes after which it is kept.
const SAVE_BYTES: u64 = 1024 * 1024 * 1024;
