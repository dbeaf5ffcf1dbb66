//! How much work there is: the sizes of the full and of the short form, and the content for
//! them, made once and pushed to every server.

use std::time::Duration;

use serde::Serialize;

use crate::data::{Blob, Generator};
use crate::media::Media;

mod release;

pub(crate) use release::{Release, ReleaseImage};

/// The sizes of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Sizes {
    /// Blobs that are pushed and pulled one after the other.
    pub(crate) large_blobs: usize,
    /// Bytes of each.
    pub(crate) large_bytes: usize,
    /// Parts of a large blob that are asked for.
    pub(crate) ranges: Repeats,
    /// Clients that read slowly.
    pub(crate) slow_clients: usize,
    /// Small blobs, in all.
    pub(crate) small_blobs: usize,
    /// Clients that share them.
    pub(crate) small_clients: usize,
    /// Small blobs for 1, 8 and 32 streams.
    pub(crate) stream_blobs: [usize; 3],
    /// Requests for one manifest.
    pub(crate) manifest_gets: Repeats,
    /// Connections that share them.
    pub(crate) manifest_connections: usize,
    /// Requests for it on a new connection each.
    pub(crate) connects: Repeats,
    /// Blobs that are pushed at once.
    pub(crate) parallel_blobs: usize,
    /// Bytes of each.
    pub(crate) parallel_bytes: usize,
    /// Blobs that go by their SHA-512, of as many bytes as the large ones.
    pub(crate) sha512_blobs: usize,
    /// Images of a release.
    pub(crate) release_images: usize,
    /// What the lengths of its layers are divided by.
    pub(crate) release_divisor: usize,
    /// Nodes that pull images of it at once.
    pub(crate) nodes: usize,
    /// Images that each of them pulls.
    pub(crate) node_images: usize,
    /// How often a server is started.
    pub(crate) starts: usize,
    /// How long an idle server is watched, and how long it rests before its memory is read, in
    /// milliseconds.
    pub(crate) rest_ms: u64,
    /// Images of an import.
    pub(crate) import_images: usize,
    /// Images of one that shares the blocks of its source.
    pub(crate) clone_images: usize,
    /// What the lengths of the layers of both are divided by.
    pub(crate) import_divisor: usize,
    /// Blobs that nothing needs, for a collection.
    pub(crate) unneeded_blobs: usize,
    /// The disk that all of this has to fit on, with what a server keeps twice, in bytes.
    pub(crate) disk_bytes: u64,
}

/// How often the same is asked of a server: less of those that need bcrypt for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Repeats {
    /// Of ours, and of nginx.
    pub(crate) ours: usize,
    /// Of every other registry.
    pub(crate) peer: usize,
}

impl Sizes {
    /// The sizes that figures are compared by.
    pub(crate) const FULL: Self = Self {
        large_blobs: 4,
        large_bytes: 256 * MIB,
        ranges: Repeats { ours: 10_000, peer: 2_000 },
        slow_clients: 64,
        small_blobs: 400,
        small_clients: 4,
        stream_blobs: [60, 240, 640],
        manifest_gets: Repeats { ours: 32_000, peer: 1_600 },
        manifest_connections: 16,
        connects: Repeats { ours: 1_000, peer: 400 },
        parallel_blobs: 16,
        parallel_bytes: 64 * MIB,
        sha512_blobs: 2,
        release_images: 160,
        release_divisor: 1,
        nodes: 30,
        node_images: 40,
        starts: 10,
        rest_ms: 2_000,
        import_images: 36,
        clone_images: 222,
        import_divisor: 1,
        unneeded_blobs: 100_000,
        disk_bytes: 4 << 30,
    };

    /// Enough to see that everything runs; its figures are rough.
    pub(crate) const SHORT: Self = Self {
        large_blobs: 2,
        large_bytes: 64 * MIB,
        ranges: Repeats { ours: 1_000, peer: 200 },
        slow_clients: 16,
        small_blobs: 100,
        small_clients: 4,
        stream_blobs: [20, 40, 96],
        manifest_gets: Repeats { ours: 4_000, peer: 400 },
        manifest_connections: 16,
        connects: Repeats { ours: 200, peer: 50 },
        parallel_blobs: 16,
        parallel_bytes: 8 * MIB,
        sha512_blobs: 1,
        release_images: 24,
        release_divisor: 4,
        nodes: 6,
        node_images: 8,
        starts: 3,
        rest_ms: 200,
        import_images: 36,
        clone_images: 176,
        import_divisor: 32,
        unneeded_blobs: 5_000,
        disk_bytes: 1 << 30,
    };

