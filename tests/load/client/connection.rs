//! One connection, and the requests of a registry's clients.

use std::mem;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RANGE,
};
use hyper::{Method, Request, Response, StatusCode};

use super::answer::{expect, location, with_digest};
use super::challenge::Challenge;
use super::endpoint::Endpoint;
use super::login::Login;
use crate::data::{Blob, Payload};

/// One open connection; it sends one request at a time, each with the login.
pub(crate) struct Connection {
    sender: SendRequest<Payload>,
    is_resumed: bool,
    authority: HeaderValue,
    login: Option<Login>,
    waits: Vec<Duration>,
}

impl Connection {
    /// Opens one to `endpoint`, on which a login is shown where there is one.
    pub(super) async fn open(endpoint: &Endpoint, login: Option<&Login>) -> Result<Self> {
        let opened = endpoint.open().await?;
        Ok(Self {
            sender: opened.sender,
            is_resumed: opened.is_resumed,
            authority: endpoint.authority().clone(),
            login: login.cloned(),
            waits: Vec::new(),
        })
    }

    /// What each request took, from its first byte to the last of its answer, since this was
    /// last asked.
    pub(crate) fn take_waits(&mut self) -> Vec<Duration> {
        mem::take(&mut self.waits)
    }

    /// Whether its handshake went on with a session from before.
    pub(crate) fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// `GET`, which must be answered 200. Each piece of the body is shown to `sink` and dropped;
    /// the length of the body is returned.
    pub(crate) async fn get(&mut self, path: &str, sink: impl FnMut(&[u8])) -> Result<u64> {
        let nothing = Payload::default();
        Ok(self.ask(Method::GET, path, &[], nothing, &[StatusCode::OK], sink).await?.length)
    }

    /// As [`Connection::get`], for a manifest.
    pub(crate) async fn get_manifest(
        &mut self,
        path: &str,
        sink: impl FnMut(&[u8]),
    ) -> Result<u64> {
        let nothing = Payload::default();
        Ok(self
            .ask(Method::GET, path, &[MANIFESTS], nothing, &[StatusCode::OK], sink)
            .await?
            .length)
    }

    /// A part of what a path names, from its byte `first` on. Fails unless exactly so many bytes
    /// come.
    pub(crate) async fn get_range(&mut self, path: &str, first: u64, length: u64) -> Result<()> {
        let range = format!("bytes={first}-{}", first + length - 1);
        let header = (RANGE, HeaderValue::try_from(&range)?);
        let expected = [StatusCode::PARTIAL_CONTENT];
        let nothing = Payload::default();
        let answer = self.ask(Method::GET, path, &[header], nothing, &expected, |_| {}).await?;
        ensure!(answer.length == length, "GET {path}, {range}: {} bytes", answer.length);
        Ok(())
    }

