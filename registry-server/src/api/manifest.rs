//! `GET`, `HEAD`, `PUT` and `DELETE` of a manifest.

use std::sync::Arc;

use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION, WARNING};
use hyper::http::request;
use hyper::{HeaderMap, Method, Response, StatusCode};
use oci::{Algorithm, Digest, Manifest, ManifestError, MediaType, Reference, RepoName, Tag};
use storage::{Account, Actor, ManifestContent, Pushed, StorageError, Store, UserName};

use super::body::{BlobBody, ReplyBody, RequestBody, Source};
use super::header::{
    CONTENT_DIGEST, OCI_SUBJECT, OCI_TAG, OF_EVERY_REPLY, content_length, digest_value, value,
};
use super::range::ByteSpan;
use super::received::Received;
use super::reply::empty;
use super::{App, Outcome};
use crate::error::ApiError;

/// Sends a manifest as it was pushed. `Accept` chooses nothing: the bytes behind a digest or a
/// tag are what they are.
pub(super) async fn read(
    app: &App,
    method: &Method,
    name: RepoName,
    reference: Reference,
    may_push: bool,
) -> Outcome {
    let (repository, wanted) = (name.clone(), reference.clone());
    let (whole_bytes, is_head) = (app.limits.small_body_bytes, *method == Method::HEAD);
    let (memory, owner) = (app.memory.clone(), app.owner.clone());
    let open = move |store: &Store| {
        let mut room = None;
        let has_room = |length| {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            room = if is_head { None } else { memory.try_take(&owner, length) };
            room.is_some()
        };
        let found = store.open_manifest(&repository, &wanted, whole_bytes, may_push, has_room)?;
        Ok::<_, StorageError>(found.map(|found| (found, room)))
    };
    let unknown = || ApiError::ManifestUnknown { repository: name, reference };
    let (digest, media_type, length, body) = match app.read(open).await?.ok_or_else(unknown)? {
        (ManifestContent::Whole(whole), room) => {
            let length = whole.bytes.len() as u64;
            (whole.digest, whole.media_type, length, ReplyBody::roomy(whole.bytes, room))
        }
        // A piece at a time: whoever reads slowly, or not at all, holds no more than others.
        (ManifestContent::Long(long), _) => {
            let source = Source::Manifest(Arc::clone(&app.store), long.digest);
            let part = ByteSpan { start: 0, length: long.length };
            let body = ReplyBody::Blob(Box::new(BlobBody::one(app, source, part)));
            (long.digest, long.media_type, long.length, body)
        }
    };
    let body = if is_head { ReplyBody::empty() } else { body };
    Ok(found(&digest, &media_type, length, body))
}

/// Sends a manifest that was sent lately, if that waits for nobody.
pub(super) fn read_at_once(
    app: &App,
    method: &Method,
    name: &RepoName,
    reference: &Reference,
    may_push: bool,
) -> Option<Response<ReplyBody>> {
    let hot = app.store.hot_manifest(name, reference, may_push)?;
    let body = match *method {
        Method::HEAD => ReplyBody::empty(),
        // It needs no room: its bytes are those that are remembered.
        _ => ReplyBody::full(hot.bytes.clone()),
    };
    Some(found(&hot.digest, &hot.media_type, hot.bytes.len() as u64, body))
}

