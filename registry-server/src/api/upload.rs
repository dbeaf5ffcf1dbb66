//! Uploads: beginning, continuing and finishing a session, and mounting instead of uploading.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::header::{HeaderMap, LOCATION, RANGE};
use hyper::http::request;
use hyper::{Response, StatusCode};
use oci::{Algorithm, Digest, RepoName};
use storage::{Account, StorageError, Store, UploadId, UploadWriter};

use super::body::{ReplyBody, RequestBody};
use super::header::{
    CONTENT_DIGEST, UPLOAD_ID, content_length, content_range, digest_value, upload_location,
    upload_range, value,
};
use super::log::Deed;
use super::reply::empty;
use super::{App, Outcome};
use crate::blocking::{OnDisk, RunningWork};
use crate::error::ApiError;
use crate::limits::Limits;

/// `POST`: begins a session.
pub(super) async fn start(
    app: &App,
    name: RepoName,
    user: &Account,
    algorithm: Algorithm,
) -> Outcome {
    let id = create(app, &name, user, algorithm, 0).await?;
    Ok(progress(StatusCode::ACCEPTED, &name, id, 0))
}

/// `POST ?digest=`: the whole blob in one request.
pub(super) async fn whole(
    app: &App,
    head: &request::Parts,
    body: &mut RequestBody,
    name: RepoName,
    user: &Account,
    digest: Digest,
) -> Outcome {
    let id = create(app, &name, user, digest.algorithm(), coming_bytes(&head.headers)).await?;
    let session = open(app, &name, user, id, 0).await;
    let outcome = match session {
        Ok(session) => commit(app, head, body, name.clone(), session, (id, digest)).await,
        Err(refusal) => Err(refusal),
    };
    // The client never learned of the session: nobody would continue it, or ask again for its end.
    let (store, user, is_whole) = (Arc::clone(&app.store), user.clone(), outcome.is_ok());
    let forget = app.blocking.begin_write(move || match is_whole {
        true => store.forget_finished_upload(&name, &user, id),
        false => drop(store.cancel_upload(&name, &user, id)),
    });
    forget.await;
    outcome.map(|response| with_deed(response, "pushed in one request".into()))
}

/// `POST ?mount=`: takes a blob over from another repository, or begins a session if it cannot.
pub(super) async fn mount(
    app: &App,
    name: RepoName,
    user: &Account,
    digest: Digest,
    from: Option<RepoName>,
) -> Outcome {
    // A role reaches every repository, so who may push here may pull from there.
    let (repository, there) = (name.clone(), from.clone());
    let mount = move |store: &Store| store.mount_blob(there.as_ref(), &repository, &digest);
    if app.write(mount).await? {
        let deed = match from {
            Some(from) => format!("mounted from {from}").into(),
            None => "mounted from wherever it was".into(),
        };
        return Ok(with_deed(created(&name, &digest), deed));
    }
    start(app, name, user, digest.algorithm()).await
}

/// `GET`: how far the session is.
pub(super) async fn status(app: &App, name: RepoName, user: &Account, id: UploadId) -> Outcome {
    let (repository, user) = (name.clone(), user.clone());
    let offset = app.read(move |store| store.upload_offset(&repository, &user, id)).await?;
    Ok(progress(StatusCode::NO_CONTENT, &name, id, offset))
}

/// `PATCH`: adds to the session.
pub(super) async fn append(
    app: &App,
    head: &request::Parts,
    body: &mut RequestBody,
    name: RepoName,
    user: &Account,
    id: UploadId,
) -> Outcome {
    let session = open(app, &name, user, id, coming_bytes(&head.headers)).await?;
    let offset = receive(app, head, body, &session, upload_location(&name, id)).await?;
    Ok(progress(StatusCode::ACCEPTED, &name, id, offset))
}

/// `PUT ?digest=`: adds what the body holds and makes the session a blob. If that is done already
/// the client did not hear of it, and hears it now.
pub(super) async fn finish(
    app: &App,
    head: &request::Parts,
    body: &mut RequestBody,
    name: RepoName,
    user: &Account,
    id: UploadId,
    digest: Digest,
) -> Outcome {
    let (repository, pusher) = (name.clone(), user.clone());
    let opened = taken_over(app, coming_bytes(&head.headers), move |store| {
        store.open_upload_to_finish(&repository, &pusher, id, &digest)
    });
    if let Some(session) = opened.await? {
        return commit(app, head, body, name, session, (id, digest)).await;
    }
    // It holds what is in the blob already.
    while body.rested(app.limits.upload_rest_time, || Ok(())).await?.is_some() {}
    Ok(created(&name, &digest))
}