    /// Reads what a path names no faster than so many bytes a second, to its end.
    pub(crate) async fn get_slowly(&mut self, path: &str, bytes_per_second: u32) -> Result<()> {
        let answer = self.send(Method::GET, path, &[], Payload::default()).await?;
        let what = format!("GET {path}, slowly");
        let mut body = expect(answer, &what, &[StatusCode::OK]).await?.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.with_context(|| format!("{what}: the body broke off"))?;
            if let Some(data) = frame.data_ref() {
                let seconds = data.len() as f64 / f64::from(bytes_per_second);
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            }
        }
        Ok(())
    }

    /// Whether a repository holds a blob, by `HEAD`: 200 or 404 and nothing else.
    pub(crate) async fn has_blob(&mut self, repository: &str, blob: &Blob) -> Result<bool> {
        let path = format!("/v2/{repository}/blobs/{}", blob.digest());
        let expected = [StatusCode::OK, StatusCode::NOT_FOUND];
        let nothing = Payload::default();
        let answer = self.ask(Method::HEAD, &path, &[], nothing, &expected, |_| {}).await?;
        Ok(answer.status == StatusCode::OK)
    }

    /// Pushes a blob as podman and skopeo do: `POST`, one `PATCH` with the length known, `PUT`.
    pub(crate) async fn push_blob(&mut self, repository: &str, blob: &Blob) -> Result<()> {
        let mut path = format!("/v2/{repository}/blobs/uploads/");
        if let Some((algorithm, _)) = blob.digest().split_once(':').filter(|it| it.0 != "sha256") {
            path += &format!("?digest-algorithm={algorithm}");
        }
        let answer = self.change(Method::POST, &path, None, Payload::default(), &BEGUN).await?;
        self.fill_upload(&answer, blob).await
    }

    /// Has a blob that another repository holds mounted into one; where the server does not,
    /// pushes it into the upload that the server began in its stead. Returns whether it was.
    pub(crate) async fn mount_blob(
        &mut self,
        repository: &str,
        blob: &Blob,
        from: &str,
    ) -> Result<bool> {
        let digest = blob.digest().replace(':', "%3A");
        let path = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={from}");
        let expected = [StatusCode::CREATED, StatusCode::ACCEPTED];
        let answer = self.change(Method::POST, &path, None, Payload::default(), &expected).await?;
        if answer.status == StatusCode::CREATED {
            return Ok(true);
        }
        self.fill_upload(&answer, blob).await?;
        Ok(false)
    }

    async fn fill_upload(&mut self, begun: &Answer, blob: &Blob) -> Result<()> {
        let path = location(&begun.headers)?;
        let content = blob.payload();
        let answer = self.change(Method::PATCH, &path, Some(OCTETS), content, &BEGUN).await?;
        let path = with_digest(&location(&answer.headers)?, blob.digest());
        let nothing = Payload::default();
        self.change(Method::PUT, &path, Some(OCTETS), nothing, &[StatusCode::CREATED]).await?;
        Ok(())
    }

    /// Pushes a manifest to a tag, or by its digest.
    pub(crate) async fn push_manifest(
        &mut self,
        repository: &str,
        reference: &str,
        media_type: &'static str,
        manifest: &Blob,
    ) -> Result<()> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let kind = (CONTENT_TYPE, HeaderValue::from_static(media_type));
        let content = manifest.payload();
        self.change(Method::PUT, &path, Some(kind), content, &[StatusCode::CREATED]).await?;
        Ok(())
    }

    /// Asks for the base of the API, whatever the answer is.
    pub(super) async fn base(&mut self) -> Result<Response<Incoming>> {
        self.send(Method::GET, "/v2/", &[], Payload::default()).await
    }

    /// Sends a request that changes something.
    async fn change(
        &mut self,
        method: Method,
        path: &str,
        header: Option<Header>,
        content: Payload,
        expected: &[StatusCode],
    ) -> Result<Answer> {
        self.ask(method, path, header.as_slice(), content, expected, |_| {}).await
    }

    /// Sends a request and reads its answer to the end.
    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[Header],
        content: Payload,
        expected: &[StatusCode],
        mut sink: impl FnMut(&[u8]),
    ) -> Result<Answer> {
        let what = format!("{method} {path}");
        let begin = Instant::now();
        let answer = self.send(method, path, headers, content).await?;
        let (head, mut body) = expect(answer, &what, expected).await?.into_parts();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.with_context(|| format!("{what}: the body broke off"))?;
            if let Ok(data) = frame.into_data() {
                length += data.len() as u64;
                sink(&data);
            }
        }
        self.waits.push(begin.elapsed());
        Ok(Answer { status: head.status, headers: head.headers, length })
    }

    /// Sends a request with the login, once more where the server wants another token first.
    async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[Header],
        content: Payload,
    ) -> Result<Response<Incoming>> {
        let Some(login) = self.login.clone() else {
            return self.send_as(None, method, path, headers, content).await;
        };
        let shown = login.header(&method, path).await?;
        let answer =
            self.send_as(shown.as_ref(), method.clone(), path, headers, content.clone()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let challenge = Challenge::of(answer.headers());
        match login.header_after(&method, path, shown.as_ref(), challenge).await? {
            None => Ok(answer),
            Some(other) => {
                answer.into_body().collect().await?;
                self.send_as(Some(&other), method, path, headers, content).await
            }
        }
    }

    async fn send_as(
        &mut self,
        login: Option<&HeaderValue>,
        method: Method,
        path: &str,
        headers: &[Header],
        content: Payload,
    ) -> Result<Response<Incoming>> {
        let what = || format!("{method} {path}");
        let mut request = Request::builder()
            .method(&method)
            .uri(path)
            .header(HOST, &self.authority)
            .body(content)?;
        let login = login.map(|login| (AUTHORIZATION, login.clone()));
        request.headers_mut().extend(headers.iter().cloned().chain(login));
        self.sender.ready().await.with_context(|| format!("{}: the connection is gone", what()))?;
        self.sender.send_request(request).await.with_context(|| format!("{}: no answer", what()))
    }
}

/// The answer to a request, its body read and gone.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    length: u64,
}

type Header = (HeaderName, HeaderValue);

/// How the steps of an upload are answered but the last.
const BEGUN: [StatusCode; 1] = [StatusCode::ACCEPTED];
/// The media type that clients give to the bytes of a blob.
const OCTETS: Header = (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
/// The manifests that clients take; docker-registry hides an OCI manifest from those that do
/// not say so.
const MANIFESTS: Header = (
    ACCEPT,
    HeaderValue::from_static(
        "application/vnd.oci.image.manifest.v1+json, \
         application/vnd.docker.distribution.manifest.v2+json, \
         application/vnd.docker.distribution.manifest.list.v2+json, \
         application/vnd.oci.image.index.v1+json",
    ),
);
