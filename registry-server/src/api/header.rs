//! Headers that are read or written in more than one place, and the parsing of ranges.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use storage::{Digest, RepoName, UploadId};

use super::error::ApiError;

/// The challenge of every 401. Basic needs no token server and no clock.
pub(super) const CHALLENGE: &str = r#"Basic realm="registry""#;

/// What every reply says, whoever writes it.
pub(crate) const OF_EVERY_REPLY: [(&str, &str); 4] = [
    // That this is a registry of the second API; OpenShift's update service insists on it.
    ("docker-distribution-api-version", "registry/2.0"),
    // What is served was pushed by somebody and is bytes for programs. A browser that is led here
    // with somebody's login guesses no type, runs nothing, and gives nothing to other pages.
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; sandbox"),
    // No cache in between answers in our place: what it has could be another user's, or deleted.
    ("cache-control", "no-store"),
];

/// The digest of what was asked for or pushed.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// The identifier of an upload session.
pub(super) const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// The digest that a pushed manifest refers to.
pub(super) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// A tag that a push set.
pub(super) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
/// Which filters a referrers list honours.
pub(super) const OCI_FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

/// Where an upload session is. Relative, so that it holds under every name of the server.
pub(super) fn upload_location(name: &RepoName, id: UploadId) -> String {
    format!("/v2/{name}/blobs/uploads/{id}")
}

/// The bytes that an upload session holds, in the form that `oc` parses: no unit, and `0-0` for
/// none, since `oc` fails on an end before the start.
pub(super) fn upload_range(offset: u64) -> HeaderValue {
    // Digits and a dash are always a header value.
    HeaderValue::try_from(format!("0-{}", offset.saturating_sub(1)))
        .unwrap_or_else(|_| HeaderValue::from_static("0-0"))
}

/// A digest as a header value.
pub(super) fn digest_value(digest: &Digest) -> HeaderValue {
    value(&digest.to_string())
}

/// A text that is known to be made of visible ASCII as a header value.
pub(super) fn value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The position of a chunk from its `Content-Range`, `FIRST-LAST` as the specification has it;
/// `bytes FIRST-LAST/TOTAL`, which some clients send, means the same.
pub(super) fn content_range(headers: &HeaderMap) -> Result<Option<(u64, u64)>, ApiError> {
    let Some(value) = headers.get(hyper::header::CONTENT_RANGE) else { return Ok(None) };
    let text = value.to_str().map_err(|_| ApiError::ContentRange)?;
    let text = text.trim().trim_start_matches("bytes").trim_start_matches([' ', '=']);
    let text = text.split('/').next().unwrap_or_default();
    let parse = |part: &str| part.parse::<u64>().map_err(|_| ApiError::ContentRange);
    let (first, last) = text.split_once('-').ok_or(ApiError::ContentRange)?;
    let (first, last) = (parse(first)?, parse(last)?);
    // The length is one more than the difference, and must be a number too.
    if last < first || last == u64::MAX {
        return Err(ApiError::ContentRange);
    }
    Ok(Some((first, last)))
}

/// The `Content-Length` of a request.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(hyper::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A part of a blob: its first byte and its length, which is at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// The position of the first byte.
    pub start: u64,
    /// The number of bytes.
    pub length: u64,
}

/// What a `Range` header asks for, by RFC 9110 section 14.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: no range, a unit or form we do not know, or more parts than are sensible.
    Whole,
    /// Some parts, in the order in which they were asked for; parts beyond the end are left out.
    Parts(Vec<Span>),
    /// Only parts that do not exist.
    Nothing,
}