fn found(digest: &Digest, media_type: &str, length: u64, body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    // With those of every reply, for which it would grow a second time.
    headers.reserve(3 + OF_EVERY_REPLY.len());
    headers.insert(CONTENT_TYPE, value(media_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CONTENT_DIGEST, digest_value(digest));
    response
}

/// Stores a manifest under its digest and moves the tags to it.
pub(super) async fn put(
    app: &App,
    head: &request::Parts,
    body: &mut RequestBody,
    name: RepoName,
    reference: Reference,
    mut tags: Vec<Tag>,
    by: Option<&Account>,
) -> Outcome {
    let limits = &app.limits;
    if tags.len() > limits.tags_per_push {
        return Err(ApiError::TooManyTags { limit: limits.tags_per_push });
    }
    let too_large = ApiError::ManifestTooLarge { limit: limits.manifest_bytes };
    if content_length(&head.headers).is_some_and(|length| length > limits.manifest_bytes as u64) {
        return Err(too_large);
    }
    let content_type = content_type(&head.headers)?;
    let received = Received::whole(app, body, content_length(&head.headers)).await?;
    let is_long = received.is_long();
    let named_tags = tags.clone();
    let algorithm = match &reference {
        Reference::Digest(digest) => digest.algorithm(),
        Reference::Tag(tag) => {
            tags.push(tag.clone());
            Algorithm::Sha256
        }
    };
    let (store, repository, by) = (Arc::clone(&app.store), name.clone(), by.cloned());
    let most = limits.manifest_descriptors;
    let push = move || -> Result<_, ApiError> {
        let (bytes, _room) = received.read()?;
        let manifest = Manifest::parse(bytes, content_type, algorithm)?;
        if manifest.edges().len() > most {
            return Err(ApiError::TooManyDescriptors { limit: most });
        }
        let (digest, subject) = (*manifest.digest(), manifest.subject().copied());
        if let Reference::Digest(expected) = reference
            && expected != digest
        {
            return Err(ApiError::ManifestDigest { expected, actual: digest });
        }
        // A body may take long to come, and its user may be gone by then.
        if let Some(account) = &by
            && !store.is_user(account)?
        {
            return Err(ApiError::LoginFailed);
        }
        let by = by.map(|account| Actor::User(account.name));
        Ok((digest, subject, store.push_manifest(&repository, manifest, tags, by.as_ref())?))
    };
    // 4 MiB take a while to parse, to hash and to store: not on a thread that others wait for.
    let pushed = match is_long {
        true => app.blocking.heavy(push).await,
        false => app.blocking.write(push).await,
    };
    let (digest, subject, pushed) = pushed?;
    let mut response = created(&name, &digest, subject.as_ref(), &named_tags);
    if let Some(warning) = warning(&pushed) {
        response.headers_mut().insert(WARNING, warning);
    }
    Ok(response)
}

/// What is to be said of a manifest that was stored (OCI distribution specification, "Warnings"):
/// the later podman and skopeo show it to their users. Refusing it would end a mirror run.
fn warning(pushed: &Pushed) -> Option<HeaderValue> {
    let mut told = Vec::new();
    if pushed.wrong_sizes.count > 0 {
        told.push(format!("the manifest says {}", pushed.wrong_sizes));
    }
    if let Some(kept) = &pushed.kept_type {
        told.push(format!("the repository has the manifest as {kept}, and keeps it so"));
    }
    // Nothing in it needs to be quoted: digests, numbers and media types.
    (!told.is_empty()).then(|| value(&format!("299 - \"{}\"", told.join("; "))))
}

/// Removes a tag, or a manifest with all its tags.
pub(super) async fn delete(
    app: &App,
    name: RepoName,
    reference: Reference,
    by: Option<&UserName>,
) -> Outcome {
    let (repository, wanted) = (name.clone(), reference.clone());
    let by = by.cloned().map(Actor::User);
    let removed = app.write(move |store| match &wanted {
        Reference::Tag(tag) => store.delete_tag(&repository, tag, by.as_ref()),
        Reference::Digest(digest) => store.delete_manifest(&repository, digest, by.as_ref()),
    });
    if !removed.await? {
        return Err(ApiError::ManifestUnknown { repository: name, reference });
    }
    Ok(empty(StatusCode::ACCEPTED))
}

/// The type that a push declares, if any.
fn content_type(headers: &HeaderMap) -> Result<Option<MediaType>, ApiError> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        let has_none = !headers.contains_key(CONTENT_TYPE);
        return if has_none { Ok(None) } else { Err(ApiError::ContentTypeTwice) };
    };
    let media_type: MediaType = String::from_utf8_lossy(value.as_bytes()).parse()?;
    if let Some(known) = MediaType::known_as(media_type.as_str()) {
        let text = media_type.as_str().to_owned();
        return Err(ManifestError::LetterCase { text, known }.into());
    }
    match media_type.is_json() || media_type.is_docker_schema1() {
        true => Ok(Some(media_type)),
        false => Err(ApiError::NotManifestType(media_type)),
    }
}

fn created(
    name: &RepoName,
    digest: &Digest,
    subject: Option<&Digest>,
    tags: &[Tag],
) -> Response<ReplyBody> {
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(LOCATION, value(&format!("/v2/{name}/manifests/{digest}")));
    headers.insert(CONTENT_DIGEST, digest_value(digest));
    if let Some(subject) = subject {
        headers.insert(OCI_SUBJECT, digest_value(subject));
    }
    for tag in tags {
        headers.append(OCI_TAG, value(tag.as_str()));
    }
    response
}
