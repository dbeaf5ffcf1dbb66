//! The base of the API, and health for those who watch.

use hyper::{Response, StatusCode};
use serde::Serialize;
use storage::{StorageError, Store};

use super::body::ReplyBody;
use super::{App, Outcome, reply};
use crate::error::ApiError;

/// `GET /v2/`, for those whose login is good.
pub(super) fn base() -> Response<ReplyBody> {
    json(StatusCode::OK, &serde_json::json!({}))
}

/// The process takes requests. Never waits for the disk: a stalled disk is no reason to be killed.
pub(super) fn live() -> Response<ReplyBody> {
    json(StatusCode::OK, &serde_json::json!({ "status": "ok" }))
}

/// The store answers and can be written, and the server is not stopping.
pub(super) async fn ready(app: &App) -> Outcome {
    if app.is_stopping() {
        return Err(ApiError::Storage(StorageError::Closed));
    }
    app.read(Store::ping).await?;
    Ok(live())
}

/// The same in the shape of Quay's answer, which scripts around mirror-registry read.
pub(super) async fn instance(app: &App) -> Response<ReplyBody> {
    let outcome = ready(app).await;
    let is_ready = outcome.is_ok();
    let is_read_only = matches!(outcome, Err(ApiError::Storage(StorageError::ReadOnly)));
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let services = Services {
        auth: true,
        database: is_ready || is_read_only,
        disk_space: !is_read_only,
        registry_gunicorn: true,
        service_key: true,
        web_gunicorn: true,
    };
    json(status, &Instance { data: Data { services }, status_code: status.as_u16() })
}

fn json(status: StatusCode, document: &impl Serialize) -> Response<ReplyBody> {
    // The documents of this server are maps of strings and numbers, which always serialize.
    let bytes = serde_json::to_vec(document).unwrap_or_default();
    reply::document(status, ReplyBody::full(bytes.into()))
}

#[derive(Serialize)]
struct Instance {
    data: Data,
    status_code: u16,
}

#[derive(Serialize)]
struct Data {
    services: Services,
}

#[derive(Serialize)]
struct Services {
    auth: bool,
    database: bool,
    disk_space: bool,
    registry_gunicorn: bool,
    service_key: bool,
    web_gunicorn: bool,
}