/// `DELETE`: ends the session. `oc` does so after each upload that succeeded, and accepts a 404.
pub(super) async fn cancel(app: &App, name: RepoName, user: &Account, id: UploadId) -> Outcome {
    let user = user.clone();
    match app.write(move |store| store.cancel_upload(&name, &user, id)).await? {
        true => Ok(empty(StatusCode::NO_CONTENT)),
        false => Err(StorageError::UploadUnknown.into()),
    }
}

async fn create(
    app: &App,
    name: &RepoName,
    user: &Account,
    algorithm: Algorithm,
    coming_bytes: u64,
) -> Result<UploadId, ApiError> {
    let (name, user) = (name.clone(), user.clone());
    let create = move |store: &Store| {
        store.check_room(coming_bytes)?;
        store.create_upload(&name, &user, algorithm)
    };
    Ok(app.write(create).await?)
}

/// A session that was taken over, and the number of bytes that it held then.
type OpenedUpload = (Arc<OnDisk<UploadWriter>>, u64);

/// Takes a session over to add to it.
async fn open(
    app: &App,
    name: &RepoName,
    user: &Account,
    id: UploadId,
    coming_bytes: u64,
) -> Result<OpenedUpload, ApiError> {
    let (name, user) = (name.clone(), user.clone());
    let open = move |store: &Store| store.open_upload(&name, &user, id).map(Some);
    let taken = taken_over(app, coming_bytes, open);
    taken.await?.ok_or(StorageError::UploadUnknown.into())
}

/// Takes a session over, unless `open` finds that there is no need. If there is no room for the
/// bytes that are to come, none of them is read, and the session stays as it is.
async fn taken_over(
    app: &App,
    coming_bytes: u64,
    open: impl FnOnce(&Store) -> Result<Option<UploadWriter>, StorageError> + Send + 'static,
) -> Result<Option<OpenedUpload>, ApiError> {
    let opened = app.write(move |store| {
        let Some(writer) = open(store)?.map(OnDisk::new) else { return Ok(None) };
        let offset = writer.offset()?;
        if coming_bytes > 0 {
            // An upload that only has to be finished takes no room.
            store.check_room(coming_bytes)?;
        }
        Ok::<_, StorageError>(Some((Arc::new(writer), offset)))
    });
    Ok(opened.await?)
}

/// Adds the body to the session and makes it a blob.
async fn commit(
    app: &App,
    head: &request::Parts,
    body: &mut RequestBody,
    name: RepoName,
    session: OpenedUpload,
    (id, digest): (UploadId, Digest),
) -> Outcome {
    receive(app, head, body, &session, upload_location(&name, id)).await?;
    let store = Arc::clone(&app.store);
    app.blocking.commit(move || store.commit_upload(&session.0, &digest)).await?;
    Ok(created(&name, &digest))
}

