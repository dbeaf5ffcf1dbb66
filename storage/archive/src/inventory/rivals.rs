//! Names that more than one image claims: a newer archive of oc-mirror moves a name on, if both say
//! when they were written, and everything else is somebody's choice.

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
pub(super) type Run = Option<String>;

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

/// The repository that the source says; without it, the one that its file gives its name to.
type Place = Option<RepoName>;
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
            (Some(before), Some(now)) if is_other_source && before != now => {
                let is_older = now < before;
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
        let ambiguous = self.ambiguous.iter().filter_map(|(key, digests)| {
            let (holder, _) = &self.images[*self.holders.get(key)?];
            let (repository, stem) = (holder.repository.clone(), holder.stem.clone());
            let (tag, digests) = (key.1.clone(), digests.clone());
            Some(AmbiguousName { repository, stem, tag, digests })
        });
        let ambiguous_names = ambiguous.collect();
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
        (images, ambiguous_names, superseded)
    }
}

fn place(image: &NamedImage) -> Place {
    image.repository.clone().or_else(|| image.stem.clone())
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
    fn the_name_that_a_file_gives_is_one_that_another_source_may_say() {
        let mut rivals = Rivals::default();
        let said = NamedImage { stem: None, ..image(0, Some("1"), "a") };
        let given = image(1, Some("1"), "b");
        let given = NamedImage { repository: None, stem: said.repository.clone(), ..given };
        rivals.add(said, &None);
        rivals.add(given, &None);
        let (images, ambiguous, _) = rivals.settle();
        assert_eq!((images.len(), ambiguous.len()), (0, 1));
    }

    #[test]
    fn a_newer_run_of_oc_mirror_moves_a_name_on() {
        let one = |number| vec![(number, Some("1".to_owned()))];
        let run = |time: &str| Some(time.to_owned());
        let (old, new) = ((0, Some("1"), "a", run("2026-01")), (1, Some("1"), "b", run("2026-02")));
        assert_eq!(settle(&[old.clone(), new.clone()]), [one(1), vec![], one(0)]);
        assert_eq!(settle(&[new, old]), [one(1), vec![], one(0)]);
        // If one does not say when, or both say the same, which is newer would be a guess.
        for other in [None, run("1")] {
            let other = (1, Some("1"), "b", other);
            let rivals = settle(&[(0, Some("1"), "a", run("1")), other]);
            assert_eq!(rivals, [vec![], one(2), vec![]]);
        }
        // Within one run there is no newer one.
        let both = settle(&[(0, Some("1"), "a", run("1")), (0, Some("1"), "b", run("1"))]);
        assert_eq!(both, [vec![], one(2), vec![]]);
    }
}
