//! The requests of the load, each noted with its effects.

use std::sync::atomic::{AtomicU64, Ordering};

use oci::{Algorithm, Digest};

use super::acts::{Acts, Key};
use crate::support::content::{Manifest, OCTETS, begin_upload, noise};
use crate::support::http::{Client, Header, Response};

/// A client whose requests are noted.
pub(super) struct Load<'a> {
    pub(super) client: &'a Client,
    pub(super) acts: &'a Acts,
}

/// An upload that was begun and not ended.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) repository: String,
    pub(super) location: String,
    /// What was sent, all of it acknowledged.
    pub(super) sent: Vec<u8>,
}

/// The ways in which clients push a blob.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// All in one request.
    Post,
    /// A request to begin, and one with the bytes.
    Put,
    /// A request to begin, one with the bytes, and one with the digest.
    Patch,
    /// The same, the bytes in three pieces.
    Pieces,
    /// The same as `Patch`, the bytes as a stream without a length.
    Stream,
}

impl Way {
    /// Every way.
    pub(super) const ALL: [Self; 5] =
        [Self::Post, Self::Put, Self::Patch, Self::Pieces, Self::Stream];
}

impl Load<'_> {
    /// Pushes a blob under its digest of this algorithm.
    pub(super) fn blob(&self, repository: &str, bytes: &[u8], way: Way, algorithm: Algorithm) {
        let digest = Digest::of(algorithm, bytes).to_string();
        let key = Key::Blob(repository.to_owned(), digest.clone());
        let effects = vec![(key, Some(bytes.len().to_string()))];
        if matches!(way, Way::Post) {
            let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
            let send = || self.client.request("POST", &path, &[OCTETS], bytes).expect(201);
            return drop(self.acts.take(effects, send));
        }
        let location = begin_upload(self.client, repository);
        let rest = match way {
            Way::Post | Way::Put => bytes,
            Way::Patch => self.patch(&location, 0, bytes),
            Way::Pieces => {
                let third = bytes.len() / 3 + 1;
                for (number, piece) in bytes.chunks(third).enumerate() {
                    self.patch(&location, number * third, piece);
                }
                b""
            }
            Way::Stream => {
                let sent = self.client.stream("PATCH", &location, &[OCTETS], bytes.chunks(700));
                sent.expect(202);
                b""
            }
        };
        self.acts.take(effects, || self.put_blob(&location, &digest, rest).expect(201));
    }

    /// Begins an upload and leaves it open.
    pub(super) fn session(&self, repository: &str, bytes: &[u8]) -> Session {
        let location = begin_upload(self.client, repository);
        let (first, second) = bytes.split_at(bytes.len() / 2);
        self.patch(&location, 0, first);
        self.patch(&location, first.len(), second);
        Session { repository: repository.to_owned(), location, sent: bytes.to_owned() }
    }

    /// Ends an upload with its last bytes.
    pub(super) fn finish(&self, session: &Session, rest: &[u8]) {
        let bytes = [&session.sent, rest].concat();
        let digest = Digest::of(Algorithm::Sha256, &bytes).to_string();
        let key = Key::Blob(session.repository.clone(), digest.clone());
        let effects = vec![(key, Some(bytes.len().to_string()))];
        self.acts.take(effects, || self.put_blob(&session.location, &digest, rest).expect(201));
    }

    /// Pushes an image of one layer with its blobs, under tags or under its digest alone.
    pub(super) fn image(&self, repository: &str, layer: &[u8], tags: &[&str]) -> Manifest {
        self.blob(repository, b"{}", Way::Post, Algorithm::Sha256);
        self.blob(repository, layer, Way::Put, Algorithm::Sha256);
        let image = Manifest::image(b"{}", layer);
        self.manifest(repository, &image, tags);
        image
    }

    /// Pushes a manifest, under tags or under its digest alone.
    pub(super) fn manifest(&self, repository: &str, manifest: &Manifest, tags: &[&str]) {
        let digest = manifest.digest();
        let key = Key::Manifest(repository.to_owned(), digest.clone());
        let document: serde_json::Value =
            serde_json::from_slice(&manifest.bytes).expect("a manifest");
        let layers = document["layers"].as_array().into_iter().flatten();
        let blobs = layers.chain(document.get("config")).map(|blob| {
            Key::Blob(repository.to_owned(), blob["digest"].as_str().expect("a digest").to_owned())
        });
        self.acts.needs(key.clone(), blobs.collect());
        let mut effects = vec![(key, Some(manifest.media_type.clone()))];
        for tag in tags {
            let key = Key::Tag(repository.to_owned(), (*tag).to_owned());
            effects.push((key, Some(digest.clone())));
        }
        let reference = match tags {
            [tag] => (*tag).to_owned(),
            _ => {
                let words: Vec<_> = tags.iter().map(|tag| format!("tag={tag}")).collect();
                format!("{digest}?{}", words.join("&")).trim_end_matches('?').to_owned()
            }
        };
        let put = || manifest.put(self.client, repository, &reference).expect(201);
        self.acts.take(effects, put);
    }

    /// Deletes a tag.
    pub(super) fn delete_tag(&self, repository: &str, tag: &str) {
        let effects = vec![(Key::Tag(repository.to_owned(), tag.to_owned()), None)];
        let path = format!("/v2/{repository}/manifests/{tag}");
        self.acts.take(effects, || self.client.delete(&path).expect(202));
    }

    /// Deletes a manifest, and with it the tags that name it.
    pub(super) fn delete_manifest(&self, repository: &str, manifest: &Manifest, tags: &[&str]) {
        let digest = manifest.digest();
        let path = format!("/v2/{repository}/manifests/{digest}");
        let mut effects = vec![(Key::Manifest(repository.to_owned(), digest), None)];
        for tag in tags {
            effects.push((Key::Tag(repository.to_owned(), (*tag).to_owned()), None));
        }
        self.acts.take(effects, || self.client.delete(&path).expect(202));
    }

    /// Takes a blob out of a repository.
    pub(super) fn delete_blob(&self, repository: &str, bytes: &[u8]) {
        let digest = Digest::of(Algorithm::Sha256, bytes).to_string();
        let path = format!("/v2/{repository}/blobs/{digest}");
        let effects = vec![(Key::Blob(repository.to_owned(), digest), None)];
        self.acts.take(effects, || self.client.delete(&path).expect(202));
    }

    /// Mounts a blob of another repository.
    pub(super) fn mount(&self, from: &str, repository: &str, bytes: &[u8]) {
        let digest = Digest::of(Algorithm::Sha256, bytes).to_string();
        let path = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={from}");
        let key = Key::Blob(repository.to_owned(), digest);
        let effects = vec![(key, Some(bytes.len().to_string()))];
        self.acts.take(effects, || self.client.request("POST", &path, &[], b"").expect(201));
    }

    fn patch(&self, location: &str, offset: usize, bytes: &[u8]) -> &'static [u8] {
        let range = format!("{offset}-{}", offset + bytes.len() - 1);
        let headers: [Header<'_>; 2] = [OCTETS, ("Content-Range", &range)];
        self.client.request("PATCH", location, &headers, bytes).expect(202);
        b""
    }

    fn put_blob(&self, location: &str, digest: &str, rest: &[u8]) -> Response {
        let path = format!("{location}?digest={digest}");
        self.client.request("PUT", &path, &[OCTETS], rest)
    }
}

/// Bytes that no other call gives: short ones, some with more than one sector, a few with more
/// than one write.
pub(super) fn fresh_bytes() -> Vec<u8> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let length = match number % 10 {
        0 => 40_000,
        1 | 2 => 3,
        small => 300 * usize::try_from(small).expect("a digit"),
    };
    [&number.to_le_bytes(), noise(number, length).as_slice()].concat()
}
