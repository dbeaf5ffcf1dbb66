//! Replies as handlers begin them: a status, and a body or none.

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::body::ReplyBody;

/// A reply without a body.
pub(super) fn empty(status: StatusCode) -> Response<ReplyBody> {
    with_body(status, ReplyBody::empty())
}

/// A reply with a body that is JSON.
pub(super) fn document(status: StatusCode, body: ReplyBody) -> Response<ReplyBody> {
    let mut response = with_body(status, body);
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// A reply with a body of any kind.
pub(super) fn with_body(status: StatusCode, body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
