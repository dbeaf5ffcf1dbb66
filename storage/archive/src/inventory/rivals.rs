//! Names that more than one image claims: a newer archive of oc-mirror moves a name on, and
//! everything else is somebody's choice.

use std::collections::{BTreeMap, BTreeSet};

use oci::{Digest, RepoName, Tag};

use crate::contents::{AmbiguousName, NamedImage};

/// What a source calls an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) repository: Option<RepoName>,
    pub(super) tag: Option<Tag>,
    pub(super) digest: Digest,
}

/// When oc-mirror ran, if it wrote the source, and if it says so.
pub(super) type Run = Option<Option<String>>;

/// All claims so far.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    images: Vec<(NamedImage, Run)>,
    /// Which of them has a name now.
    holders: BTreeMap<Key, usize>,
    ambiguous: BTreeMap<Key, BTreeSet<Digest>>,
    superseded: BTreeSet<usize>,
    /// Who has an image by its digest alone.
    untagged: BTreeSet<(Place, Digest)>,
}

/// The repository that the source says, and the one that its file gives its name to, which only
/// counts without the first.
type Place = (Option<RepoName>, Option<RepoName>);
type Key = (Place, Tag);

impl Rivals {
    /// Adds what a source says, in its order.
    pub(super) fn add(&mut self, image: NamedImage, run: &Run) {
        let place = place(&image);
        let Some(tag) = image.tag.clone() else {
            if self.untagged.insert((place, image.digest)) {
                self.images.push((image, run.clone()));
            }
            return;
        };
        let key = (place, tag);
        let (new, digest) = (self.images.len(), image.digest);
        let Some(&old) = self.holders.get(&key) else {
            self.holders.insert(key, new);
            self.images.push((image, run.clone()));
            return;
        };
        let (holder, run_of_holder) = &self.images[old];
        let is_other_source = holder.source != image.source;
        match (run_of_holder, run) {
            _ if holder.digest == digest => {}
            (Some(before), Some(now)) if is_other_source => {
                let is_older = matches!((before, now), (Some(before), Some(now)) if now < before);
                self.superseded.insert(if is_older { new } else { old });
                if !is_older {
                    self.holders.insert(key, new);
                }
                self.images.push((image, run.clone()));
            }
            _ => self.ambiguous.entry(key).or_default().extend([holder.digest, digest]),
        }
    }

    /// Who has which name in the end.
    pub(super) fn settle(self) -> (Vec<NamedImage>, Vec<AmbiguousName>, Vec<NamedImage>) {
        let (mut images, mut superseded) = (Vec::new(), Vec::new());
        let tagged: BTreeSet<(Place, Digest)> = self
            .images
            .iter()
            .filter(|(image, _)| image.tag.is_some())
            .map(|(image, _)| (place(image), image.digest))
            .collect();
        for (number, (image, _)) in self.images.into_iter().enumerate() {
            let place = place(&image);
            let is_held = match &image.tag {
                Some(tag) => !self.ambiguous.contains_key(&(place, tag.clone())),
                None => !tagged.contains(&(place, image.digest)),
            };
            if self.superseded.contains(&number) {
                superseded.push(image);
            } else if is_held {
                images.push(image);
            }
        }
        let ambiguous = self.ambiguous.into_iter().map(|(((repository, stem), tag), digests)| {
            AmbiguousName { repository, stem, tag, digests }
        });
        (images, ambiguous.collect(), superseded)
    }
}

fn place(image: &NamedImage) -> Place {
    match &image.repository {
        Some(repository) => (Some(repository.clone()), None),
        None => (None, image.stem.clone()),
    }
}

#[cfg(test)]
mod tests {
    use oci::Algorithm;

    use super::*;

    fn image(source: usize, tag: Option<&str>, content: &str) -> NamedImage {
        NamedImage {
            source,
            repository: Some("a".parse().unwrap()),
            stem: Some("b".parse().unwrap()),
            tag: tag.map(|tag| tag.parse().unwrap()),
            digest: Digest::of(Algorithm::Sha256, content.as_bytes()),
        }
    }

    fn settle(claims: &[(usize, Option<&str>, &str, Run)]) -> [Vec<(usize, Option<String>)>; 3] {
        let mut rivals = Rivals::default();
        for (source, tag, content, run) in claims {
            rivals.add(image(*source, *tag, content), run);
        }
        let (images, ambiguous, superseded) = rivals.settle();
        let told = |images: Vec<NamedImage>| {
            images.into_iter().map(|it| (it.source, it.tag.map(|tag| tag.to_string()))).collect()
        };
        let ambiguous =
            ambiguous.into_iter().map(|it| (it.digests.len(), Some(it.tag.to_string())));
        [told(images), ambiguous.collect(), told(superseded)]
    }

    #[test]
    fn a_name_that_two_images_have_is_nobodys() {
        let one = |number| vec![(number, Some("1".to_owned()))];
        assert_eq!(
            settle(&[(0, Some("1"), "a", None), (1, Some("1"), "b", None)]),
            [vec![], one(2), vec![]]
        );
        assert_eq!(
            settle(&[(0, Some("1"), "a", None), (1, Some("1"), "a", None), (0, None, "a", None)]),
            [one(0), vec![], vec![]]
        );
    }

    #[test]
    fn a_newer_run_of_oc_mirror_moves_a_name_on() {
        let one = |number| vec![(number, Some("1".to_owned()))];
        let run = |time: &str| Some(Some(time.to_owned()));
        let (old, new) = ((0, Some("1"), "a", run("2026-01")), (1, Some("1"), "b", run("2026-02")));
        assert_eq!(settle(&[old.clone(), new.clone()]), [one(1), vec![], one(0)]);
        assert_eq!(settle(&[new, old]), [one(1), vec![], one(0)]);
        // Nothing says when: the one that was named later counts.
        let unknown = (1, Some("1"), "b", Some(None));
        assert_eq!(settle(&[(0, Some("1"), "a", run("1")), unknown]), [one(1), vec![], one(0)]);
        // Within one run there is no newer one.
        let both = settle(&[(0, Some("1"), "a", run("1")), (0, Some("1"), "b", run("1"))]);
        assert_eq!(both, [vec![], one(2), vec![]]);
    }
}
