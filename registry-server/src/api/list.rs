//! Lists: the catalog, tags and referrers, in pages with a link to the next.
//!
//! A page has no more bytes than each connection may hold, so that lists which nobody reads cost no
//! more than their connections. All clients follow the link to the next one.

use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, LINK};
use hyper::{Response, StatusCode};
use oci::{Algorithm, Digest, MediaType, RepoName};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::RawValue;
use storage::{PageSize, Referrer, StorageError, Store};

use super::body::{BlobBody, ReplyBody, Source};
use super::header::{OCI_FILTERS, value};
use super::range::ByteSpan;
use super::reply::document;
use super::{App, Outcome};
use crate::error::ApiError;
use crate::route::{PageQuery, ReferrerQuery};

/// `GET /v2/_catalog`.
pub(super) async fn catalog(app: &App, page: PageQuery) -> Outcome {
    let (n, bytes) = (page_size(app, page.n), app.limits.small_body_bytes);
    let (list, next) = app
        .read(move |store| {
            let size = PageSize { entries: n + 1, bytes };
            let names = store.repositories(page.last.as_deref(), size)?;
            let mut names: Vec<String> = names.iter().map(RepoName::to_string).collect();
            let next = cut(&mut names, n, bytes).map(|last| link("/v2/_catalog", last, n));
            Ok::<_, StorageError>((written(&Catalog { repositories: names }), next))
        })
        .await?;
    Ok(reply(ReplyBody::full(list.into()), next))
}

/// `GET /v2/<name>/tags/list`.
pub(super) async fn tags(app: &App, name: RepoName, page: PageQuery) -> Outcome {
    let (n, bytes) = (page_size(app, page.n), app.limits.small_body_bytes);
    let repository = name.clone();
    let list = app.read(move |store| {
        let size = PageSize { entries: n + 1, bytes };
        let found = store.tags(&repository, page.last.as_deref(), size)?;
        Ok::<_, StorageError>(found.map(|found| {
            let mut tags: Vec<String> = found.iter().map(|(tag, _)| tag.to_string()).collect();
            let path = || format!("/v2/{repository}/tags/list");
            let next = cut(&mut tags, n, bytes).map(|last| link(&path(), last, n));
            (written(&Tags { name: repository.as_str(), tags }), next)
        }))
    });
    let (list, next) = list.await?.ok_or(ApiError::RepositoryUnknown(name))?;
    Ok(reply(ReplyBody::full(list.into()), next))
}

/// `GET /v2/<name>/referrers/<digest>`: an image index of what refers to the digest; empty for
/// one that nobody knows.
pub(super) async fn referrers(
    app: &App,
    name: RepoName,
    subject: Digest,
    query: ReferrerQuery,
) -> Outcome {
    let is_filtered = query.artifact_type.is_some();
    let asked = Arc::new(Asked { name, subject, query });
    let size = PageSize { entries: app.limits.page_entries, bytes: app.limits.small_body_bytes };
    let first = Arc::clone(&asked);
    let (body, next) = match app.read(move |store| first.page(store, size)).await? {
        Some((list, next)) => (ReplyBody::full(list.into()), next),
        None => long_referrer(app, asked).await?,
    };
    let mut response = reply(body, next);
    response.headers_mut().insert(CONTENT_TYPE, value(MediaType::OCI_INDEX));
    if is_filtered {
        response.headers_mut().insert(OCI_FILTERS, value("artifactType"));
    }
    Ok(response)
}

/// A page of a single referrer that is longer than others: from memory where there is room, else a
/// piece at a time, and never later because others do not read.
async fn long_referrer(
    app: &App,
    asked: Arc<Asked>,
) -> Result<(ReplyBody, Option<String>), StorageError> {
    let (store, memory, owner) = (Arc::clone(&app.store), app.memory.clone(), app.owner.clone());
    let read = move || {
        let (list, next) = asked.one(&store)?;
        let (length, digest) = (list.len() as u64, Digest::of(Algorithm::Sha256, &list));
        let kept = memory.try_take(&owner, list.len()).map(|room| (list, room));
        Ok::<_, StorageError>((kept, LongList { store, asked, digest }, length, next))
    };
    let (kept, pieces, length, next) = app.blocking.heavy(read).await?;
    let body = match kept {
        Some((list, room)) => ReplyBody::roomy(list.into(), Some(room)),
        None => {
            let part = ByteSpan { start: 0, length };
            let source = Source::List(Arc::new(pieces));
            ReplyBody::Blob(Box::new(BlobBody::one(app, source, part)))
        }
    };
    Ok((body, next))
}

/// A list that is made anew for each piece that is sent of it.
pub(super) struct LongList {
    store: Arc<Store>,
    asked: Arc<Asked>,
    /// That of the list as it was made first.
    digest: Digest,
}

