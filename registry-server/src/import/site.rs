//! The owner's side of an import: the import's directory, the threads that fill it, and the way to
//! the owner of the store.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use anyhow::Context;
use archive::bundle::RegistryId;
use oci::{Digest, RepoName, Tag};
use storage::{CopyOutcome, ImportNumber, Layout, StagedFile, Staging, StorageError};

use super::pool::{Done, Job, Pool};
use crate::backup::Listener;
use crate::bundle_notes::note;
use crate::command::Command;
use crate::command::bundle::{FoundBundle, ListBundles, WholeVolume};
use crate::command::data::Identify;
use crate::command::import::{
    BeginImport, EndImport, LinkBlobs, LookAtTags, LookForBlobs, LookForManifests, PublishBlobs,
    PutImage, PutOutcome,
};
use crate::control::Owner;
use crate::limits::Limits;

/// What is at work as the owner of the data.
pub(super) struct Site {
    owner: Owner,
    data: PathBuf,
    at_work: Option<AtWork>,
}

/// An import that has begun.
struct AtWork {
    import: ImportNumber,
    /// What comes as a stream, one blob after the other.
    coming: Option<StagedFile>,
    // Dropped in this order: the threads end before the directory goes.
    pool: Pool,
    staging: Arc<Staging>,
}

impl Site {
    /// Reaches the owner of the store. Changes nothing.
    pub(super) fn reach(data: &Path, allow_network_fs: bool) -> anyhow::Result<Self> {
        let owner = Owner::reach(data, allow_network_fs)?;
        Ok(Self { owner, data: data.to_owned(), at_work: None })
    }

    /// Whether the disk has room for so many bytes.
    pub(super) fn check_room(&self, bytes: u64) -> Result<(), StorageError> {
        let reserve = Limits::default().reserve_bytes;
        Staging::check_room(&Layout::new(&self.data), reserve, bytes)
    }

    /// Those of these blobs that the registry does not have.
    pub(super) fn lacking(&mut self, digests: &[Digest]) -> anyhow::Result<Vec<Digest>> {
        let mut lacking = Vec::new();
        for digests in digests.chunks(BLOBS_AT_ONCE) {
            lacking.extend(self.owner.run(LookForBlobs { digests: digests.to_vec() })?);
        }
        Ok(lacking)
    }

    /// Those of these manifests that a repository does not hold.
    pub(super) fn lacking_manifests(
        &mut self,
        repository: &RepoName,
        digests: &[Digest],
    ) -> anyhow::Result<Vec<Digest>> {
        let mut lacking = Vec::new();
        for digests in digests.chunks(BLOBS_AT_ONCE) {
            let (repository, digests) = (repository.clone(), digests.to_vec());
            lacking.extend(self.owner.run(LookForManifests { repository, digests })?);
        }
        Ok(lacking)
    }

    /// What these tags name.
    pub(super) fn named_by(
        &mut self,
        repository: &RepoName,
        tags: &[Tag],
    ) -> anyhow::Result<Vec<Option<Digest>>> {
        let mut named = Vec::new();
        for tags in tags.chunks(NAMES_AT_ONCE) {
            let (repository, tags) = (repository.clone(), tags.to_vec());
            named.extend(self.owner.run(LookAtTags { repository, tags })?);
        }
        Ok(named)
    }

    /// Begins to import: from here on the registry changes. `done` hears of each blob.
    pub(super) fn begin(
        &mut self,
        sources: Vec<String>,
        done: &mpsc::Sender<Done>,
        listener: &Listener,
    ) -> anyhow::Result<ImportNumber> {
        let import = self.owner.run(BeginImport { sources })?;
        let reserve = Limits::default().reserve_bytes;
        let staging = Arc::new(Staging::begin(&Layout::new(&self.data), reserve)?);
        let pool = Pool::start(&staging, done, listener).context("cannot start a thread")?;
        self.at_work = Some(AtWork { import, coming: None, pool, staging });
        Ok(import)
    }

    /// Whether a file can be cloned into the import's directory.
    pub(super) fn can_clone(&self, from: &File) -> anyhow::Result<bool> {
        Ok(self.at_work()?.staging.can_clone(from)?)
    }

    /// Has a blob read into the import's directory.
    pub(super) fn read(&self, job: Job) -> anyhow::Result<()> {
        self.at_work()?.pool.read(job);
        Ok(())
    }

    /// Begins a blob that comes piece by piece, `size` bytes of it.
    pub(super) fn begin_blob(&mut self, digest: &Digest, size: u64) -> anyhow::Result<()> {
        let at_work = self.at_work.as_mut().context(NOT_BEGUN)?;
        at_work.staging.check_own_room(size)?;
        at_work.coming = Some(at_work.staging.create(digest)?);
        Ok(())
    }

