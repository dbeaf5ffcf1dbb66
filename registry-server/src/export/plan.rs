//! What is to be exported: blobs in the order in which they are written, and the images they make.

use std::collections::{BTreeSet, HashMap, HashSet};

use archive::bundle::{Blob, NamedManifest};
use oci::{Digest, ImageName};

/// What is to be exported.
#[derive(Debug, Default)]
pub(super) struct Plan {
    items: Vec<Item>,
    places: HashMap<Digest, usize>,
    /// Which blob belongs to which manifest.
    edges: Vec<(usize, usize)>,
    images: Vec<(ImageName, String, usize)>,
    /// What belongs to images and is lost, with the manifest that names it.
    missing: Vec<(Digest, Digest)>,
    /// Children of indexes that are not there, which is allowed.
    pub(super) absent_children: u64,
}

/// One thing to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) blob: Blob,
    pub(super) is_manifest: bool,
}

impl Plan {
    /// Adds a blob, unless it is there, and says that it belongs to nothing yet.
    pub(super) fn add(&mut self, digest: Digest, size: u64, is_manifest: bool) -> usize {
        let next = self.items.len();
        let place = *self.places.entry(digest).or_insert(next);
        match self.items.get_mut(place) {
            // What an index holds as a blob may be a manifest elsewhere.
            Some(item) => item.is_manifest |= is_manifest,
            None => self.items.push(Item { blob: Blob { digest, size }, is_manifest }),
        }
        place
    }

    /// Says that these belong to a manifest.
    pub(super) fn belong(&mut self, parts: &[usize], manifest: usize) {
        self.edges.extend(parts.iter().map(|part| (*part, manifest)));
    }

    /// Where a blob stands, if it is to be written.
    pub(super) fn place(&self, digest: &Digest) -> Option<usize> {
        self.places.get(digest).copied()
    }

    /// Names an image whose manifest was added.
    pub(super) fn name(&mut self, name: ImageName, media_type: String, manifest: usize) {
        self.images.push((name, media_type, manifest));
    }

    /// Notes that something is lost which a manifest names; itself, if it is the manifest.
    pub(super) fn miss(&mut self, digest: Digest, manifest: Digest) {
        self.missing.push((digest, manifest));
    }

    /// What is lost, each once.
    pub(super) fn missing(&self) -> BTreeSet<Digest> {
        self.missing.iter().map(|(digest, _)| *digest).collect()
    }

    /// What is to be written, in its order: what belongs to a manifest comes before it.
    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// The blobs that are no manifests.
    pub(super) fn blobs(&self) -> HashSet<Digest> {
        let blobs = self.items.iter().filter(|item| !item.is_manifest);
        blobs.map(|item| item.blob.digest).collect()
    }

    /// The images, each with the place of its manifest.
    pub(super) fn images(&self) -> impl Iterator<Item = (NamedManifest, usize)> {
        let named = |(name, media_type, place): &(ImageName, String, usize)| {
            let manifest = self.items.get(*place)?.blob;
            let (name, media_type) = (name.clone(), media_type.clone());
            Some((NamedManifest { name, media_type, manifest }, *place))
        };
        self.images.iter().filter_map(named)
    }

    /// The images that a blob belongs to, by their names: few of them, and how many there are.
    pub(super) fn images_of(&self, digest: &Digest) -> (Vec<String>, usize) {
        let holders = self.missing.iter().filter(|(lost, _)| lost == digest).map(|(_, it)| it);
        let holders = holders.chain([digest]).filter_map(|it| self.place(it));
        let (mut reached, mut above): (BTreeSet<usize>, HashMap<usize, Vec<usize>>) =
            (holders.collect(), HashMap::new());
        self.edges.iter().for_each(|(part, manifest)| {
            above.entry(*part).or_default().push(*manifest);
        });
        let mut rest: Vec<usize> = reached.iter().copied().collect();
        while let Some(place) = rest.pop() {
            let next = above.get(&place).into_iter().flatten();
            rest.extend(next.filter(|place| reached.insert(**place)));
        }
        let names = self.images.iter().filter(|(_, _, place)| reached.contains(place));
        let names: Vec<String> = names.map(|(name, ..)| name.to_string()).collect();
        let count = names.len();
        (names.into_iter().take(NAMED_IMAGES).collect(), count)
    }
}

/// Images that a message names; more of them help nobody.
const NAMED_IMAGES: usize = 10;

#[cfg(test)]
mod tests {
    use oci::Algorithm;

    use super::*;

    #[test]
    fn a_blob_leads_to_the_images_above_it() {
        let digest = |text: &str| Digest::of(Algorithm::Sha256, text.as_bytes());
        let mut plan = Plan::default();
        let shared = plan.add(digest("shared"), 1, false);
        assert_eq!(plan.add(digest("shared"), 1, false), shared);
        let own = plan.add(digest("own"), 1, false);
        let (a, b) = (plan.add(digest("a"), 1, true), plan.add(digest("b"), 1, true));
        plan.belong(&[shared, own], a);
        plan.belong(&[shared], b);
        let index = plan.add(digest("index"), 1, true);
        plan.belong(&[b], index);
        plan.name("a:1".parse().unwrap(), String::new(), a);
        plan.name("b:1".parse().unwrap(), String::new(), index);
        plan.miss(digest("lost"), digest("b"));
        for (of, images) in [
            ("shared", &["a:1", "b:1"][..]),
            ("own", &["a:1"]),
            ("lost", &["b:1"]),
            ("index", &["b:1"]),
            ("other", &[]),
        ] {
            let names = images.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
            assert_eq!(plan.images_of(&digest(of)), (names, images.len()), "{of}");
        }
    }
}
