//! Storing an image: its manifests before the index that lists them, and its tags at the end.

use std::collections::VecDeque;

use archive::Parts;
use oci::{Digest, ImageName, Reference, Tag};

use super::Run;
use crate::command::import::{PutOutcome, TagOutcome};
use crate::import::report::TagMove;
use crate::import::site::NAMES_AT_ONCE;
use crate::import::survey::WantedImage;
use crate::limits::Limits;

impl Run<'_> {
    /// Stores an image, whose repository has all blobs that it needs.
    pub(super) fn put(&mut self, wanted: &WantedImage, parts: &Parts) -> anyhow::Result<()> {
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
                        return Ok(());
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
            let named: Vec<Tag> = tags.drain(..count).collect();
            if !self.put_some(wanted, manifests, image, named)? {
                return Ok(());
            }
            if is_last && tags.is_empty() {
                self.report.images += 1;
                self.report.brought.insert(wanted.image.digest);
                return Ok(());
            }
        }
    }

    /// Stores some manifests and tags of an image; false if they are refused.
    fn put_some(
        &mut self,
        wanted: &WantedImage,
        manifests: Vec<(Digest, Option<Vec<u8>>)>,
        image: Digest,
        tags: Vec<Tag>,
    ) -> anyhow::Result<bool> {
        let (repository, named) = (wanted.image.repository.clone(), tags.clone());
        let put = self.owner.ask(move |site| site.put(repository, manifests, image, named))??;
        let outcomes = match put {
            PutOutcome::Put(outcomes) => outcomes,
            PutOutcome::Refused(why) => {
                self.leave(wanted, &why);
                return Ok(false);
            }
        };
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
        Ok(true)
    }
}

/// Bytes of manifests that are stored at once, about.
const MANIFEST_BYTES: u64 = 4 * 1024 * 1024;
