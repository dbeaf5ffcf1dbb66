//! What the load pushes: blobs that a seed makes again whenever they are needed, and documents that
//! name them.

use std::fmt;
use std::sync::Arc;

use oci::{Algorithm, Digest, MediaType};
use serde_json::{Value, json};

use crate::support::content::{CONFIG, LAYER, noise};

/// The bytes of a blob, as what makes them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    /// The digest it is pushed under.
    pub(crate) digest: Digest,
    /// Its length in bytes.
    pub(crate) length: usize,
    seed: u64,
}

impl Content {
    pub(crate) fn new(seed: u64, length: usize, algorithm: Algorithm) -> Self {
        Self { digest: Digest::of(algorithm, &noise(seed, length)), length, seed }
    }

    /// A content that nobody else pushes, of any size that a load should see.
    pub(crate) fn unique(rng: &mut fastrand::Rng) -> Self {
        let length = match rng.u32(0..200) {
            0..120 => rng.usize(4..4 * KIB),
            120..180 => rng.usize(4..64 * KIB),
            180..198 => rng.usize(64 * KIB..300 * KIB),
            _ => rng.usize(MIB..3 * MIB),
        };
        Self::new(rng.u64(..), length, any_algorithm(rng))
    }

    /// Contents that everybody pushes, mounts and deletes: of no bytes, of some, and of many.
    pub(crate) fn common() -> Vec<Self> {
        let lengths = [0, 4, 7, 1000, 4096, 10_000, 50_000, 65_536, 100_000, 131_073];
        let named = |(seed, length): (u64, usize)| {
            let algorithm = if seed % 4 == 3 { Algorithm::Sha512 } else { Algorithm::Sha256 };
            Self::new(seed, length, algorithm)
        };
        (0..).zip(lengths).map(named).collect()
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        noise(self.seed, self.length)
    }

    fn descriptor(&self, media_type: &str) -> Value {
        describe(media_type, &self.digest, self.length)
    }
}

/// A manifest or an index.
pub(crate) struct Document {
    /// The digest it is known by.
    pub(crate) digest: Digest,
    /// The type it is pushed with.
    pub(crate) media_type: &'static str,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// The blobs that must be there before it.
    pub(crate) blobs: Vec<Content>,
    /// What it refers to.
    pub(crate) subject: Option<Digest>,
}

impl Document {
    /// An image of these blobs, the first of which is its configuration.
    pub(crate) fn image(
        blobs: Vec<Content>,
        subject: Option<&Self>,
        algorithm: Algorithm,
    ) -> Arc<Self> {
        let layers: Vec<Value> = blobs[1..].iter().map(|blob| blob.descriptor(LAYER)).collect();
        let mut document = json!({ "config": blobs[0].descriptor(CONFIG), "layers": layers });
        if let Some(subject) = subject {
            document["subject"] = subject.descriptor();
        }
        let subject = subject.map(|subject| subject.digest);
        Self::new(MediaType::OCI_MANIFEST, document, blobs, subject, algorithm)
    }

    /// An index of these manifests.
    pub(crate) fn index(children: &[Arc<Self>], algorithm: Algorithm) -> Arc<Self> {
        let children: Vec<Value> = children.iter().map(|child| child.descriptor()).collect();
        let document = json!({ "manifests": children });
        Self::new(MediaType::OCI_INDEX, document, Vec::new(), None, algorithm)
    }

    fn new(
        media_type: &'static str,
        mut document: Value,
        blobs: Vec<Content>,
        subject: Option<Digest>,
        algorithm: Algorithm,
    ) -> Arc<Self> {
        document["schemaVersion"] = json!(2);
        document["mediaType"] = json!(media_type);
        let bytes = document.to_string().into_bytes();
        let digest = Digest::of(algorithm, &bytes);
        Arc::new(Self { digest, media_type, bytes, blobs, subject })
    }

    fn descriptor(&self) -> Value {
        describe(self.media_type, &self.digest, self.bytes.len())
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.bytes))
    }
}

/// Mostly sha256, as clients use it.
pub(crate) fn any_algorithm(rng: &mut fastrand::Rng) -> Algorithm {
    if rng.u32(0..8) == 0 { Algorithm::Sha512 } else { Algorithm::Sha256 }
}

fn describe(media_type: &str, digest: &Digest, length: usize) -> Value {
    json!({ "mediaType": media_type, "digest": digest.to_string(), "size": length })
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