    /// Adds a piece to the blob that comes.
    pub(super) fn add_to_blob(&mut self, piece: &[u8]) -> anyhow::Result<()> {
        let coming = self.at_work.as_mut().and_then(|at_work| at_work.coming.as_mut());
        Ok(coming.context(NOT_BEGUN)?.write(piece)?)
    }

    /// Ends the blob that came; false if its bytes are wrong.
    pub(super) fn end_blob(&mut self) -> anyhow::Result<bool> {
        let coming = self.at_work.as_mut().and_then(|at_work| at_work.coming.take());
        Ok(coming.context(NOT_BEGUN)?.finish()? != CopyOutcome::Wrong)
    }

    /// Makes blobs that were read a repository's.
    pub(super) fn publish(
        &mut self,
        repository: &RepoName,
        digests: &[Digest],
    ) -> anyhow::Result<()> {
        for digests in digests.chunks(BLOBS_AT_ONCE) {
            let (staging, repository) = (self.at_work()?.staging.id(), repository.clone());
            self.run(PublishBlobs { staging, repository, digests: digests.to_vec() })?;
        }
        Ok(())
    }

    /// Gives a repository blobs that the registry has; returns those that it does not have.
    pub(super) fn link(
        &mut self,
        repository: &RepoName,
        digests: &[Digest],
    ) -> anyhow::Result<Vec<Digest>> {
        let mut lacking = Vec::new();
        for digests in digests.chunks(BLOBS_AT_ONCE) {
            let (repository, digests) = (repository.clone(), digests.to_vec());
            lacking.extend(self.run(LinkBlobs { repository, digests })?);
        }
        Ok(lacking)
    }

    /// Stores manifests all of whose blobs their repository has, and lets tags name the image. A
    /// manifest without bytes came with a stream, and lies in the import's directory.
    pub(super) fn put(
        &mut self,
        repository: RepoName,
        manifests: Vec<(Digest, Option<Vec<u8>>)>,
        image: Digest,
        tags: Vec<Tag>,
    ) -> anyhow::Result<PutOutcome> {
        let AtWork { import, staging, .. } = self.at_work()?;
        let (import, staging) = (*import, Arc::clone(staging));
        let (mut named, mut staged) = (Vec::with_capacity(manifests.len()), Vec::new());
        for (digest, bytes) in manifests {
            named.push(digest);
            let Some(bytes) = bytes else { continue };
            let mut file = staging.create(&digest)?;
            file.write(&bytes)?;
            if file.finish_to_be_read() == CopyOutcome::Wrong {
                let why = format!("{digest} has other bytes by now than when it was looked at");
                return Ok(PutOutcome::Refused(why));
            }
            staged.push(digest);
        }
        let (id, manifests) = (staging.id(), named);
        let put = PutImage { import, staging: id, repository, manifests, image, tags };
        let outcome = self.run(put)?;
        staged.iter().try_for_each(|digest| staging.remove(digest))?;
        Ok(outcome)
    }

    /// Ends it: all was done that could be.
    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        let import = self.at_work()?.import;
        self.run(EndImport { import })?;
        self.at_work = None;
        Ok(())
    }

    /// Remembers a volume that an import took; false if there is no room for that.
    pub(super) fn note(
        &mut self,
        volume: WholeVolume,
        digests: &[Digest],
        import: ImportNumber,
    ) -> anyhow::Result<bool> {
        note(volume, digests, Some(import), &mut |step| self.owner.run(step))
    }

    /// The bundles that were taken before.
    pub(super) fn taken_bundles(&mut self) -> anyhow::Result<Vec<FoundBundle>> {
        self.owner.run(ListBundles { is_taken: true })
    }

    /// What tells the registry from others.
    pub(super) fn identity(&mut self) -> anyhow::Result<RegistryId> {
        let text = self.owner.run(Identify {})?;
        text.parse().context("the running server's answer makes no sense")
    }

    fn run<C: Command>(&mut self, command: C) -> anyhow::Result<C::Reply> {
        self.owner.run(command)
    }

    fn at_work(&self) -> anyhow::Result<&AtWork> {
        self.at_work.as_ref().context(NOT_BEGUN)
    }
}

/// What is said where the order of things is wrong.
const NOT_BEGUN: &str = "the import has not begun";
/// Blobs that one command names: their digests fit into it, and so many are published at once.
const BLOBS_AT_ONCE: usize = 128;
/// Tags, or manifests, that one command names.
pub(super) const NAMES_AT_ONCE: usize = 64;