impl LongList {
    /// At most so many bytes of it.
    ///
    /// # Errors
    /// [`StorageError::NoManifest`] if the referrer is gone by now; trouble with the database.
    pub(super) fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, StorageError> {
        let (list, _) = self.asked.one(&self.store)?;
        if Digest::of(Algorithm::Sha256, &list) != self.digest {
            let (repository, digest) = (self.asked.name.clone(), self.asked.subject);
            return Err(StorageError::NoManifest { repository, digest });
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(list.len());
        Ok(list[start..list.len().min(start + length)].to_vec())
    }
}

/// A page of a list as it is sent, and the link to the next one.
type Written = (Vec<u8>, Option<String>);

/// Whose referrers are asked for.
struct Asked {
    name: RepoName,
    subject: Digest,
    query: ReferrerQuery,
}

impl Asked {
    /// A page of one referrer, however long.
    fn one(&self, store: &Store) -> Result<Written, StorageError> {
        let (mut list, next) = self.page(store, PageSize::from(1))?.unwrap_or_default();
        list.shrink_to_fit();
        Ok((list, next))
    }

    /// A page; `None` if the first entry alone has more bytes than that.
    fn page(&self, store: &Store, size: PageSize) -> Result<Option<Written>, StorageError> {
        let (name, subject) = (&self.name, &self.subject);
        let (kind, last) = (self.query.artifact_type.as_deref(), self.query.last.as_ref());
        let (found, has_more) = store.referrers(name, subject, kind, last, size)?;
        if found.is_empty() && has_more {
            return Ok(None);
        }
        let next = found.last().filter(|_| has_more).map(|last| {
            let filter = kind.map_or_else(String::new, |kind| {
                format!("&artifactType={}", utf8_percent_encode(kind, IN_QUERY))
            });
            format!("</v2/{name}/referrers/{subject}?last={}{filter}>; rel=\"next\"", last.digest)
        });
        let manifests = found.into_iter().map(Descriptor::from).collect();
        let media_type = MediaType::OCI_INDEX;
        let list = written(&Index { schema_version: 2, media_type, manifests });
        // A text may be longer in JSON.
        Ok((list.len() <= size.bytes).then_some((list, next)))
    }
}

fn page_size(app: &App, wanted: Option<usize>) -> usize {
    let most = app.limits.page_entries;
    wanted.map_or(most, |n| n.min(most))
}

/// Cuts what is beyond `n` entries, or does not fit into so many bytes: some was read only to learn
/// whether there is more. Returns the last entry of the page if there is.
fn cut(entries: &mut Vec<String>, n: usize, most_bytes: usize) -> Option<&str> {
    let (found, mut bytes) = (entries.len(), AROUND_ENTRIES_BYTES);
    let fits = |entry: &&String| {
        bytes += entry.len() + AROUND_ENTRY_BYTES;
        bytes <= most_bytes
    };
    let count = entries.iter().take(n).take_while(fits).count();
    entries.truncate(count);
    entries.last().filter(|_| found > count).map(String::as_str)
}

/// What a list of names has beside its entries, at most: the longest name of a repository, and the
/// names of the fields.
const AROUND_ENTRIES_BYTES: usize = 255 + 32;
/// The quotes and the comma of an entry. Nothing in a name needs to be escaped.
const AROUND_ENTRY_BYTES: usize = 3;

/// The link to the next page, byte for byte in the form that OpenShift's update service cuts
/// apart.
fn link(path: &str, last: &str, n: usize) -> String {
    format!("<{path}?last={}&n={n}>; rel=\"next\"", utf8_percent_encode(last, IN_QUERY))
}

fn written(list: &impl Serialize) -> Vec<u8> {
    // Names, numbers, texts, and annotations that are JSON: these always serialize.
    serde_json::to_vec(list).unwrap_or_default()
}

fn reply(body: ReplyBody, next: Option<String>) -> Response<ReplyBody> {
    let mut response = document(StatusCode::OK, body);
    if let Some(next) = next {
        response.headers_mut().insert(LINK, value(&next));
    }
    response
}

/// What must be escaped in a query's value inside a link.
const IN_QUERY: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'&').add(b'+').add(b'<').add(b'>');

#[derive(Serialize)]
struct Catalog {
    repositories: Vec<String>,
}

#[derive(Serialize)]
struct Tags<'a> {
    name: &'a str,
    tags: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Box<RawValue>>,
}

impl From<Referrer> for Descriptor {
    fn from(referrer: Referrer) -> Self {
        Self {
            media_type: referrer.media_type,
            digest: referrer.digest.to_string(),
            size: referrer.size,
            artifact_type: referrer.artifact_type,
            annotations: referrer.annotations.and_then(|text| RawValue::from_string(text).ok()),
        }
    }
}
