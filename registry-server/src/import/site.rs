//! The owner's side of an import: the import's directory, the threads that fill it, and the way to
//! the owner of the store.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use anyhow::Context;
use archive::bundle::RegistryId;
use oci::{Digest, RepoName, Tag};
use storage::{ImportNumber, Layout, RepositoryBlobs, StagedFile, Staging, StorageError};

use super::pool::{Done, Job, Pool, cut_short};
use crate::backup::Listener;
use crate::bundle_notes::{identity, note};
use crate::command::bundle::{FoundBundle, ListBundles, WholeVolume};
use crate::command::import::{
    BeginImport, EndImport, LinkBlobs, LookAtTags, LookForBlobs, LookForManifests, NewImage,
    PublishBlobs, PutImages, PutOutcome,
};
use crate::control::Session;
use crate::limits::Limits;

/// What is at work as the owner of the data.
pub(super) struct Site {
    session: Session,
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

/// An image, or a part of one, whose manifests were read.
pub(super) struct ReadImage {
    pub(super) repository: RepoName,
    /// One without bytes came with a stream, and lies in the import's directory.
    pub(super) manifests: Vec<(Digest, Option<Vec<u8>>)>,
    /// The image itself: one of these, or one that the repository has.
    pub(super) image: Digest,
    pub(super) tags: Vec<Tag>,
}

impl Site {
    /// Reaches the owner of the store. Changes nothing.
    pub(super) fn reach(data: &Path, allow_network_fs: bool) -> anyhow::Result<Self> {
        let session = Session::begin(data, allow_network_fs)?;
        Ok(Self { session, data: data.to_owned(), at_work: None })
    }

    /// Whether the disk has room for so many bytes.
    pub(super) fn check_room(&self, bytes: u64) -> Result<(), StorageError> {
        let reserve = Limits::default().reserve_bytes;
        Staging::check_room(&Layout::new(&self.data), reserve, bytes)
    }

    /// Those of these blobs that the registry does not have.
    pub(super) fn lacking(&self, digests: &[Digest]) -> anyhow::Result<Vec<Digest>> {
        let mut lacking = Vec::new();
        for digests in digests.chunks(BLOBS_AT_ONCE) {
            lacking.extend(self.session.ask(LookForBlobs { digests: digests.to_vec() })?);
        }
        Ok(lacking)
    }

    /// Those of these manifests that a repository does not hold.
    pub(super) fn lacking_manifests(
        &self,
        repository: &RepoName,
        digests: &[Digest],
    ) -> anyhow::Result<Vec<Digest>> {
        let mut lacking = Vec::new();
        for digests in digests.chunks(BLOBS_AT_ONCE) {
            let (repository, digests) = (repository.clone(), digests.to_vec());
            lacking.extend(self.session.ask(LookForManifests { repository, digests })?);
        }
        Ok(lacking)
    }

