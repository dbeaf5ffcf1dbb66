//! What the log says of requests: what changed something, what was denied to whom, what failed; and
//! at the level of details every one.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Instant;

use hyper::http::request;
use hyper::{Method, Response, StatusCode};
use storage::{StorageError, UserName};
use tracing::field::display;
use tracing::{Level, debug, enabled, error, info, warn};

use super::body::ReplyBody;
use super::header::CONTENT_DIGEST;
use crate::error::ApiError;
use crate::logging::quota::{Kind, Quotas};

/// What a request did that its method and its path do not tell; it travels with the reply.
#[derive(Clone, Debug)]
pub(super) struct Deed(pub(super) Cow<'static, str>);

/// A request, as the log names it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) head: &'a request::Parts,
    pub(super) peer: SocketAddr,
    pub(super) user: Option<&'a UserName>,
    pub(super) started: Instant,
}

/// Logs why a request was refused.
pub(super) fn refusal(quotas: &Quotas, asked: Asked<'_>, refusal: &ApiError) {
    let Asked { head, peer, user, .. } = asked;
    let (method, path) = (&head.method, head.uri.path());
    let (status, _) = refusal.status();
    if status == StatusCode::FORBIDDEN && quotas.may(Kind::Denied) {
        let user = user.map_or("-", UserName::as_str);
        warn!(%peer, user, %method, path, reason = %refusal, "a request was denied");
    } else if is_failure(refusal) && quotas.may(kind_of_failure(status)) {
        error!(%method, path, cause = %refusal, "a request failed");
    } else {
        debug!(%method, path, cause = %refusal, "refused");
    }
}

/// Logs what changed something, and everything at the level of details.
pub(super) fn request(quotas: &Quotas, asked: Asked<'_>, reply: &Response<ReplyBody>) {
    let Asked { head, peer, user, started } = asked;
    let is_told = is_change(&head.method, reply.status()) && quotas.may(Kind::Changed);
    // Most lines are wanted by nobody, and are not made.
    if !is_told && !enabled!(Level::DEBUG) {
        return;
    }
    let user = user.map_or("-", UserName::as_str);
    let (method, path, status) = (&head.method, head.uri.path(), reply.status().as_u16());
    let milliseconds = started.elapsed().as_millis();
    let digest = reply.headers().get(CONTENT_DIGEST).and_then(|digest| digest.to_str().ok());
    let deed = reply.extensions().get::<Deed>().map(|Deed(deed)| display(deed));
    if is_told {
        info!(%peer, user, %method, path, status, milliseconds, digest, deed, "request");
    } else {
        debug!(%peer, user, %method, path, status, milliseconds, digest, deed, "request");
    }
}

/// A client that asks for more than there is brings that about at will, and as fast as it likes.
fn kind_of_failure(status: StatusCode) -> Kind {
    match status {
        StatusCode::INSUFFICIENT_STORAGE => Kind::Full,
        _ => Kind::Failed,
    }
}

/// Whether something is there that was not there before, or the other way round. A `POST` that
/// begins an upload is no such thing yet.
fn is_change(method: &Method, status: StatusCode) -> bool {
    match *method {
        Method::PUT | Method::DELETE => status.is_success(),
        Method::POST => status == StatusCode::CREATED,
        _ => false,
    }
}

/// Whether somebody should look into it. That the disk is read-only is said once, and not for
/// each push and each look at /readyz; and what is not offered has not failed.
fn is_failure(refusal: &ApiError) -> bool {
    let is_told = matches!(refusal, ApiError::Storage(StorageError::ReadOnly));
    let (status, _) = refusal.status();
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED && !is_told
}
