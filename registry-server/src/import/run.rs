//! The run of an import: one image after the other becomes visible soon after it is whole, while
//! the blobs of those behind it are read.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::mpsc::{self, RecvTimeoutError};

use anyhow::bail;
use oci::{Digest, ImageName, RepoName};

use super::pool::{Done, Job, Outcome, THREADS, cut_short};
use super::report::{ImportReport, LeftImage, MissingPart};
use super::site::Site;
use super::sources::Sources;
use super::streamed::Streamed;
use super::survey::{Survey, WantedImage};
use crate::backup::OwnerThread;

mod group;
mod put;

use group::{GROUP_BLOBS, Group, ReadyImage};

/// An import under way.
pub(super) struct Run<'a> {
    owner: &'a OwnerThread<Site>,
    sources: &'a Sources,
    images: Vec<WantedImage>,
    /// What the registry does not have.
    lacking: HashSet<Digest>,
    report: ImportReport,
    /// Tells of blobs that were read.
    done: mpsc::Receiver<Done>,
    /// How many images were looked at for blobs to be read.
    looked_at: usize,
    /// The manifests of these.
    seen: HashSet<Digest>,
    /// Blobs that are to be read next.
    upcoming: VecDeque<Digest>,
    states: HashMap<Digest, State>,
    /// Blobs that could not be opened, and are as good as read.
    given_up: VecDeque<Done>,
    /// How many are being read.
    reading: usize,
    /// How many were read and are not published.
    staged: usize,
    /// Images whose blobs are read, and that become visible next.
    group: Group,
    /// Which manifests each repository has by now, of those that this import brings.
    stored: HashMap<RepoName, HashSet<Digest>>,
    /// What turned out to be no good, and which images that hurts.
    bad: BTreeMap<Digest, (String, Vec<ImageName>)>,
}

/// How far a blob is that the registry does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is to be read, or is being read.
    Awaited,
    /// It was read, and lies in the import's directory.
    Staged,
    /// The same of what came as a stream: before anything was known of it.
    Streamed,
    /// Some repository has it.
    Published,
    /// It cannot be had.
    Bad,
}

impl<'a> Run<'a> {
    /// An import that has begun, and whose threads tell `done` of each blob.
    pub(super) fn new(
        owner: &'a OwnerThread<Site>,
        sources: &'a Sources,
        survey: Survey,
        streamed: &Streamed<'_>,
        done: mpsc::Receiver<Done>,
    ) -> Self {
        let Survey { images, lacking, mut report } = survey;
        // What was read is counted as it comes.
        (report.read_blobs, report.read_bytes) = (0, 0);
        let (mut states, mut bad) = (HashMap::new(), BTreeMap::new());
        for digest in lacking.intersection(&streamed.staged) {
            report.read_blobs += 1;
            report.read_bytes = report.read_bytes.saturating_add(sources.size(digest));
            states.insert(*digest, State::Streamed);
        }
        // Another source may have it that can be read again.
        let is_nowhere = |digest: &&Digest| sources.blob(digest).is_none();
        for digest in lacking.intersection(&streamed.bad).filter(is_nowhere) {
            states.insert(*digest, State::Bad);
            bad.insert(*digest, (WRONG.to_owned(), Vec::new()));
        }
        Self {
            owner,
            sources,
            images,
            lacking,
            report,
            done,
            looked_at: 0,
            seen: HashSet::new(),
            upcoming: VecDeque::new(),
            states,
            given_up: VecDeque::new(),
            reading: 0,
            staged: 0,
            group: Group::default(),
            stored: HashMap::new(),
            bad,
        }
    }

    /// Imports all images that can be.
    ///
    /// # Errors
    /// What keeps the others from being imported too. What is imported by then stays.
    pub(super) fn all(mut self) -> anyhow::Result<ImportReport> {
        for place in 0..self.images.len() {
            let Some(wanted) = self.images.get(place).cloned() else { break };
            let is_stored = |digest: &Digest| {
                self.stored.get(&wanted.image.repository).is_some_and(|it| it.contains(digest))
            };
            let parts = self.sources.contents.new_parts(&wanted.image.digest, &is_stored);
            self.bring(ReadyImage::new(wanted, parts))?;
            if self.group.is_due() {
                self.settle()?;
            }
        }
        while !self.group.is_empty() {
            self.settle()?;
        }
        self.owner.ask(Site::end)??;
        let bad = |(digest, (why, images))| MissingPart { digest, why, is_nowhere: false, images };
        self.report.missing.extend(self.bad.into_iter().map(bad));
        Ok(self.report)
    }

    /// Waits until those of an image's blobs are read that the registry lacks, as far as they can
    /// be; then it is one of those that become visible next.
    fn bring(&mut self, image: ReadyImage) -> anyhow::Result<()> {
        let mut open = self.open_of(&image);
        // Some of it may have been read ahead.
        let mut staged: Vec<_> =
            image.pairs().filter(|(_, digest)| self.is_staged(digest)).collect();
        while !open.is_empty() {
            if self.group.is_due() {
                self.settle()?;
                // One that was begun again has heard of blobs of this one, too.
                open = self.open_of(&image);
                continue;
            }
            // However many it has, few of them are open.
            if staged.len() >= GROUP_BLOBS {
                self.publish(std::mem::take(&mut staged))?;
            }
            self.read_ahead()?;
            let Some(digest) = self.wait()? else { continue };
            if open.remove(&digest) && self.is_staged(&digest) {
                staged.push((image.wanted.image.repository.clone(), digest));
            }
        }
        self.group.add(image);
        Ok(())
    }