/// Reads the `Range` header of a request for a blob of `size` bytes.
pub(super) fn wanted(headers: &HeaderMap, size: u64, most: usize) -> Wanted {
    let header = headers.get(hyper::header::RANGE).and_then(|value| value.to_str().ok());
    let (unit, ranges) = header.and_then(|text| text.trim().split_once('=')).unwrap_or_default();
    if !unit.eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let mut parts = Vec::new();
    for range in ranges.split(',') {
        match span(range.trim(), size) {
            Ok(span) => parts.extend(span),
            Err(Malformed::Syntax) => return Wanted::Whole,
            Err(Malformed::Backwards) => return Wanted::Nothing,
        }
    }
    let total: u64 = parts.iter().map(|part| part.length).fold(0, u64::saturating_add);
    match parts.len() {
        0 => Wanted::Nothing,
        // Many or overlapping parts would cost more than the whole blob.
        count if count > most || (count > 1 && total > size) => Wanted::Whole,
        _ => Wanted::Parts(parts),
    }
}

enum Malformed {
    Syntax,
    Backwards,
}

fn span(range: &str, size: u64) -> Result<Option<Span>, Malformed> {
    let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
        // A number too large to count to lies beyond every blob.
        true if !text.is_empty() => Ok(text.parse::<u64>().unwrap_or(u64::MAX)),
        _ => Err(Malformed::Syntax),
    };
    let (first, last) = range.split_once('-').ok_or(Malformed::Syntax)?;
    if first.is_empty() {
        let length = number(last)?.min(size);
        return Ok((length > 0).then(|| Span { start: size - length, length }));
    }
    let start = number(first)?;
    let end = if last.is_empty() { u64::MAX } else { number(last)? };
    if end < start {
        return Err(Malformed::Backwards);
    }
    let end = end.min(size.saturating_sub(1));
    Ok((start < size).then(|| Span { start, length: end - start + 1 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str, size: u64) -> Wanted {
        let mut headers = HeaderMap::new();
        headers.insert(hyper::header::RANGE, text.parse().unwrap());
        wanted(&headers, size, 3)
    }

    fn parts(spans: &[(u64, u64)]) -> Wanted {
        Wanted::Parts(spans.iter().map(|&(start, length)| Span { start, length }).collect())
    }

    #[test]
    fn ranges_follow_rfc_9110() {
        assert_eq!(range("Bytes=0-0", 10), parts(&[(0, 1)]));
        assert_eq!(range("bytes=5-", 10), parts(&[(5, 5)]));
        assert_eq!(range("bytes=-3", 10), parts(&[(7, 3)]));
        assert_eq!(range("bytes=-30", 10), parts(&[(0, 10)]));
        assert_eq!(range("bytes=8-99999999999999999999999", 10), parts(&[(8, 2)]));
        assert_eq!(range("bytes=0-1, 4-5", 10), parts(&[(0, 2), (4, 2)]));
        assert_eq!(range("bytes=0-1,20-", 10), parts(&[(0, 2)]));
        for nothing in ["bytes=10-", "bytes=5-0", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(range(nothing, 10), Wanted::Nothing, "{nothing}");
        }
        for whole in [
            "lines=1-2",
            "bytes=a-b",
            "bytes=",
            "bytes=1",
            "bytes=0-9,0-9",
            "bytes=0-0,1-1,2-2,3-3",
        ] {
            assert_eq!(range(whole, 10), Wanted::Whole, "{whole}");
        }
        assert_eq!(range("bytes=0-", 0), Wanted::Nothing);
    }

    #[test]
    fn chunks_say_where_they_go() {
        let chunk = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(hyper::header::CONTENT_RANGE, text.parse().unwrap());
            content_range(&headers)
        };
        assert_eq!(chunk("0-9"), Ok(Some((0, 9))));
        assert_eq!(chunk("bytes 10-19/*"), Ok(Some((10, 19))));
        for bad in ["", "5", "9-0", "a-b", "-5", "5-", "0-18446744073709551615"] {
            assert_eq!(chunk(bad), Err(ApiError::ContentRange), "{bad}");
        }
        assert_eq!(content_range(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn the_range_of_an_empty_upload_is_the_one_oc_accepts() {
        assert_eq!(upload_range(0), "0-0");
        assert_eq!(upload_range(10), "0-9");
    }
}