/// Writes the body to the session, which stands at `start`: while one batch is written and hashed,
/// the next is gathered. While nothing comes nothing is held: what was gathered is written out, and
/// no thread, no permit and no share of the memory for batches waits with the client. Returns how
/// many bytes the session then holds.
async fn receive(
    app: &App,
    head: &request::Parts,
    body: &mut RequestBody,
    (writer, start): &OpenedUpload,
    location: String,
) -> Result<u64, ApiError> {
    let (start, limits) = (*start, &app.limits);
    let promised = promised_length(&head.headers, start, location)?;
    let mut offset = start;
    let mut writing = Writing(None);
    loop {
        let first = tokio::select! {
            first = body.rested(limits.upload_rest_time, || writer.check()) => first,
            written = writing.ends() => {
                offset = written?;
                continue;
            }
        };
        let (batch, batched, outcome) = match first {
            Ok(Some(first)) => {
                let batched = Batched::begin(app);
                let time = limits.upload_batch_time;
                let mut gathering = pin!(body.batch(first, batched.bytes(), time));
                let (batch, outcome) = loop {
                    // Who waits for a permit looks, or he holds one that he does not use.
                    tokio::select! {
                        gathered = &mut gathering => break gathered,
                        written = writing.ends() => offset = written?,
                    }
                };
                (batch, Some(batched), outcome)
            }
            Ok(None) => (Vec::new(), None, Ok(())),
            Err(error) => (Vec::new(), None, Err(error)),
        };
        offset = writing.finish(offset).await?;
        if let Some(batched) = batched {
            let writer = Arc::clone(writer);
            // It goes on when the client is gone, and its memory is counted until it ends.
            writing = Writing(Some(app.blocking.begin_write(move || {
                let written = writer.append(&batch);
                drop((batch, batched));
                written
            })));
            if outcome.is_ok() {
                continue;
            }
            // What arrived before the failure is kept: the client can continue after it.
            writing.finish(offset).await?;
        }
        outcome?;
        break;
    }
    match promised {
        Some(expected) if expected != offset - start => {
            Err(ApiError::Length { expected, actual: offset - start })
        }
        _ => Ok(offset),
    }
}

/// A batch that is being written, if one is.
struct Writing(Option<RunningWork<Result<u64, StorageError>>>);

impl Writing {
    /// Where the session stands when the batch is written; never, if there is none.
    async fn ends(&mut self) -> Result<u64, StorageError> {
        let Some(write) = &mut self.0 else { return std::future::pending().await };
        let outcome = write.await;
        self.0 = None;
        outcome
    }

    /// The same; without a batch it stands at `offset`.
    async fn finish(&mut self, offset: u64) -> Result<u64, StorageError> {
        match self.0 {
            Some(_) => self.ends().await,
            None => Ok(offset),
        }
    }
}

/// A batch of an upload in memory, gathered or being written; they share the memory for batches.
struct Batched {
    all: Arc<AtomicUsize>,
    limits: Arc<Limits>,
}

impl Batched {
    fn begin(app: &App) -> Self {
        app.batches.fetch_add(1, Ordering::Relaxed);
        Self { all: Arc::clone(&app.batches), limits: Arc::clone(&app.limits) }
    }

    /// How large it may become.
    fn bytes(&self) -> usize {
        let limits = &self.limits;
        let share = limits.upload_memory_bytes / self.all.load(Ordering::Relaxed).max(1);
        share.clamp(limits.upload_batch_min_bytes, limits.upload_batch_bytes)
    }
}

impl Drop for Batched {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The length that a chunk must have by its Content-Range, after checking that it begins where
/// the session ends.
fn promised_length(
    headers: &HeaderMap,
    offset: u64,
    location: String,
) -> Result<Option<u64>, ApiError> {
    let Some((first, last)) = content_range(headers)? else { return Ok(None) };
    if first != offset {
        return Err(ApiError::UploadOffset { location, offset });
    }
    let expected = last - first + 1;
    match content_length(headers) {
        Some(actual) if actual != expected => Err(ApiError::Length { expected, actual }),
        _ => Ok(Some(expected)),
    }
}

/// How many bytes the headers of a request promise; 0 if they do not tell.
fn coming_bytes(headers: &HeaderMap) -> u64 {
    let range = content_range(headers).ok().flatten();
    content_length(headers).or_else(|| range.map(|(first, last)| last - first + 1)).unwrap_or(0)
}

fn progress(status: StatusCode, name: &RepoName, id: UploadId, offset: u64) -> Response<ReplyBody> {
    let mut response = empty(status);
    let headers = response.headers_mut();
    headers.insert(LOCATION, value(&upload_location(name, id)));
    headers.insert(RANGE, upload_range(offset));
    headers.insert(UPLOAD_ID, value(&id.to_string()));
    response
}

fn created(name: &RepoName, digest: &Digest) -> Response<ReplyBody> {
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(LOCATION, value(&format!("/v2/{name}/blobs/{digest}")));
    headers.insert(CONTENT_DIGEST, digest_value(digest));
    response
}

/// Lets the log say what was done.
fn with_deed(mut response: Response<ReplyBody>, deed: Cow<'static, str>) -> Response<ReplyBody> {
    response.extensions_mut().insert(Deed(deed));
    response
}