    /// What these tags name.
    pub(super) fn named_by(
        &self,
        repository: &RepoName,
        tags: &[Tag],
    ) -> anyhow::Result<Vec<Option<Digest>>> {
        let mut named = Vec::new();
        for tags in tags.chunks(NAMES_AT_ONCE) {
            let (repository, tags) = (repository.clone(), tags.to_vec());
            named.extend(self.session.ask(LookAtTags { repository, tags })?);
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
        let import = self.session.ask(BeginImport { sources })?;
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

    /// Ends the blob that came, if `is_whole`; false if its bytes are wrong, or not all came.
    pub(super) fn end_blob(&mut self, is_whole: bool) -> anyhow::Result<bool> {
        let at_work = self.at_work.as_mut().context(NOT_BEGUN)?;
        let coming = at_work.coming.take().context(NOT_BEGUN)?;
        let Some(file) = is_whole.then(|| coming.checked()).flatten() else { return Ok(false) };
        at_work.pool.lay_by(file).map_err(|error| cut_short(&error))?;
        Ok(true)
    }

    /// Makes blobs that were read those of repositories, once they are synced.
    pub(super) fn publish(&self, blobs: &[(RepoName, Digest)]) -> anyhow::Result<()> {
        for some in blobs.chunks(BLOBS_AT_ONCE) {
            let AtWork { pool, staging, .. } = self.at_work()?;
            let digests: Vec<Digest> = some.iter().map(|(_, digest)| *digest).collect();
            pool.sync(&digests).map_err(|error| cut_short(&error))?;
            let (staging, blobs) = (staging.id(), by_repository(some));
            self.session.ask(PublishBlobs { staging, blobs })?;
        }
        Ok(())
    }

    /// Gives repositories blobs that the registry has; returns those that it does not have.
    pub(super) fn link(
        &self,
        blobs: &[(RepoName, Digest)],
    ) -> anyhow::Result<HashSet<(RepoName, Digest)>> {
        let mut lacking = HashSet::new();
        for some in blobs.chunks(BLOBS_AT_ONCE) {
            let blobs = by_repository(some);
            let lacks = self.session.ask(LinkBlobs { blobs: blobs.clone() })?;
            for (RepositoryBlobs { repository, .. }, digests) in blobs.into_iter().zip(lacks) {
                lacking.extend(digests.into_iter().map(|digest| (repository.clone(), digest)));
            }
        }
        Ok(lacking)
    }

    /// Stores images all of whose blobs their repositories have; says what became of each.
    pub(super) fn put(&self, images: Vec<ReadImage>) -> anyhow::Result<Vec<PutOutcome>> {
        let AtWork { import, staging, .. } = self.at_work()?;
        let (mut outcomes, mut asked, mut staged) = (Vec::new(), Vec::new(), Vec::new());
        for ReadImage { repository, manifests, image, tags } in images {
            outcomes.push(stage(staging, &manifests, &mut staged)?.map(PutOutcome::Refused));
            if let Some(None) = outcomes.last() {
                let manifests = manifests.into_iter().map(|(digest, _)| digest).collect();
                asked.push(NewImage { repository, manifests, image, tags });
            }
        }
        let put = PutImages { import: *import, staging: staging.id(), images: asked };
        let mut put = match put.images.is_empty() {
            true => Vec::new(),
            false => self.session.ask(put)?,
        }
        .into_iter();
        staged.iter().try_for_each(|digest| staging.remove(digest))?;
        let outcome = |refused: Option<PutOutcome>| refused.or_else(|| put.next());
        let outcomes: Option<Vec<PutOutcome>> = outcomes.into_iter().map(outcome).collect();
        outcomes.context("the running server's answer makes no sense")
    }

    /// Ends it: all was done that could be.
    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        let import = self.at_work()?.import;
        self.session.ask(EndImport { import })?;
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
        note(&self.session, volume, digests, Some(import))
    }

    /// The bundles that were taken before.
    pub(super) fn taken_bundles(&mut self) -> anyhow::Result<Vec<FoundBundle>> {
        self.session.ask(ListBundles { is_taken: true })
    }

    /// What tells the registry from others.
    pub(super) fn identity(&mut self) -> anyhow::Result<RegistryId> {
        identity(&self.session)
    }

    fn at_work(&self) -> anyhow::Result<&AtWork> {
        self.at_work.as_ref().context(NOT_BEGUN)
    }
}

/// Lays manifests in the import's directory, and notes which; says why if the bytes of one are
/// wrong.
fn stage(
    staging: &Staging,
    manifests: &[(Digest, Option<Vec<u8>>)],
    staged: &mut Vec<Digest>,
) -> Result<Option<String>, StorageError> {
    for (digest, bytes) in manifests {
        let Some(bytes) = bytes else { continue };
        let mut file = staging.create(digest)?;
        file.write(bytes)?;
        let Some(file) = file.checked() else {
            let why = format!("{digest} has other bytes by now than when it was looked at");
            return Ok(Some(why));
        };
        file.keep_to_be_read();
        staged.push(*digest);
    }
    Ok(None)
}

/// The same, each repository named once for all that follow each other.
fn by_repository(blobs: &[(RepoName, Digest)]) -> Vec<RepositoryBlobs> {
    let of_one = blobs.chunk_by(|one, next| one.0 == next.0);
    let of_one = of_one.filter_map(|blobs| {
        let repository = blobs.first()?.0.clone();
        let digests = blobs.iter().map(|(_, digest)| *digest).collect();
        Some(RepositoryBlobs { repository, digests })
    });
    of_one.collect()
}

/// What is said where the order of things is wrong.
const NOT_BEGUN: &str = "the import has not begun";
/// Blobs that one command names: their digests fit into it, and so many are published at once.
const BLOBS_AT_ONCE: usize = 128;
/// Tags, or manifests, that one command names.
pub(super) const NAMES_AT_ONCE: usize = 64;
