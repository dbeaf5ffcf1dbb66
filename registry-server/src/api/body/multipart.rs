//! Several parts of a blob in one body: multipart/byteranges, RFC 9110 section 14.6 and RFC 2046
//! section 5.1. podman asks so for what it lacks of a zstd:chunked layer.

use oci::Digest;

use crate::api::range::ByteSpan;

/// The parts that are still to be sent. What stands between them is made when it is their turn, so
/// that a thousand of them are a few kilobytes.
#[derive(Debug)]
pub(in crate::api) struct Parts {
    boundary: String,
    size: u64,
    spans: std::vec::IntoIter<ByteSpan>,
    is_over: bool,
}

impl Parts {
    /// Parts of the blob of this digest and size.
    pub(in crate::api) fn new(digest: &Digest, size: u64, spans: Vec<ByteSpan>) -> Self {
        // The boundary must not occur in the content; a digest of it does so with no probability,
        // and a hundred and more digits are too long for RFC 2046.
        let boundary = digest.hex().chars().take(BOUNDARY_CHARACTERS).collect();
        Self { boundary, size, spans: spans.into_iter(), is_over: false }
    }

    /// The `Content-Type` of the reply.
    pub(in crate::api) fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// How many bytes they are with what stands between them.
    pub(super) fn length(&self) -> u64 {
        let spans = self.spans.as_slice().iter();
        let lengths = spans.map(|span| self.head(*span).len() as u64 + span.length);
        lengths.sum::<u64>() + self.end().len() as u64
    }

    fn head(&self, span: ByteSpan) -> String {
        format!(
            "\r\n--{}\r\nContent-Type: application/octet-stream\r\nContent-Range: {}\r\n\r\n",
            self.boundary,
            span.content_range(self.size)
        )
    }

    fn end(&self) -> String {
        format!("\r\n--{}--\r\n", self.boundary)
    }
}

impl Iterator for Parts {
    /// What comes next, and the part behind it; the end has none.
    type Item = (String, Option<ByteSpan>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let span = self.spans.next();
        self.is_over = span.is_none();
        Some((span.map_or_else(|| self.end(), |span| self.head(span)), span))
    }
}

/// The longest boundary is 70 characters.
const BOUNDARY_CHARACTERS: usize = 64;
