//! Storing images: manifests before the index that lists them, and tags at the end.

use std::collections::VecDeque;

use oci::{Digest, ImageName, Reference, Tag};

use super::Run;
use super::group::ReadyImage;
use crate::command::import::{PutOutcome, TagOutcome};
use crate::import::report::TagMove;
use crate::import::site::{NAMES_AT_ONCE, ReadImage};
use crate::import::survey::WantedImage;
use crate::limits::Limits;

/// A part of an image that is to be stored.
struct Piece<'a> {
    wanted: &'a WantedImage,
    image: ReadImage,
    /// The bytes of its manifests.
    bytes: u64,
}

impl Run<'_> {
    /// Stores images, whose repositories have all blobs that they need. Those of a few manifests
    /// each go together.
    pub(super) fn put_all(&mut self, images: &[ReadyImage]) -> anyhow::Result<()> {
        let (mut together, mut names, mut bytes) = (Vec::new(), 0, 0_u64);
        for ready in images {
            let Some(piece) = self.put_beginning(ready)? else { continue };
            let own_names = piece.image.manifests.len() + piece.image.tags.len() + PIECE_NAMES;
            names += own_names;
            bytes = bytes.saturating_add(piece.bytes);
            if names > NAMES_TOGETHER || bytes > MANIFEST_BYTES {
                self.put_ends(std::mem::take(&mut together))?;
                (names, bytes) = (own_names, piece.bytes);
            }
            together.push(piece);
        }
        self.put_ends(together)
    }

    /// Stores an image but for the last of its pieces, which is returned: most have one. None if
    /// one is refused.
    fn put_beginning<'w>(&mut self, ready: &'w ReadyImage) -> anyhow::Result<Option<Piece<'w>>> {
        let ReadyImage { wanted, parts, .. } = ready;
        let mut rest = parts.manifests.iter().peekable();
        let mut tags: VecDeque<Tag> = wanted.image.tags.iter().cloned().collect();
        loop {
            let (mut manifests, mut bytes) = (Vec::new(), 0);
            while manifests.len() < NAMES_AT_ONCE
                && bytes < MANIFEST_BYTES
                && let Some(digest) = rest.next()
            {
                let most = Limits::default().manifest_bytes as u64;
                match self.sources.manifest(digest, most) {
                    Ok(manifest) => {
                        let size = self.sources.size(digest);
                        bytes = size.saturating_add(bytes);
                        manifests.push((*digest, manifest));
                    }
                    Err(error) => {
                        self.leave(wanted, &format!("{digest} cannot be read: {error}"));
                        return Ok(None);
                    }
                }
            }
            // Tags come last: until then nobody sees an index whose children are to come.
            let is_last = rest.peek().is_none();
            let image = match manifests.last() {
                Some((last, _)) if !is_last => *last,
                _ => wanted.image.digest,
            };
            let count = if is_last { tags.len().min(NAMES_AT_ONCE) } else { 0 };
            let (repository, named) =
                (wanted.image.repository.clone(), tags.drain(..count).collect());
            let image = ReadImage { repository, manifests, image, tags: named };
            let piece = Piece { wanted, image, bytes };
            if is_last && tags.is_empty() {
                return Ok(Some(piece));
            }
            if self.put(vec![piece])?.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Stores the last pieces of images.
    fn put_ends(&mut self, pieces: Vec<Piece<'_>>) -> anyhow::Result<()> {
        if !pieces.is_empty() {
            let whole = self.put(pieces)?;
            self.report.images += whole.len() as u64;
            self.report.brought.extend(whole);
        }
        Ok(())
    }

    /// Stores pieces of as many images; says which of these were not refused.
    fn put(&mut self, pieces: Vec<Piece<'_>>) -> anyhow::Result<Vec<Digest>> {
        let (mut told, mut images, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for Piece { wanted, image, .. } in pieces {
            let manifests: Vec<Digest> = image.manifests.iter().map(|it| it.0).collect();
            told.push((wanted, image.image, manifests, image.tags.clone()));
            images.push(image);
        }
        let outcomes = self.owner.ask(move |site| site.put(images))??;
        for ((wanted, image, manifests, tags), outcome) in told.into_iter().zip(outcomes) {
            match outcome {
                PutOutcome::Put(outcomes) => {
                    taken.push(wanted.image.digest);
                    let stored = self.stored.entry(wanted.image.repository.clone()).or_default();
                    stored.extend(manifests);
                    self.note_tags(wanted, image, tags, outcomes);
                }
                PutOutcome::Refused(why) => self.leave(wanted, &why),
            }
        }
        Ok(taken)
    }

    fn note_tags(
        &mut self,
        wanted: &WantedImage,
        image: Digest,
        tags: Vec<Tag>,
        outcomes: Vec<TagOutcome>,
    ) {
        for (tag, outcome) in tags.into_iter().zip(outcomes) {
            let reference = Some(Reference::Tag(tag));
            let name = ImageName::new(wanted.image.repository.clone(), reference);
            match outcome {
                TagOutcome::Set(from) if from != Some(image) => {
                    self.report.moved.push(TagMove { image: name, from, to: image });
                }
                TagOutcome::Set(_) => {}
                TagOutcome::Protected => self.report.protected.push(name),
            }
        }
    }
}

/// Bytes of manifests that are stored at once, about.
const MANIFEST_BYTES: u64 = 4 * 1024 * 1024;
/// Names that a command has room for which stores several images.
const NAMES_TOGETHER: usize = 3 * NAMES_AT_ONCE;
/// What the repository and the digest of each take of that, as many as they are long.
const PIECE_NAMES: usize = 4;
