//! Images that become visible together.
//!
//! Each step towards that ends with a sync: of the blobs' bytes, of their names, of their rows and
//! of the images' own. So those that are whole by now share them. The first image waits for nobody,
//! and no other one for longer than a second.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use archive::Parts;
use oci::{Digest, RepoName};

use super::{Run, State};
use crate::import::survey::WantedImage;

/// An image whose blobs are read, or that waits for them.
pub(super) struct ReadyImage {
    pub(super) wanted: WantedImage,
    pub(super) parts: Parts,
    /// The blobs that its repository is to have.
    pub(super) needed: Vec<Digest>,
    /// How often blobs of it went from the registry.
    tries: usize,
}

/// Those that are whole.
#[derive(Default)]
pub(super) struct Group {
    images: Vec<ReadyImage>,
    /// Their blobs and manifests.
    blobs: usize,
    /// When the group before it became visible.
    before: Option<Instant>,
}

impl ReadyImage {
    pub(super) fn new(wanted: WantedImage, parts: Parts) -> Self {
        // What no source holds is awaited too once the registry has it no more, and given up then.
        let needed = parts.blobs.iter().chain(&wanted.from_registry).copied().collect();
        Self { wanted, parts, needed, tries: 0 }
    }

    /// These, each with its repository.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (RepoName, Digest)> {
        let repository = &self.wanted.image.repository;
        self.needed.iter().map(|digest| (repository.clone(), *digest))
    }
}

impl Group {
    pub(super) fn add(&mut self, image: ReadyImage) {
        self.blobs += image.needed.len() + image.parts.manifests.len();
        self.images.push(image);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Whether they are to become visible now.
    pub(super) fn is_due(&self) -> bool {
        !self.is_empty() && (self.blobs >= GROUP_BLOBS || self.patience().is_zero())
    }

    /// How long they may wait for others.
    pub(super) fn patience(&self) -> Duration {
        match (self.is_empty(), self.before) {
            (true, _) => Duration::MAX,
            (false, None) => Duration::ZERO,
            (false, Some(before)) => GROUP_TIME.saturating_sub(before.elapsed()),
        }
    }

    fn take(&mut self) -> Vec<ReadyImage> {
        let next = Self { before: self.before, ..Self::default() };
        std::mem::replace(self, next).images
    }
}

impl Run<'_> {
    /// Lets those images become visible that are whole. What is good of an image that cannot be had
    /// whole is published too: it need not be read again when the rest comes.
    pub(super) fn settle(&mut self) -> anyhow::Result<()> {
        let images = self.group.take();
        let mut seen = HashSet::new();
        let pairs = images.iter().flat_map(ReadyImage::pairs);
        let mut is_new =
            |(_, digest): &(RepoName, Digest)| self.is_staged(digest) && seen.insert(*digest);
        let blobs: Vec<_> = pairs.filter(&mut is_new).collect();
        let published: HashSet<(RepoName, Digest)> = blobs.iter().cloned().collect();
        self.publish(blobs)?;
        let good: Vec<ReadyImage> = images.into_iter().filter(|it| self.is_good(it)).collect();
        let others = good.iter().flat_map(ReadyImage::pairs);
        let others: Vec<_> = others.filter(|pair| !published.contains(pair)).collect();
        let gone = self.owner.ask(move |site| site.link(&others))??;
        let is_hurt = |image: &ReadyImage| image.pairs().any(|pair| gone.contains(&pair));
        let (again, whole): (Vec<_>, Vec<_>) = good.into_iter().partition(is_hurt);
        self.put_all(&whole)?;
        self.group.before = Some(Instant::now());
        again.into_iter().try_for_each(|image| self.begin_again(image, &gone))
    }

    /// Whether all blobs of an image can be had; notes whom it hurts that one cannot.
    fn is_good(&mut self, image: &ReadyImage) -> bool {
        let is_bad = |digest: &&Digest| self.states.get(*digest) == Some(&State::Bad);
        let bad: Vec<Digest> = image.needed.iter().filter(is_bad).copied().collect();
        for digest in &bad {
            let (_, images) = self.bad.entry(*digest).or_default();
            images.extend(image.wanted.image.names());
        }
        bad.is_empty()
    }

    /// Has blobs read that went from the registry since they were looked for: collection, or
    /// somebody who deletes, was here.
    fn begin_again(
        &mut self,
        mut image: ReadyImage,
        gone: &HashSet<(RepoName, Digest)>,
    ) -> anyhow::Result<()> {
        image.tries += 1;
        if image.tries >= TRIES {
            self.leave(&image.wanted, "blobs of it go from the registry again and again");
            return Ok(());
        }
        for (_, digest) in image.pairs().filter(|pair| gone.contains(pair)) {
            // For another one of them it may be coming already.
            if matches!(self.states.get(&digest), None | Some(State::Published)) {
                self.lacking.insert(digest);
                self.states.insert(digest, State::Awaited);
                self.upcoming.push_front(digest);
            }
        }
        self.bring(image)
    }
}

/// Blobs of images that become visible together, from which on they do: as many as are published at
/// once.
pub(super) const GROUP_BLOBS: usize = 128;
/// How long an image that is whole waits for others.
const GROUP_TIME: Duration = Duration::from_secs(1);
/// How often an image is begun anew from whose repository blobs go.
const TRIES: usize = 3;
