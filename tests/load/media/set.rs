//! A set of images to be carried: each in a repository of its own, with one large layer that others
//! have too, and some of its own.

use std::collections::BTreeMap;

use crate::data::{Blob, Generator};
use crate::work::Image;

/// The images.
pub(crate) struct Set {
    /// In the order of their names.
    pub(crate) images: Vec<SetImage>,
}

/// One of them.
pub(crate) struct SetImage {
    /// Where it goes.
    pub(crate) repository: String,
    /// Its manifest and blobs.
    pub(crate) image: Image,
}

impl SetImage {
    /// Its repository and tag.
    pub(crate) fn name(&self) -> String {
        format!("{}:{TAG}", self.repository)
    }
}

impl Set {
    /// Makes so many images, the lengths of whose layers are divided by `divisor`.
    pub(crate) fn generate(count: usize, divisor: usize) -> Self {
        let mut generator = Generator::new(BASE_LAYER_BYTES[0] / divisor);
        let bases = BASE_LAYER_BYTES.map(|bytes| generator.blob(bytes / divisor));
        let mut image = |number: usize| {
            let config = format!(r#"{{"architecture":"amd64","os":"linux","author":"{number}"}}"#);
            let own = OWN_LAYER_BYTES.map(|bytes| generator.blob(bytes / divisor));
            let shared = [Blob::from(config.into_bytes()), bases[number % bases.len()].clone()];
            let image = Image::of([&shared[..], &own[..]].concat());
            SetImage { repository: format!("load/app-{number:03}"), image }
        };
        Self { images: (0..count).map(&mut image).collect() }
    }

    /// Configs and layers, each once, by their digests.
    pub(crate) fn blobs(&self) -> BTreeMap<&str, &Blob> {
        let parts = self.images.iter().flat_map(|image| &image.image.parts);
        parts.map(|blob| (blob.digest(), blob)).collect()
    }

    /// The bytes of all of these.
    pub(crate) fn bytes(&self) -> u64 {
        self.blobs().values().map(|blob| blob.bytes()).sum()
    }
}

/// The tag of each image.
pub(super) const TAG: &str = "v1";

/// The layers that images share, in bytes, the largest first.
const BASE_LAYER_BYTES: [usize; 4] = [200 * MIB, 128 * MIB, 80 * MIB, 56 * MIB];
/// The layers that are an image's own, in bytes.
const OWN_LAYER_BYTES: [usize; 4] = [32 * MIB, 8 * MIB, 3 * MIB, MIB];
const MIB: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_share_one_layer_and_have_the_rest_of_their_own() {
        let set = Set::generate(8, 1024);
        assert_eq!(set.images[7].name(), "load/app-007:v1");
        assert_eq!(set.blobs().len(), 4 + 8 * (1 + 4));
        let configs: u64 = set.images.iter().map(|image| image.image.parts[0].bytes()).sum();
        assert_eq!(set.bytes() - configs, (464 + 8 * 44) * 1024);
    }
}
