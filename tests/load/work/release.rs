//! A set of images as releases of a cluster are: many images in one repository, each with six
//! layers, of which most images share the lower ones.

use std::collections::BTreeMap;

use super::{Image, KIB, MIB};
use crate::data::{Blob, Generator};

/// The images of a release.
pub(crate) struct Release {
    /// In the order in which they are pushed.
    pub(crate) images: Vec<ReleaseImage>,
    /// Layers that another repository holds already.
    pub(crate) elsewhere: Vec<Blob>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct ReleaseImage {
    /// Its manifest and blobs.
    pub(crate) image: Image,
    /// Its tag.
    pub(crate) tag: String,
}

impl Release {
    /// Makes so many images, the lengths of whose layers are divided by `divisor`.
    pub(crate) fn generate(generator: &mut Generator, count: usize, divisor: usize) -> Self {
        let mut layers = |lengths: &[usize]| -> Vec<Blob> {
            lengths.iter().map(|bytes| generator.blob(bytes / divisor)).collect()
        };
        let bases: Vec<Vec<Blob>> = (0..BASES).map(|_| layers(&BASE_LAYER_BYTES)).collect();
        let teams = count.div_ceil(TEAM_IMAGES);
        let middles: Vec<Vec<Blob>> = (0..teams).map(|_| layers(&[MIDDLE_LAYER_BYTES])).collect();
        let image = |index: usize| {
            let config = layers(&[CONFIG_BYTES * divisor]);
            let (base, middle) = (&bases[index % BASES], &middles[index / TEAM_IMAGES]);
            let own = layers(&OWN_LAYER_BYTES);
            let parts = [&config[..], &base[..], &middle[..], &own[..]].concat();
            ReleaseImage { image: Image::of(parts), tag: format!("part-{index:03}") }
        };
        Self { images: (0..count).map(image).collect(), elsewhere: bases[0].clone() }
    }

    /// How often each blob is named, by its digest.
    pub(crate) fn blobs(&self) -> BTreeMap<&str, (&Blob, usize)> {
        let mut blobs = BTreeMap::new();
        for blob in self.images.iter().flat_map(|image| &image.image.parts) {
            blobs.entry(blob.digest()).or_insert((blob, 0)).1 += 1;
        }
        blobs
    }
}

/// Base images.
const BASES: usize = 4;
/// The layers of each, in bytes.
const BASE_LAYER_BYTES: [usize; 3] = [8 * MIB, 4 * MIB, 2 * MIB];
/// Images that share the layer above.
const TEAM_IMAGES: usize = 8;
/// Its bytes.
const MIDDLE_LAYER_BYTES: usize = 4 * MIB;
/// The layers that are an image's own, in bytes.
const OWN_LAYER_BYTES: [usize; 2] = [512 * KIB, 1600 * KIB];
/// A config, which is not divided.
const CONFIG_BYTES: usize = 4 * KIB;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_share_their_lower_layers() {
        let release = Release::generate(&mut Generator::new(MIB), 16, 64);
        assert_eq!(release.images.len(), 16);
        assert!(release.images.iter().all(|image| image.image.parts.len() == 7));
        let blobs = release.blobs();
        // Configs and two layers of each image; one of each of two teams; three of each base.
        assert_eq!(blobs.len(), 16 * 3 + 2 + 4 * 3);
        let named: usize = blobs.values().map(|(_, times)| times).sum();
        assert_eq!(named, 16 * 7);
        assert!(release.elsewhere.iter().all(|blob| blobs[blob.digest()].1 == 4));
    }
}
