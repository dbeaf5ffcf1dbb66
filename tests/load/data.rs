//! The bytes that are pushed: random, so that nothing can compress them, and the same in every
//! run, so that runs can be compared. Generated and hashed once, before any clock starts.

use std::io::{self, Write};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::{Result, anyhow};
use aws_lc_rs::{digest, rand};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// How much of a body is handed to the connection at once, in bytes.
const FRAME_BYTES: usize = 256 * 1024;
/// How much of a blob is its own; what follows is shared by all blobs, to spare memory.
const HEAD_BYTES: usize = 64 * 1024;

/// Makes blobs whose ends are slices of one buffer of random bytes.
pub(crate) struct Generator {
    random: fastrand::Rng,
    shared: Bytes,
}

impl Generator {
    /// Prepares for blobs of at most `largest_bytes`.
    pub(crate) fn new(largest_bytes: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(0x6f63_695f_6c6f_6164);
        let shared = random_bytes(&mut random, largest_bytes.saturating_sub(HEAD_BYTES));
        Self { random, shared }
    }

    /// The next blob, different from all before it. Its length is `bytes`, or the largest that
    /// was prepared for where that is less.
    pub(crate) fn blob(&mut self, bytes: usize) -> Blob {
        let head = random_bytes(&mut self.random, bytes.min(HEAD_BYTES));
        let shared_bytes = (bytes - head.len()).min(self.shared.len());
        Blob::new(head, self.shared.slice(..shared_bytes))
    }
}

/// Some content and its digest.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    head: Bytes,
    tail: Bytes,
    digest: String,
}

impl Blob {
    fn new(head: Bytes, tail: Bytes) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(&head);
        hasher.update(&tail);
        Self { head, tail, digest: hasher.finish() }
    }

    /// The same content by its SHA-512.
    pub(crate) fn by_sha512(&self) -> Self {
        let mut context = digest::Context::new(&digest::SHA512);
        context.update(&self.head);
        context.update(&self.tail);
        let digest = format!("sha512:{}", hexadecimal(context.finish().as_ref()));
        Self { digest, ..self.clone() }
    }

    /// The digest as registries write it, of SHA-256 unless something else is said.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// The length in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        (self.head.len() + self.tail.len()) as u64
    }

    /// Writes the content.
    pub(crate) fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.head)?;
        out.write_all(&self.tail)
    }

    /// The content in one piece.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        [&self.head[..], &self.tail[..]].concat()
    }

    /// The content as the body of a request; it copies nothing.
    pub(crate) fn payload(&self) -> Payload {
        Payload { now: self.head.clone(), next: self.tail.clone() }
    }
}

impl From<Vec<u8>> for Blob {
    fn from(content: Vec<u8>) -> Self {
        Self::new(content.into(), Bytes::new())
    }
}

/// The body of a request; its length is known, so it is sent with `Content-Length`.
#[derive(Clone, Default)]
pub(crate) struct Payload {
    now: Bytes,
    next: Bytes,
}

impl Body for Payload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.now.is_empty() {
            self.now = mem::take(&mut self.next);
        }
        if self.now.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.now.len().min(FRAME_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.now.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.now.is_empty() && self.next.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.now.len() + self.next.len()) as u64)
    }
}

/// A running SHA-256.
pub(crate) struct Sha256(digest::Context);

impl Sha256 {
    /// Begins with nothing hashed.
    pub(crate) fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Adds bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was added, as registries write it.
    pub(crate) fn finish(self) -> String {
        format!("sha256:{}", hexadecimal(self.0.finish().as_ref()))
    }
}

/// A password of 32 hexadecimal digits, another one at each call.
pub(crate) fn random_password() -> Result<String> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| anyhow!("the system gave no random bytes"))?;
    Ok(hexadecimal(&bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random_bytes(random: &mut fastrand::Rng, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_payload_is_the_blob_that_was_hashed() {
        let mut generator = Generator::new(HEAD_BYTES + 3 * FRAME_BYTES + 7);
        for bytes in [0, 1, 4096, HEAD_BYTES, HEAD_BYTES + 1, HEAD_BYTES + 3 * FRAME_BYTES + 7] {
            let blob = generator.blob(bytes);
            assert_eq!(blob.bytes(), bytes as u64);
            assert_eq!(blob.payload().size_hint().exact(), Some(bytes as u64));
            let sent = blob.payload().collect().await.unwrap().to_bytes();
            assert_eq!(sent.len(), bytes);
            let mut hasher = Sha256::new();
            hasher.update(&sent);
            assert_eq!(hasher.finish(), blob.digest());
        }
    }

    #[test]
    fn blobs_differ_but_runs_do_not() {
        let digests = |count: usize| -> Vec<String> {
            let mut generator = Generator::new(HEAD_BYTES * 2);
            (0..count).map(|_| generator.blob(HEAD_BYTES * 2).digest().to_owned()).collect()
        };
        let mut unique = digests(8);
        assert_eq!(unique, digests(8));
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), 8);
    }

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        let nothing = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Blob::from(Vec::new()).digest(), nothing);
        let nothing = Blob::from(Vec::new()).by_sha512();
        assert!(nothing.digest().starts_with("sha512:cf83e1357eefb8bd"), "{}", nothing.digest());
        assert_eq!(nothing.digest().len(), 7 + 128);
    }
}
