//! `GET`, `HEAD` and `DELETE` of a blob.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE,
};
use hyper::http::request;
use hyper::{Method, Response, StatusCode};
use oci::{Digest, RepoName};
use storage::{BlobContent, BlobReader, StorageError, Store};

use super::body::{BlobBody, Parts, ReplyBody, Source};
use super::header::{CONTENT_DIGEST, digest_value, value};
use super::range::{ByteSpan, RangeChoice, list_bytes, wanted};
use super::reply::{empty, with_body};
use super::{App, Outcome};
use crate::blocking::OnDisk;
use crate::error::ApiError;
use crate::share::HeldShare;

/// Sends a blob or parts of it, never compressed: clients count its bytes.
pub(super) async fn read(
    app: &App,
    head: &request::Parts,
    name: RepoName,
    digest: Digest,
    may_push: bool,
) -> Outcome {
    let unknown = || ApiError::BlobUnknown { repository: name.clone(), digest };
    let repository = name.clone();
    if head.method == Method::HEAD {
        // Who may push takes the answer as leave to name the blob without pushing it.
        let size = app.read(move |store| match may_push {
            true => store.tell_blob_size(&repository, &digest),
            false => store.blob_size(&repository, &digest),
        });
        let size = size.await?.ok_or_else(unknown)?;
        return Ok(reply(StatusCode::OK, ReplyBody::empty(), &digest, size));
    }
    if !head.headers.contains_key(RANGE) {
        return whole(app, name, digest).await;
    }
    let list_bytes = list_bytes(&head.headers);
    let is_long = list_bytes > app.limits.small_body_bytes;
    let room = if is_long { app.memory.try_take(&app.owner, list_bytes) } else { None };
    if is_long && room.is_none() {
        // Those who have the room may not read for long. Whoever asks for parts takes all of it
        // too (RFC 9110 section 14.2), and costs no room then.
        return whole(app, name, digest).await;
    }
    let reader = Arc::new(open(app, repository, digest).await?.ok_or_else(unknown)?);
    let size = reader.size();
    match wanted(&head.headers, &digest, size, app.limits.ranges) {
        RangeChoice::Nothing => Err(ApiError::RangeNotSatisfiable { size }),
        RangeChoice::Whole => whole(app, name, digest).await,
        RangeChoice::Parts(parts) => match parts.as_slice() {
            [part] => Ok(one_part(app, reader, &digest, *part)),
            _ => Ok(many_parts(app, reader, &digest, (parts, room))),
        },
    }
}

/// Takes a blob out of a repository, unless a manifest there names it.
pub(super) async fn delete(app: &App, name: RepoName, digest: Digest) -> Outcome {
    let repository = name.clone();
    if !app.write(move |store| store.delete_blob(&repository, &digest)).await? {
        return Err(ApiError::BlobUnknown { repository: name, digest });
    }
    Ok(empty(StatusCode::ACCEPTED))
}

/// Sends all of a blob. A small one is held against its digest before its first byte goes out: a
/// large one would come twice from the disk, and clients check it as they do every blob.
async fn whole(app: &App, name: RepoName, digest: Digest) -> Outcome {
    let (repository, most) = (name.clone(), app.limits.hashed_blob_bytes);
    let read = move |store: &Store| {
        Ok(store.blob(&repository, &digest, most)?.map(|content| match content {
            BlobContent::Whole(bytes) => Sent::Bytes(bytes),
            BlobContent::File(reader) => Sent::File(OnDisk::new(reader)),
        }))
    };
    let content: Result<_, StorageError> = app.read(read).await;
    let unknown = || ApiError::BlobUnknown { repository: name.clone(), digest };
    let (body, size) = match content?.ok_or_else(unknown)? {
        Sent::Bytes(bytes) => {
            let size = bytes.len();
            let room = match size > app.limits.small_body_bytes {
                true => app.memory.try_take(&app.owner, size),
                false => None,
            };
            if room.is_none() && size > app.limits.small_body_bytes {
                // It is right, and goes out of its file like a larger one.
                drop(bytes);
                return from_file(app, name, digest).await;
            }
            (ReplyBody::roomy(bytes, room), size as u64)
        }
        Sent::File(reader) => {
            let size = reader.size();
            (body(app, Source::Blob(Arc::new(reader)), ByteSpan { start: 0, length: size }), size)
        }
    };
    Ok(reply(StatusCode::OK, body, &digest, size))
}

/// Sends all of a blob out of its file.
async fn from_file(app: &App, name: RepoName, digest: Digest) -> Outcome {
    let reader = open(app, name.clone(), digest).await?;
    let reader = reader.ok_or(ApiError::BlobUnknown { repository: name, digest })?;
    let size = reader.size();
    let body = body(app, Source::Blob(Arc::new(reader)), ByteSpan { start: 0, length: size });
    Ok(reply(StatusCode::OK, body, &digest, size))
}

/// Opens the file of a blob; none if the repository has no such blob.
async fn open(
    app: &App,
    repository: RepoName,
    digest: Digest,
) -> Result<Option<OnDisk<BlobReader>>, StorageError> {
    app.read(move |store| Ok(store.open_blob(&repository, &digest)?.map(OnDisk::new))).await
}

/// All of a blob, from memory or from its file.
enum Sent {
    Bytes(Bytes),
    File(OnDisk<BlobReader>),
}

fn one_part(
    app: &App,
    reader: Arc<OnDisk<BlobReader>>,
    digest: &Digest,
    part: ByteSpan,
) -> Response<ReplyBody> {
    let range = part.content_range(reader.size());
    let body = body(app, Source::Blob(reader), part);
    let mut response = reply(StatusCode::PARTIAL_CONTENT, body, digest, part.length);
    response.headers_mut().insert(CONTENT_RANGE, value(&range));
    response
}

/// Several parts in one multipart body.
fn many_parts(
    app: &App,
    reader: Arc<OnDisk<BlobReader>>,
    digest: &Digest,
    (parts, room): (Vec<ByteSpan>, Option<HeldShare>),
) -> Response<ReplyBody> {
    let parts = Parts::new(digest, reader.size(), parts);
    let kind = value(&parts.content_type());
    let body = BlobBody::many(app, Source::Blob(reader), parts, room);
    let length = body.left();
    let body = ReplyBody::Blob(Box::new(body));
    let mut response = reply(StatusCode::PARTIAL_CONTENT, body, digest, length);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn body(app: &App, source: Source, part: ByteSpan) -> ReplyBody {
    ReplyBody::Blob(Box::new(BlobBody::one(app, source, part)))
}

fn reply(status: StatusCode, body: ReplyBody, digest: &Digest, length: u64) -> Response<ReplyBody> {
    let mut response = with_body(status, body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_DIGEST, digest_value(digest));
    response
}
