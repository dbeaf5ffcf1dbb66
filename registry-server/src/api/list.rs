//! Lists: the catalog, tags and referrers, in pages with a link to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, LINK};
use hyper::{Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use storage::{Digest, MediaType, Referrer, RepoName};

use super::body::ReplyBody;
use super::error::ApiError;
use super::header::{OCI_FILTERS, value};
use super::health::json;
use super::{App, Outcome};
use crate::route::{Page, ReferrerQuery};

/// `GET /v2/_catalog`.
pub(super) async fn catalog(app: &App, page: Page) -> Outcome {
    let n = page_size(app, page.n);
    let store = Arc::clone(&app.store);
    let names = app.blocking.read(move || store.repositories(page.last.as_deref(), n + 1)).await?;
    let mut names: Vec<String> = names.iter().map(RepoName::to_string).collect();
    let next = cut(&mut names, n).map(|last| link("/v2/_catalog", last, n));
    Ok(with_link(json(StatusCode::OK, &Catalog { repositories: names }), next))
}

/// `GET /v2/<name>/tags/list`.
pub(super) async fn tags(app: &App, name: RepoName, page: Page) -> Outcome {
    let n = page_size(app, page.n);
    let (store, repository) = (Arc::clone(&app.store), name.clone());
    let found =
        app.blocking.read(move || store.tags(&repository, page.last.as_deref(), n + 1)).await?;
    let found = found.ok_or_else(|| ApiError::RepositoryUnknown(name.clone()))?;
    let mut tags: Vec<String> = found.iter().map(|(tag, _)| tag.to_string()).collect();
    let next = cut(&mut tags, n).map(|last| link(&format!("/v2/{name}/tags/list"), last, n));
    let list = Tags { name: name.as_str(), tags };
    Ok(with_link(json(StatusCode::OK, &list), next))
}

/// `GET /v2/<name>/referrers/<digest>`: an image index of what refers to the digest; empty for
/// one that nobody knows.
pub(super) async fn referrers(
    app: &App,
    name: RepoName,
    subject: Digest,
    query: ReferrerQuery,
) -> Outcome {
    let store = Arc::clone(&app.store);
    let (repository, wanted) = (name.clone(), query.clone());
    let page = app.blocking.read(move || {
        let (kind, last) = (wanted.artifact_type.as_deref(), wanted.last.as_ref());
        store.referrers(&repository, &subject, kind, last)
    });
    let (found, has_more) = page.await?;
    let next = found.last().filter(|_| has_more).map(|last| {
        let filter = query.artifact_type.as_ref().map_or_else(String::new, |kind| {
            format!("&artifactType={}", utf8_percent_encode(kind, IN_QUERY))
        });
        format!("</v2/{name}/referrers/{subject}?last={}{filter}>; rel=\"next\"", last.digest)
    });
    let index = Index {
        schema_version: 2,
        media_type: MediaType::OCI_INDEX,
        manifests: found.into_iter().map(Descriptor::from).collect(),
    };
    let mut response = with_link(json(StatusCode::OK, &index), next);
    response.headers_mut().insert(CONTENT_TYPE, value(MediaType::OCI_INDEX));
    if query.artifact_type.is_some() {
        response.headers_mut().insert(OCI_FILTERS, value("artifactType"));
    }
    Ok(response)
}

fn page_size(app: &App, wanted: Option<usize>) -> usize {
    let most = app.limits.page_entries;
    wanted.map_or(most, |n| n.min(most))
}

/// Cuts the one entry too many that was read to learn whether there are more; returns the last
/// entry of the page if there are.
fn cut(entries: &mut Vec<String>, n: usize) -> Option<&str> {
    let has_more = entries.len() > n;
    entries.truncate(n);
    entries.last().filter(|_| has_more).map(String::as_str)
}

/// The link to the next page, byte for byte in the form that OpenShift's update service cuts
/// apart.
fn link(path: &str, last: &str, n: usize) -> String {
    format!("<{path}?last={}&n={n}>; rel=\"next\"", utf8_percent_encode(last, IN_QUERY))
}

fn with_link(mut response: Response<ReplyBody>, next: Option<String>) -> Response<ReplyBody> {
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
    annotations: Option<BTreeMap<String, String>>,
}

impl From<Referrer> for Descriptor {
    fn from(referrer: Referrer) -> Self {
        Self {
            media_type: referrer.media_type,
            digest: referrer.digest.to_string(),
            size: referrer.size,
            artifact_type: referrer.artifact_type,
            annotations: referrer.annotations.and_then(|text| serde_json::from_str(&text).ok()),
        }
    }
}
