//! The walk through a store, a page at a time, in the order of [`VerifyPhase`].

use std::ops::ControlFlow;

use durable::IoError;
use oci::{Algorithm, Digest};

use super::pace::Pace;
use super::{Finding, OnStep, Position, Verification, Verified, VerifyPhase};
use crate::content::{Listing, Reread};
use crate::db::key::{RepoId, STEP_ROWS};
use crate::db::lost::LossOutcome;
use crate::db::repository::HeldBlob;
use crate::db::verify::{BlobRow, Dangling, NamingTable};
use crate::db::{Reader, Transaction};
use crate::error::{StorageError, Trouble};
use crate::layout::Layout;
use crate::page::Page;
use crate::store::Store;

/// One verification at work.
pub(crate) struct VerificationRun<'a> {
    pub(super) store: &'a Store,
    pub(super) how: Verification,
    pub(super) verified: Verified,
    pace: Pace,
    on_step: OnStep<'a>,
}

/// Whether to go on, or trouble.
pub(super) type Flow = Result<ControlFlow<()>, StorageError>;

impl<'a> VerificationRun<'a> {
    /// A walk that begins, or goes on from where an earlier one was.
    pub(crate) fn new(
        store: &'a Store,
        how: Verification,
        begun: Verified,
        on_step: OnStep<'a>,
    ) -> Self {
        Self { store, how, verified: begun, pace: Pace::new(how.bytes_per_second), on_step }
    }