    /// Those of an image's blobs that are to be read, or are being read.
    fn open_of(&self, image: &ReadyImage) -> HashSet<Digest> {
        let is_open = |digest: &&Digest| match self.states.get(*digest) {
            Some(state) => *state == State::Awaited,
            None => self.lacking.contains(*digest),
        };
        image.needed.iter().filter(is_open).copied().collect()
    }

    /// Publishes those of these blobs that were read, and not published for another image.
    fn publish(&mut self, mut blobs: Vec<(RepoName, Digest)>) -> anyhow::Result<()> {
        blobs.retain(|(_, digest)| self.is_staged(digest));
        for (_, digest) in &blobs {
            if self.states.insert(*digest, State::Published) == Some(State::Staged) {
                self.staged -= 1;
            }
        }
        self.owner.ask(move |site| site.publish(&blobs))?
    }

    fn is_staged(&self, digest: &Digest) -> bool {
        matches!(self.states.get(digest), Some(State::Staged | State::Streamed))
    }

    /// Has blobs read, in the order of the images, as many as may be under way, and one in any
    /// case: somebody waits for it.
    fn read_ahead(&mut self) -> anyhow::Result<()> {
        while self.reading == 0
            || self.reading < READ_AHEAD && self.reading + self.staged < STAGED_BLOBS
        {
            let Some(digest) = self.next_blob() else { return Ok(()) };
            match self.sources.blob(&digest) {
                Some(Ok(bytes)) => {
                    self.reading += 1;
                    self.owner.ask(move |site| site.read(Job { digest, bytes }))??;
                }
                Some(Err(error)) => self.give_up(digest, error.to_string()),
                None => self.give_up(digest, "the registry had it, and has it no more".to_owned()),
            }
        }
        Ok(())
    }

    fn give_up(&mut self, digest: Digest, why: String) {
        self.reading += 1;
        self.given_up.push_back(Done { digest, outcome: Outcome::Unreadable(why) });
    }

    fn next_blob(&mut self) -> Option<Digest> {
        while self.upcoming.is_empty() {
            let image = self.images.get(self.looked_at)?.image.digest;
            self.looked_at += 1;
            let parts = self.sources.contents.new_parts(&image, &|it| self.seen.contains(it));
            self.seen.extend(parts.manifests);
            for digest in parts.blobs {
                if self.lacking.contains(&digest) {
                    self.await_blob(digest);
                }
            }
        }
        self.upcoming.pop_front()
    }

    fn await_blob(&mut self, digest: Digest) {
        if let Entry::Vacant(state) = self.states.entry(digest) {
            state.insert(State::Awaited);
            self.upcoming.push_back(digest);
        }
    }

    /// Waits for the next blob that was read, or cannot be; none if images are whole that have
    /// waited long enough.
    fn wait(&mut self) -> anyhow::Result<Option<Digest>> {
        let done = match self.given_up.pop_front() {
            Some(done) => done,
            None if self.reading == 0 => bail!("a blob is awaited that nobody reads"),
            None => match self.done.recv_timeout(self.group.patience()) {
                Ok(done) => done,
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => bail!("the threads of the import ended"),
            },
        };
        let Done { digest, outcome } = done;
        self.reading -= 1;
        let bad = match outcome {
            Outcome::Staged { bytes, is_clone } => {
                self.staged += 1;
                self.states.insert(digest, State::Staged);
                self.report.read_blobs += 1;
                self.report.read_bytes = self.report.read_bytes.saturating_add(bytes);
                if is_clone {
                    self.report.cloned_bytes = self.report.cloned_bytes.saturating_add(bytes);
                }
                return Ok(Some(digest));
            }
            Outcome::Wrong => WRONG.to_owned(),
            Outcome::Unreadable(why) => format!("the source does not give it back: {why}"),
            Outcome::Failed(error) => return Err(cut_short(&error)),
        };
        self.states.insert(digest, State::Bad);
        self.bad.insert(digest, (bad, Vec::new()));
        Ok(Some(digest))
    }

    /// Tells that an image is not imported.
    fn leave(&mut self, wanted: &WantedImage, why: &str) {
        let left = |name: &ImageName| LeftImage { image: name.to_string(), why: why.to_owned() };
        self.report.left.extend(wanted.image.names().iter().map(left));
    }
}

/// Blobs that are opened and being read, or wait for it: so that no thread has to wait, also while
/// images become visible.
const READ_AHEAD: usize = 16 * THREADS;
/// Blobs that were read and are not published, at most, unless one image has more.
const STAGED_BLOBS: usize = 256;
/// Why a blob is no good that was read.
const WRONG: &str = "its bytes are others than its digest says: the source is damaged";
