//! Content made in code: bytes, their digests, and manifests as the documents that clients send.

use oci::{Algorithm, Digest, MediaType};
use serde_json::{Value, json};

use super::http::{Client, Response};

/// The type that clients give to the bytes of a blob.
pub(crate) const OCTETS: (&str, &str) = ("Content-Type", "application/octet-stream");
/// The type of a configuration.
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The type of a layer.
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The sha256 digest of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, bytes).to_string()
}

/// The sha512 digest of some bytes.
pub(crate) fn sha512(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha512, bytes).to_string()
}

/// Bytes without a pattern, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// A descriptor of some bytes.
pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": sha256(bytes), "size": bytes.len() })
}

/// A manifest: what is sent, and under which type.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    /// Its media type.
    pub(crate) media_type: String,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Manifest {
    /// A document that says its own type.
    pub(crate) fn new(media_type: &str, mut document: Value) -> Self {
        document["schemaVersion"] = json!(2);
        document["mediaType"] = json!(media_type);
        Self { media_type: media_type.to_owned(), bytes: document.to_string().into_bytes() }
    }

    /// An OCI image of one layer. Its blobs are not pushed.
    pub(crate) fn image(config: &[u8], layer: &[u8]) -> Self {
        Self::image_with(config, layer, &json!({}))
    }

    /// An OCI image of one layer with more fields.
    pub(crate) fn image_with(config: &[u8], layer: &[u8], more: &Value) -> Self {
        let mut document = more.clone();
        document["config"] = descriptor(CONFIG, config);
        document["layers"] = json!([descriptor(LAYER, layer)]);
        Self::new(MediaType::OCI_MANIFEST, document)
    }

    /// An OCI index of manifests.
    pub(crate) fn index(children: &[&Self]) -> Self {
        let entry = |child: &&Self| descriptor(&child.media_type, &child.bytes);
        let children: Vec<Value> = children.iter().map(entry).collect();
        Self::new(MediaType::OCI_INDEX, json!({ "manifests": children }))
    }

    /// Its sha256 digest.
    pub(crate) fn digest(&self) -> String {
        sha256(&self.bytes)
    }

    /// Its descriptor, for a subject.
    pub(crate) fn descriptor(&self) -> Value {
        descriptor(&self.media_type, &self.bytes)
    }

    /// Pushes it under a tag or a digest.
    #[track_caller]
    pub(crate) fn put(&self, client: &Client, repository: &str, reference: &str) -> Response {
        let path = format!("/v2/{repository}/manifests/{reference}");
        client.request("PUT", &path, &[("Content-Type", &self.media_type)], &self.bytes)
    }
}

/// Pushes a blob in one request and returns its sha256 digest.
#[track_caller]
pub(crate) fn push_blob(client: &Client, repository: &str, bytes: &[u8]) -> String {
    let digest = sha256(bytes);
    let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
    client.request("POST", &path, &[OCTETS], bytes).expect(201);
    digest
}

/// Pushes an image of one layer under a tag, blobs first.
#[track_caller]
pub(crate) fn push_image(client: &Client, repository: &str, tag: &str, layer: &[u8]) -> Manifest {
    push_blob(client, repository, b"{}");
    push_blob(client, repository, layer);
    let manifest = Manifest::image(b"{}", layer);
    manifest.put(client, repository, tag).expect(201);
    manifest
}

/// Begins an upload and returns where it is.
#[track_caller]
pub(crate) fn begin_upload(client: &Client, repository: &str) -> String {
    let path = format!("/v2/{repository}/blobs/uploads/");
    client.request("POST", &path, &[], b"").expect(202).location()
}
