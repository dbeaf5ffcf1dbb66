//! A set of images as releases of a cluster are: in few repositories, of which most images share
//! the lower layers; some are lists for several platforms, some are signed in one of both ways.
//!
//! The load generator has such a set, too, but plain and of other sizes: it measures what a
//! registry costs, and here it counts what belongs together.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use oci::MediaType;
use serde_json::{Value, json};

use crate::support::content::{CONFIG, LAYER, Manifest, descriptor, noise, push_blob, sha256};
use crate::support::http::Client;

/// How many images a release has.
pub(super) const IMAGES: usize = 160;

/// What one name stands for.
pub(super) struct Image {
    repository: &'static str,
    tag: String,
    /// Configurations and layers.
    blobs: Vec<Vec<u8>>,
    /// Each with what it is pushed under, in the order in which that has to be done.
    manifests: Vec<(Manifest, String)>,
}

/// The first release.
pub(super) fn first() -> Vec<Image> {
    (0..IMAGES).map(|number| Image::new(number, 1)).collect()
}

/// What is other in the next one: some images, and some more that are new.
pub(super) fn second() -> Vec<Image> {
    let changed = (0..IMAGES).step_by(CHANGED);
    changed.chain(IMAGES..IMAGES + NEW_IMAGES).map(|number| Image::new(number, 2)).collect()
}

/// Pushes images, several at once.
pub(super) fn push(client: &Client, images: &[Image]) {
    thread::scope(|scope| {
        for share in images.chunks(images.len().div_ceil(PUSHERS)) {
            scope.spawn(move || {
                let mut known = BTreeSet::new();
                let client = client.again();
                share.iter().for_each(|image| image.push(&client, &mut known));
            });
        }
    });
}

/// What the tags of these images name.
pub(super) fn names(images: &[Image]) -> BTreeMap<String, String> {
    let name = |image: &Image| {
        let (top, _) = image.manifests.iter().find(|(_, under)| *under == image.tag).expect("it");
        (format!("{}:{}", image.repository, image.tag), top.digest())
    };
    images.iter().map(name).collect()
}

/// The blobs of these images that are no manifests, with their lengths.
pub(super) fn blobs(images: &[Image]) -> BTreeMap<String, u64> {
    let blobs = images.iter().flat_map(|image| &image.blobs);
    blobs.map(|blob| (sha256(blob), blob.len() as u64)).collect()
}

impl Image {
    /// The image with this number in this release.
    fn new(number: usize, release: usize) -> Self {
        let repository =
            if number.is_multiple_of(20) { "openshift/tools" } else { "openshift/release" };
        let tag = format!("part-{number:03}");
        let mut image = Self { repository, tag, blobs: Vec::new(), manifests: Vec::new() };
        let top = match number % 8 {
            5 => {
                let children = [0, 1].map(|platform| image.platform(number, release, platform));
                for child in &children {
                    image.manifests.push((child.clone(), child.digest()));
                }
                Manifest::index(&children.each_ref())
            }
            _ => image.platform(number, release, 0),
        };
        image.manifests.push((top.clone(), image.tag.clone()));
        match number % 10 {
            3 => {
                let signature = image.signature(&top, &json!({ "subject": top.descriptor() }));
                image.manifests.push((signature.clone(), signature.digest()));
            }
            7 => {
                let signature = image.signature(&top, &json!({}));
                let tag = format!("sha256-{}.sig", &top.digest()["sha256:".len()..]);
                image.manifests.push((signature, tag));
            }
            _ => {}
        }
        image
    }

    /// An image for one platform, with its blobs.
    fn platform(&mut self, number: usize, release: usize, platform: usize) -> Manifest {
        let base = BASE_LAYER_BYTES.iter().enumerate();
        let base = base.map(|(layer, bytes)| part([1, number % BASES, layer, platform], *bytes));
        let middle = part([2, number / TEAM_IMAGES, 0, platform], MIDDLE_LAYER_BYTES);
        let own = OWN_LAYER_BYTES.iter().enumerate();
        let own = own.map(|(layer, bytes)| part([3 + layer, number, release, platform], *bytes));
        let layers: Vec<Vec<u8>> = base.chain([middle]).chain(own).collect();
        let config = json!({ "os": "linux", "number": number, "release": release, "of": platform });
        self.manifest(&config, layers, &json!({}))
    }

    fn signature(&mut self, of: &Manifest, more: &Value) -> Manifest {
        let signed = format!("this is {}", of.digest()).into_bytes();
        self.manifest(&json!({}), vec![signed], more)
    }

    fn manifest(&mut self, config: &Value, layers: Vec<Vec<u8>>, more: &Value) -> Manifest {
        let config = config.to_string().into_bytes();
        let mut document = more.clone();
        document["config"] = descriptor(CONFIG, &config);
        document["layers"] = layers.iter().map(|layer| descriptor(LAYER, layer)).collect();
        self.blobs.extend(layers);
        self.blobs.push(config);
        Manifest::new(MediaType::OCI_MANIFEST, document)
    }

    /// Pushes what is not known to be there.
    fn push(&self, client: &Client, known: &mut BTreeSet<(&'static str, String)>) {
        for blob in &self.blobs {
            if known.insert((self.repository, sha256(blob))) {
                push_blob(client, self.repository, blob);
            }
        }
        for (manifest, under) in &self.manifests {
            manifest.put(client, self.repository, under).expect(201);
        }
    }
}

/// Bytes that only this part has.
fn part(of: [usize; 4], bytes: usize) -> Vec<u8> {
    let seed = of.iter().fold(0, |seed, number| seed * 1000 + *number as u64);
    noise(seed, bytes)
}

/// Images that the second release has more.
const NEW_IMAGES: usize = 6;
/// One in so many is another one in the second release.
const CHANGED: usize = 13;
/// Base images.
const BASES: usize = 4;
/// The layers of each, in bytes.
const BASE_LAYER_BYTES: [usize; 3] = [32 << 10, 16 << 10, 8 << 10];
/// Images that share the layer above.
const TEAM_IMAGES: usize = 8;
/// Its bytes.
const MIDDLE_LAYER_BYTES: usize = 16 << 10;
/// The layers that are an image's own, in bytes.
const OWN_LAYER_BYTES: [usize; 2] = [24 << 10, 40 << 10];
/// Clients that push at once.
const PUSHERS: usize = 4;