    /// The sizes in words, a line each.
    pub(crate) fn describe(&self) -> Vec<String> {
        let times = |repeats: Repeats| format!("{} (peers {})", repeats.ours, repeats.peer);
        let large = self.large_bytes / MIB;
        let release = format!("{} images, layers / {}", self.release_images, self.release_divisor);
        vec![
            format!("start, first-start: {} times; idle: {} ms", self.starts, self.rest_ms),
            format!("push, pull: {} blobs of {large} MiB, one connection", self.large_blobs),
            format!("ranges: {} GETs of 64 KiB, 4 connections", times(self.ranges)),
            format!("slow: one pull of all of that beside {} slow clients", self.slow_clients),
            format!(
                "parallel: {} blobs of {} MiB at once",
                self.parallel_blobs,
                self.parallel_bytes / MIB
            ),
            format!("push512, pull512: {} blobs of {large} MiB by SHA-512", self.sha512_blobs),
            format!(
                "small: {} blobs of about 4 KiB, {} clients, HEAD POST PATCH PUT each",
                self.small_blobs, self.small_clients
            ),
            format!("stream1, 8, 32: {:?} such blobs, POST PATCH PUT each", self.stream_blobs),
            format!(
                "manifests: {} GETs by tag, {} connections",
                times(self.manifest_gets),
                self.manifest_connections
            ),
            format!("connect, resume: {} GETs, a connection each", times(self.connects)),
            format!("release, again: {release}, 8 images x 6 layers at once"),
            format!("nodes: {} that pull {} of its images each", self.nodes, self.node_images),
            format!(
                "import-tar, import-dir: {} images, clone: {}, layers / {}",
                self.import_images, self.clone_images, self.import_divisor
            ),
            format!("collection: {} blobs that nothing needs (ours)", self.unneeded_blobs),
        ]
    }
}

/// An image: a manifest and the blobs that it names.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// The config and the layers.
    pub(crate) parts: Vec<Blob>,
    /// The bytes of the manifest.
    pub(crate) manifest: Blob,
    /// The manifest's media type.
    pub(crate) media_type: &'static str,
}

impl Image {
    /// An OCI image of which the first part is the config and the others are layers.
    pub(crate) fn of(parts: Vec<Blob>) -> Self {
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let describe = |blob: &Blob, kind: &str| {
            serde_json::json!({
                "mediaType": kind, "digest": blob.digest(), "size": blob.bytes(),
            })
        };
        let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
        let layers: Vec<_> = parts.iter().skip(1).map(|blob| describe(blob, layer)).collect();
        let config = "application/vnd.oci.image.config.v1+json";
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": parts.first().map(|blob| describe(blob, config)),
            "layers": layers,
        });
        Self { parts, manifest: Blob::from(manifest.to_string().into_bytes()), media_type }
    }
}

/// The content to push, and how it is spread.
pub(crate) struct Workload {
    /// How much of it there is.
    pub(crate) sizes: Sizes,
    /// For push and pull.
    pub(crate) large: Vec<Blob>,
    /// The same content by its SHA-512.
    pub(crate) large_by_sha512: Vec<Blob>,
    /// For small.
    pub(crate) small: Vec<Blob>,
    /// For 1, 8 and 32 streams.
    pub(crate) streams: [Vec<Blob>; 3],
    /// For parallel.
    pub(crate) parallel: Vec<Blob>,
    /// For manifests.
    pub(crate) image: Image,
    /// For release, again and nodes.
    pub(crate) release: Release,
    /// For import-tar and import-dir, if they are asked for.
    pub(crate) media: Option<Media>,
    /// Whether pull is repeated off the clock to hash what comes.
    pub(crate) check_digests: bool,
}

impl Workload {
    /// How long a server rests before its memory is read.
    pub(crate) fn rest(&self) -> Duration {
        Duration::from_millis(self.sizes.rest_ms)
    }

    /// Makes the content; this takes the memory of one large blob and some seconds.
    pub(crate) fn generate(sizes: Sizes, check_digests: bool) -> Self {
        let mut generator = Generator::new(sizes.large_bytes.max(sizes.parallel_bytes));
        let large = blobs(&mut generator, sizes.large_blobs, sizes.large_bytes);
        Self {
            sizes,
            large_by_sha512: large.iter().take(sizes.sha512_blobs).map(Blob::by_sha512).collect(),
            large,
            small: small_blobs(&mut generator, sizes.small_blobs),
            streams: sizes.stream_blobs.map(|count| small_blobs(&mut generator, count)),
            parallel: blobs(&mut generator, sizes.parallel_blobs, sizes.parallel_bytes),
            image: Image::of(small_blobs(&mut generator, IMAGE_PARTS)),
            release: Release::generate(&mut generator, sizes.release_images, sizes.release_divisor),
            media: None,
            check_digests,
        }
    }
}

fn blobs(generator: &mut Generator, count: usize, bytes: usize) -> Vec<Blob> {
    (0..count).map(|_| generator.blob(bytes)).collect()
}

/// Lengths from 3.5 to 4.5 KiB, since real configs and layers are not of one length.
fn small_blobs(generator: &mut Generator, count: usize) -> Vec<Blob> {
    (0..count).map(|index| generator.blob(3 * KIB + KIB / 2 + index * 37 % KIB)).collect()
}

/// The tag of the image whose manifest is asked for.
pub(crate) const TAG: &str = "latest";
/// Where that manifest is asked for.
pub(crate) const MANIFEST_PATH: &str = "/v2/load/image/manifests/latest";

/// How many blobs that image has, its config among them.
const IMAGE_PARTS: usize = 6;
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
