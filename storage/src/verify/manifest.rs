//! Manifests against their digests, and what is recorded of them against what they say.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bytes::Bytes;
use oci::{Digest, Edge, Manifest, WrongSizes};

use super::walk::{Flow, VerificationRun};
use super::{Finding, Missized};
use crate::db::key::{RepoId, STEP_ROWS};
use crate::db::lost::LossOutcome;
use crate::db::verify::{HoldingRepository, Shown};
use crate::db::{Reader, Transaction};
use crate::error::StorageError;

impl VerificationRun<'_> {
    pub(super) fn walk_manifests(&mut self) -> Flow {
        loop {
            let after = self.verified.position.after.clone();
            let page =
                self.store.database.read_afresh(|reader| reader.manifests_to_verify(&after))?;
            let is_last = page.len() < STEP_ROWS;
            for digest in page {
                let mut read = 0;
                match digest.parse::<Digest>() {
                    Ok(parsed) => read = self.check_manifest(&parsed)?,
                    Err(_) => self.verified.add(Finding::Name(digest.clone())),
                }
                self.verified.manifests += 1;
                self.verified.position.after = digest;
                if self.took(read).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if is_last {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }

    /// Reads a manifest, and returns how many bytes that were.
    fn check_manifest(&mut self, digest: &Digest) -> Result<usize, StorageError> {
        let found = self.store.database.read_afresh(|reader| reader.manifest_bytes(digest))?;
        let Some((bytes, is_lost)) = found else { return Ok(0) };
        let length = bytes.len();
        let is_right = Digest::of(digest.algorithm(), &bytes) == *digest;
        match (is_right, is_lost) {
            (false, false) => self.lose_manifest(digest, bytes)?,
            (false, true) => {}
            (true, was_lost) => {
                if was_lost {
                    self.regain_manifest(digest)?;
                }
                let bytes = Bytes::from(bytes);
                self.check_holders(digest, &bytes)?;
                self.check_sizes(digest, &bytes)?;
            }
        }
        Ok(length)
    }

    fn lose_manifest(&mut self, digest: &Digest, bytes: Vec<u8>) -> Result<(), StorageError> {
        let lost = *digest;
        let lose = move |transaction: &Transaction<'_>| transaction.lose_manifest(&lost, &bytes);
        if self.how.is_dry_run || self.store.database.step_to_mend(lose)? == LossOutcome::Lost {
            self.verified.add(Finding::Manifest(*digest));
        }
        Ok(())
    }

    fn regain_manifest(&mut self, digest: &Digest) -> Result<(), StorageError> {
        let found = *digest;
        let regain = move |transaction: &Transaction<'_>| transaction.regain_manifest(&found);
        if self.how.is_dry_run || self.store.database.step_to_mend(regain)? {
            self.verified.add(Finding::ManifestFound(*digest));
        }
        Ok(())
    }

    /// Compares what each repository records of a manifest with what it says.
    fn check_holders(&mut self, digest: &Digest, bytes: &Bytes) -> Result<(), StorageError> {
        let mut after = RepoId::BEFORE_ALL;
        loop {
            let page = |reader: &Reader<'_>| reader.holders_of(digest, after);
            let page = self.store.database.read_afresh(page)?;
            for holder in &page {
                let media_type = holder.media_type.parse().map_err(|error| format!("{error}"));
                let parsed = media_type.and_then(|media_type| {
                    Manifest::of_stored(bytes.clone(), media_type, digest.algorithm())
                        .map_err(|error| error.to_string())
                });
                match parsed {
                    Ok(manifest) => {
                        self.check_record(holder, &manifest)?;
                        // What is deleted is put again only if all that it needs is there.
                        if holder.shown.is_some() {
                            self.check_type(holder, &manifest)?;
                            self.check_needed(holder, &manifest)?;
                        }
                    }
                    Err(message) => {
                        self.verified.add(Finding::ManifestUnread { digest: *digest, message });
                    }
                }
            }
            match page.last() {
                Some(last) if page.len() == STEP_ROWS => after = last.repository,
                _ => return Ok(()),
            }
        }
    }

    /// Lets a repository serve a manifest under a type that it has.
    fn check_type(
        &mut self,
        holder: &HoldingRepository,
        manifest: &Manifest,
    ) -> Result<(), StorageError> {
        let (repository, digest) = (holder.repository, *manifest.digest());
        let (kept, own) = (holder.media_type.clone(), manifest.media_type().clone());
        if kept == own.as_str() {
            return Ok(());
        }
        let (was, is) = (kept.clone(), own.clone());
        let mend = move |transaction: &Transaction<'_>| {
            transaction.mend_type(repository, &digest, &was, is.as_str())
        };
        if self.how.is_dry_run || self.store.database.step_to_free(mend)? {
            let name = |reader: &Reader<'_>| reader.repository_name(repository);
            let repository = self.store.database.read(name)?;
            self.verified.add(Finding::Type { repository, digest, kept, own });
        }
        Ok(())
    }

    /// Compares the sizes that a manifest says with those of what the store has.
    fn check_sizes(&mut self, digest: &Digest, bytes: &Bytes) -> Result<(), StorageError> {
        // What cannot be read was told with its holders.
        let Ok(all) = Manifest::sizes_of_stored(bytes) else { return Ok(()) };
        let mut wrong = WrongSizes::default();
        for page in all.chunks(STEP_ROWS) {
            let sizes = |reader: &Reader<'_>| reader.sizes_of(page);
            for (said, found) in page.iter().zip(self.store.database.read(sizes)?) {
                wrong.compare(*said, found);
            }
        }
        if wrong.count == 0 {
            return Ok(());
        }
        let holder = |reader: &Reader<'_>| reader.first_holder_of(digest);
        // What is deleted harms nobody.
        if let Some(repository) = self.store.database.read(holder)? {
            self.verified.add_missized(Missized { repository, manifest: *digest, wrong });
        }
        Ok(())
    }

    fn check_record(
        &mut self,
        holder: &HoldingRepository,
        manifest: &Manifest,
    ) -> Result<(), StorageError> {
        let recorded = self.recorded_edges(holder.repository, manifest.digest())?;
        let text = |edge: &Edge| (edge.kind.as_str().to_owned(), edge.child.to_string());
        let expected: BTreeSet<_> = manifest.edges().iter().map(text).collect();
        let is_missing = |edge: &&Edge| !recorded.contains(&text(edge));
        let missing: Vec<Edge> = manifest.edges().iter().filter(is_missing).copied().collect();
        let surplus: Vec<_> = recorded.difference(&expected).cloned().collect();
        let shown = Shown::of(manifest);
        let is_shown_right = holder.shown.as_ref().is_none_or(|found| *found == shown);
        if missing.is_empty() && surplus.is_empty() && is_shown_right {
            return Ok(());
        }
        let (repository, digest) = (holder.repository, *manifest.digest());
        if self.how.is_dry_run {
            let is_held = |reader: &Reader<'_>| reader.holds_or_held_manifest(repository, &digest);
            if self.store.database.read_afresh(is_held)? {
                self.verified.add(Finding::Record(digest));
            }
            return Ok(());
        }
        // What was deleted since its holder was read has nothing to mend: it counts only if a step
        // still finds it.
        let mut is_wrong = false;
        for step in missing.chunks(STEP_ROWS).map(<[Edge]>::to_vec) {
            is_wrong |= self.store.database.step_to_mend(move |transaction| {
                transaction.mend_edges(repository, &digest, &step)
            })?;
        }
        for step in surplus.chunks(STEP_ROWS).map(<[_]>::to_vec) {
            is_wrong |= self.store.database.step_to_mend(move |transaction| {
                transaction.remove_edges(repository, &digest, &step)
            })?;
        }
        if !is_shown_right {
            is_wrong |= self.store.database.step_to_mend(move |transaction| {
                transaction.mend_shown(repository, &digest, &shown)
            })?;
        }
        if is_wrong {
            self.verified.add(Finding::Record(digest));
        }
        Ok(())
    }

    fn recorded_edges(
        &self,
        repository: RepoId,
        parent: &Digest,
    ) -> Result<BTreeSet<(String, String)>, StorageError> {
        let (mut all, mut after) = (BTreeSet::new(), (String::new(), String::new()));
        loop {
            let page = |reader: &Reader<'_>| reader.edges_of(repository, parent, &after);
            let page = self.store.database.read_afresh(page)?;
            let is_last = page.len() < STEP_ROWS;
            if let Some(last) = page.last() {
                after.clone_from(last);
            }
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }
}
