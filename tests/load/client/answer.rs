//! Answers: whether they are what they should be, and where they say that an upload goes on.

use std::fmt;

use anyhow::{Context, Result, bail};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, LOCATION};
use hyper::{Response, StatusCode, Uri};

/// A request was answered in another way than it should have been.
#[derive(Debug)]
pub(crate) struct Unexpected {
    what: String,
    status: StatusCode,
    said: String,
}

impl Unexpected {
    /// Whether the server said that it does not do such a thing, and not that it failed.
    pub(crate) fn is_refusal(&self) -> bool {
        self.status.is_client_error() || self.status == StatusCode::NOT_IMPLEMENTED
    }
}

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: answered {}: {}", self.what, self.status, self.said)
    }
}

impl std::error::Error for Unexpected {}

/// Passes an answer on when it has an expected status; otherwise reads what the server says
/// and fails with it.
pub(super) async fn expect(
    answer: Response<Incoming>,
    what: &str,
    expected: &[StatusCode],
) -> Result<Response<Incoming>> {
    let status = answer.status();
    if expected.contains(&status) {
        return Ok(answer);
    }
    let mut said = Vec::new();
    let mut body = answer.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        said.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        if said.len() > SHOWN_BYTES {
            said.truncate(SHOWN_BYTES);
            break;
        }
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    bail!(Unexpected { what: what.to_owned(), status, said });
}

/// Where an upload goes on: path and query of `Location`, which may be absolute or relative.
pub(super) fn location(headers: &HeaderMap) -> Result<String> {
    let location = headers.get(LOCATION).context("the answer has no Location")?.to_str()?;
    let uri: Uri = location.parse().with_context(|| format!("Location: {location}"))?;
    let path = uri.path_and_query().with_context(|| format!("Location: {location}"))?;
    Ok(path.as_str().to_owned())
}

/// The address of an upload with the digest that it is to have.
pub(super) fn with_digest(path: &str, digest: &str) -> String {
    let join = if path.contains('?') { '&' } else { '?' };
    format!("{path}{join}digest={}", digest.replace(':', "%3A"))
}

/// How much of the body of an unexpected answer is shown, in bytes.
const SHOWN_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn located(value: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_static(value));
        location(&headers).ok()
    }

    #[test]
    fn a_location_may_be_absolute_or_relative() {
        let path = "/v2/a/b/blobs/uploads/1?_state=x%3D";
        assert_eq!(located("/v2/a/b/blobs/uploads/1?_state=x%3D").as_deref(), Some(path));
        let absolute = "https://localhost:5000/v2/a/b/blobs/uploads/1?_state=x%3D";
        assert_eq!(located(absolute).as_deref(), Some(path));
        assert_eq!(located("not a location"), None);
        assert!(location(&HeaderMap::new()).is_err());
    }

    #[test]
    fn the_digest_joins_the_query() {
        assert_eq!(with_digest("/v2/a", "sha256:00"), "/v2/a?digest=sha256%3A00");
        assert_eq!(with_digest("/v2/a?s=1", "sha256:00"), "/v2/a?s=1&digest=sha256%3A00");
    }

    #[test]
    fn only_the_server_refuses_and_only_by_some_answers() {
        let unexpected = |status| Unexpected { what: String::new(), status, said: String::new() };
        for status in [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::NOT_IMPLEMENTED]
        {
            assert!(unexpected(status).is_refusal(), "{status}");
        }
        for status in [StatusCode::OK, StatusCode::INTERNAL_SERVER_ERROR] {
            assert!(!unexpected(status).is_refusal(), "{status}");
        }
    }
}
