//! How much work there is: the sizes of the full and of the short form, and the content for
//! them, made once and pushed to every server.

use serde::Serialize;

use crate::data::{Blob, Generator};

/// The tag of the image whose manifest is asked for.
pub(crate) const TAG: &str = "latest";
/// How many blobs that image has, its config among them.
const IMAGE_PARTS: usize = 6;
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The sizes of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Sizes {
    /// Blobs that are pushed and pulled one after the other.
    pub(crate) large_blobs: usize,
    /// Bytes of each.
    pub(crate) large_bytes: usize,
    /// Small blobs, in all.
    pub(crate) small_blobs: usize,
    /// Clients that share them.
    pub(crate) small_clients: usize,
    /// Manifest requests to our server, in all.
    pub(crate) manifest_gets_ours: usize,
    /// Manifest requests to docker-registry, which needs bcrypt for each: fewer.
    pub(crate) manifest_gets_peer: usize,
    /// Connections that share them.
    pub(crate) manifest_connections: usize,
    /// Blobs that are pushed at once.
    pub(crate) parallel_blobs: usize,
    /// Bytes of each.
    pub(crate) parallel_bytes: usize,
    /// Blobs that nothing needs, for a collection.
    pub(crate) unneeded_blobs: usize,
}

impl Sizes {
    /// The sizes that figures are compared by.
    pub(crate) const FULL: Self = Self {
        large_blobs: 4,
        large_bytes: 256 * MIB,
        small_blobs: 400,
        small_clients: 4,
        manifest_gets_ours: 32_000,
        manifest_gets_peer: 1_600,
        manifest_connections: 16,
        parallel_blobs: 16,
        parallel_bytes: 64 * MIB,
        unneeded_blobs: 100_000,
    };

    /// Enough to see that everything runs; its figures are rough.
    pub(crate) const SHORT: Self = Self {
        large_blobs: 2,
        large_bytes: 64 * MIB,
        small_blobs: 100,
        small_clients: 4,
        manifest_gets_ours: 4_000,
        manifest_gets_peer: 400,
        manifest_connections: 16,
        parallel_blobs: 16,
        parallel_bytes: 8 * MIB,
        unneeded_blobs: 5_000,
    };

    /// The sizes in words, a line each.
    pub(crate) fn describe(&self) -> Vec<String> {
        let gets = (self.manifest_gets_ours, self.manifest_gets_peer);
        vec![
            format!(
                "push, pull: {} blobs of {} MiB, one connection",
                self.large_blobs,
                self.large_bytes / MIB
            ),
            format!(
                "small: {} blobs of about 4 KiB, {} clients, HEAD POST PATCH PUT each",
                self.small_blobs, self.small_clients
            ),
            format!(
                "manifests: {} GETs by tag (ours), {} (peer), {} connections",
                gets.0, gets.1, self.manifest_connections
            ),
            format!(
                "parallel: {} blobs of {} MiB at once",
                self.parallel_blobs,
                self.parallel_bytes / MIB
            ),
            format!("collection: {} blobs that nothing needs (ours)", self.unneeded_blobs),
        ]
    }
}

/// An image: a manifest and the blobs that it names.
pub(crate) struct Image {
    /// The config and the layers.
    pub(crate) parts: Vec<Blob>,
    /// The bytes of the manifest.
    pub(crate) manifest: Blob,
    /// The manifest's media type.
    pub(crate) media_type: &'static str,
}

/// The content to push, and how it is spread.
pub(crate) struct Workload {
    /// How much of it there is.
    pub(crate) sizes: Sizes,
    /// For push and pull.
    pub(crate) large: Vec<Blob>,
    /// For small.
    pub(crate) small: Vec<Blob>,
    /// For parallel.
    pub(crate) parallel: Vec<Blob>,
    /// For manifests.
    pub(crate) image: Image,
    /// Whether pull is repeated off the clock to hash what comes.
    pub(crate) check_digests: bool,
}

impl Workload {
    /// Makes the content; this takes the memory of one large blob and some seconds.
    pub(crate) fn generate(sizes: Sizes, check_digests: bool) -> Self {
        let mut generator = Generator::new(sizes.large_bytes.max(sizes.parallel_bytes));
        // Lengths from 3.5 to 4.5 KiB, since real configs and layers are not of one length.
        let small = |generator: &mut Generator, index: usize| {
            generator.blob(3 * KIB + KIB / 2 + index * 37 % KIB)
        };
        Self {
            sizes,
            large: blobs(&mut generator, sizes.large_blobs, sizes.large_bytes),
            small: (0..sizes.small_blobs).map(|index| small(&mut generator, index)).collect(),
            parallel: blobs(&mut generator, sizes.parallel_blobs, sizes.parallel_bytes),
            image: image((0..IMAGE_PARTS).map(|index| small(&mut generator, index)).collect()),
            check_digests,
        }
    }
}

fn blobs(generator: &mut Generator, count: usize, bytes: usize) -> Vec<Blob> {
    (0..count).map(|_| generator.blob(bytes)).collect()
}

/// An OCI image of which the first part is the config and the others are layers.
fn image(parts: Vec<Blob>) -> Image {
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let describe = |blob: &Blob, kind: &str| {
        serde_json::json!({
            "mediaType": kind, "digest": blob.digest(), "size": blob.bytes(),
        })
    };
    let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
    let layers: Vec<_> = parts.iter().skip(1).map(|blob| describe(blob, layer)).collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": parts.first().map(|b| describe(b, "application/vnd.oci.image.config.v1+json")),
        "layers": layers,
    });
    Image { parts, manifest: Blob::from(manifest.to_string().into_bytes()), media_type }
}