    /// Walks to the end, or until it is told to stop.
    pub(crate) fn run(mut self) -> Result<Verified, StorageError> {
        loop {
            let phase = self.verified.position.phase;
            match self.walk(phase) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Ok(self.verified),
                // What lies behind the broken place of one table cannot be reached by its key.
                Err(StorageError::Failed(Trouble::DatabaseDamaged(message))) => {
                    self.verified.add(Finding::Database(message));
                }
                Err(error) => return Err(error),
            }
            let Some(next) = phase.next() else {
                self.verified.is_done = true;
                return Ok(self.verified);
            };
            self.verified.position = Position { phase: next, ..Position::default() };
        }
    }

    fn walk(&mut self, phase: VerifyPhase) -> Flow {
        match phase {
            VerifyPhase::Manifests => self.walk_manifests(),
            VerifyPhase::Holders => self.walk_naming(NamingTable::Manifests),
            VerifyPhase::Tags => self.walk_naming(NamingTable::Tags),
            VerifyPhase::Links => self.walk_naming(NamingTable::Links),
            VerifyPhase::Blobs => self.walk_blobs(),
            VerifyPhase::Files => self.walk_files(),
        }
    }

    /// Tells how far it is, and asks whether to go on.
    pub(super) fn step(&mut self) -> ControlFlow<()> {
        (self.on_step)(&self.verified)
    }

    /// Counts bytes that were read, and waits until more may be.
    pub(super) fn took(&mut self, bytes: usize) -> ControlFlow<()> {
        self.pace.took(bytes);
        self.step()?;
        while let Some(time) = self.pace.wait() {
            std::thread::sleep(time);
            self.step()?;
        }
        ControlFlow::Continue(())
    }

    fn walk_naming(&mut self, naming: NamingTable) -> Flow {
        loop {
            let Position { number, after, .. } = &self.verified.position;
            let after = (RepoId::kept(*number), after.clone());
            let page = |reader: &Reader<'_>| reader.dangling(naming, &after);
            let Page { entries, next } = self.store.database.read(page)?;
            for row in entries {
                self.mend_naming(naming, row)?;
            }
            let Some((repository, after)) = next else { return Ok(ControlFlow::Continue(())) };
            let number = repository.number();
            let phase = self.verified.position.phase;
            self.verified.position = Position { phase, number, after };
            if self.step().is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }

    fn mend_naming(&mut self, naming: NamingTable, row: Dangling) -> Result<(), StorageError> {
        let Dangling { place, repository, digest } = row;
        match naming {
            NamingTable::Manifests => match digest.parse::<Digest>() {
                Ok(parsed) => {
                    let stand_in =
                        move |transaction: &Transaction<'_>| transaction.stand_in(&parsed);
                    // Another repository may have named it before.
                    let finding = Finding::Manifest(parsed);
                    let is_new = match self.how.is_dry_run {
                        true => !self.verified.findings.contains(&finding),
                        false => self.store.database.step_to_mend(stand_in)? == LossOutcome::Lost,
                    };
                    if is_new {
                        self.verified.add(finding);
                    }
                }
                Err(_) => self.verified.add(Finding::Name(digest)),
            },
            NamingTable::Tags => {
                self.verified.add(Finding::Tag { repository, tag: place.1, digest });
            }
            NamingTable::Links => {
                let remove = move |transaction: &Transaction<'_>| transaction.remove_link(&place);
                if self.how.is_dry_run || self.store.database.step_to_mend(remove)? {
                    self.verified.add(Finding::Link { repository, digest });
                }
            }
        }
        Ok(())
    }

    fn walk_blobs(&mut self) -> Flow {
        loop {
            let after = self.verified.position.after.clone();
            let page = self.store.database.read_afresh(|reader| reader.blobs_to_verify(&after))?;
            let is_last = page.len() < STEP_ROWS;
            for BlobRow { digest, size } in page {
                match digest.parse::<Digest>() {
                    Ok(parsed) if self.check_blob(&parsed, size)?.is_break() => {
                        return Ok(ControlFlow::Break(()));
                    }
                    Ok(_) => {}
                    Err(_) => self.verified.add(Finding::Name(digest.clone())),
                }
                self.verified.position.after = digest;
                if self.step().is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if is_last {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }

    fn check_blob(&mut self, digest: &Digest, size: u64) -> Flow {
        let content = &self.store.content;
        let before = self.verified.blob_bytes;
        let mut has_file = false;
        for attempt in 0..TRIES {
            self.verified.blob_bytes = before;
            let mut on_piece = |bytes: usize| {
                self.verified.blob_bytes += bytes as u64;
                self.took(bytes)
            };
            match content.reread(digest, size, &mut on_piece)? {
                ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
                // A disk may stumble once.
                ControlFlow::Continue(reread) if reread.is_unreadable() && attempt == 0 => {}
                ControlFlow::Continue(reread) => {
                    has_file = reread.identity.is_some();
                    if self.settle(digest, size, &reread)? {
                        break;
                    }
                    // Somebody put another file there meanwhile: that one counts.
                }
            }
        }
        // What has no file was not read.
        self.verified.blobs += u64::from(has_file);
        Ok(ControlFlow::Continue(()))
    }

    /// Acts on what a file was found to be; false if by now another one is in its place.
    fn settle(
        &mut self,
        digest: &Digest,
        size: u64,
        reread: &Reread,
    ) -> Result<bool, StorageError> {
        let row = self.store.database.read_afresh(|reader| reader.stored_blob(digest))?;
        let Some(HeldBlob { is_lost, .. }) = row else { return Ok(true) };
        let is_dry_run = self.how.is_dry_run;
        let Some(damage) = reread.damage.clone() else {
            let finding = match is_lost {
                true => Finding::BlobFound(*digest),
                false if reread.length != size => Finding::BlobSize(*digest),
                false => return Ok(true),
            };
            match is_dry_run {
                true => self.verified.add(finding),
                false => match self.store.regain_blob(digest, reread)? {
                    None => return Ok(false),
                    Some(true) => self.verified.add(finding),
                    Some(false) => {}
                },
            }
            return Ok(true);
        };
        if is_lost && reread.identity.is_none() {
            return Ok(true);
        }
        let put_aside = match is_dry_run {
            true => None,
            false => match self.store.lose_blob(digest, reread)? {
                None => return Ok(false),
                Some((LossOutcome::IsGone, _)) => return Ok(true),
                // Hidden before, and its file will not move.
                Some((LossOutcome::WasLost, None)) => return Ok(true),
                Some((_, put_aside)) => put_aside,
            },
        };
        self.verified.add(Finding::Blob { digest: *digest, damage, put_aside });
        Ok(true)
    }

    fn walk_files(&mut self) -> Flow {
        let done = usize::try_from(self.verified.position.number).unwrap_or(0);
        for (algorithm, prefix) in Layout::shards().skip(done) {
            self.walk_shard(algorithm, prefix)?;
            self.verified.position.number += 1;
            if self.step().is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Counts the files of a directory that no row names.
    fn walk_shard(&mut self, algorithm: Algorithm, prefix: u8) -> Result<(), StorageError> {
        let digests = match self.store.content.list(algorithm, prefix) {
            Ok(Listing { blobs, .. }) => blobs,
            Err(StorageError::Failed(Trouble::Io(IoError { message, .. }))) => {
                let path = self.store.layout.shard(algorithm, prefix);
                self.verified.add(Finding::Directory { path, message });
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for page in digests.chunks(STEP_ROWS) {
            let without_rows = |reader: &Reader<'_>| reader.without_rows(page);
            for digest in self.store.database.read(without_rows)? {
                self.verified.stray_files += 1;
                self.verified.stray_bytes +=
                    self.store.content.bytes_under_name(&digest).ok().flatten().unwrap_or(0);
            }
        }
        Ok(())
    }
}

/// How often a file is read that is another one afterwards.
const TRIES: usize = 3;
