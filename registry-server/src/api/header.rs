//! Headers that are read or written in more than one place.

use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use oci::{Digest, RepoName};
use storage::UploadId;

use crate::error::ApiError;

/// The challenge of every 401. Basic needs no token server and no clock.
pub(super) const CHALLENGE: &str = r#"Basic realm="registry""#;

/// What every reply says, whoever writes it.
pub(crate) const OF_EVERY_REPLY: [(HeaderName, &str); 4] = [
    // That this is a registry of the second API; OpenShift's update service insists on it.
    (HeaderName::from_static("docker-distribution-api-version"), "registry/2.0"),
    // What is served was pushed by somebody and is bytes for programs. A browser that is led here
    // with somebody's login guesses no type, runs nothing, and gives nothing to other pages.
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    // No cache in between answers in our place: what it has could be another user's, or deleted.
    (CACHE_CONTROL, "no-store"),
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

#[cfg(test)]
mod tests {
    use super::*;

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
