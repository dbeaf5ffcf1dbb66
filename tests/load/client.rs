//! The client: TLS connections that stay open, one request at a time on each, every answer's
//! status checked.
//!
//! It is made to cost little, since it shares the machine with the server under measurement:
//! bodies are dropped as they come, and nothing is retried.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION,
};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::data::{Blob, Payload};

/// What the connection encrypts before it writes to the socket, in bytes.
const WRITE_BYTES: usize = 256 * 1024;
/// How much of the body of an unexpected answer is shown, in bytes.
const SHOWN_BYTES: usize = 8 * 1024;
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

type Header = (HeaderName, HeaderValue);

/// A server, and all that is needed to talk to it.
#[derive(Clone)]
pub(crate) struct Target {
    host: String,
    port: u16,
    authority: HeaderValue,
    login: HeaderValue,
    tls: TlsConnector,
    name: ServerName<'static>,
}

impl Target {
    /// The server at `url` (`https://HOST:PORT`), believed when its certificate is for that host
    /// and leads to a certificate in `ca_file`. Fails when the URL or the file cannot be read.
    pub(crate) fn new(url: &str, ca_file: &Path, user: &str, password: &str) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is no address"))?;
        ensure!(uri.scheme_str() == Some("https"), "{url} does not begin with https://");
        let authority = uri.authority().with_context(|| format!("{url} names no host"))?;
        let port = authority.port_u16().with_context(|| format!("{url} names no port"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = match host.parse::<IpAddr>() {
            Ok(address) => ServerName::from(address),
            Err(_) => ServerName::try_from(host.clone())?,
        };
        let login = BASE64_STANDARD.encode(format!("{user}:{password}"));
        Ok(Self {
            authority: HeaderValue::from_str(authority.as_str())?,
            login: HeaderValue::try_from(format!("Basic {login}"))?,
            tls: TlsConnector::from(Arc::new(tls_config(ca_file)?)),
            host,
            port,
            name,
        })
    }

    /// Opens a connection; the handshake is done when this returns.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let at = || format!("connecting to {}:{}", self.host, self.port);
        let address = (self.host.as_str(), self.port);
        let stream = TcpStream::connect(address).await.with_context(at)?;
        stream.set_nodelay(true)?;
        let mut stream = self.tls.connect(self.name.clone(), stream).await.with_context(at)?;
        stream.get_mut().1.set_buffer_limit(Some(WRITE_BYTES));
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        // A failure of the connection comes back from the request that was under way.
        tokio::spawn(driver);
        Ok(Connection { sender, target: self.clone(), requests: 0 })
    }

    /// Asks for the base of the API without and with the login, as clients do first.
    /// Fails unless the first is answered 401 and the second 200.
    pub(crate) async fn check_login(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        let ask = Request::get("/v2/").header(HOST, &self.authority).body(Payload::default())?;
        let answer = connection.sender.send_request(ask).await?;
        expect(answer, "GET /v2/ without a login", StatusCode::UNAUTHORIZED).await?;
        let mut connection = self.connect().await?;
        connection.get("/v2/", |_| {}).await?;
        Ok(())
    }
}

/// One open connection; it sends one request at a time, each with the login.
pub(crate) struct Connection {
    sender: SendRequest<Payload>,
    target: Target,
    requests: u64,
}

impl Connection {
    /// How many requests were sent.
    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// `GET`, which must be answered 200. Each piece of the body is shown to `sink` and dropped;
    /// the length of the body is returned.
    pub(crate) async fn get(&mut self, path: &str, sink: impl FnMut(&[u8])) -> Result<u64> {
        self.get_as(path, None, sink).await
    }

    /// As [`Connection::get`], for a manifest.
    pub(crate) async fn get_manifest(
        &mut self,
        path: &str,
        sink: impl FnMut(&[u8]),
    ) -> Result<u64> {
        self.get_as(path, Some(MANIFESTS), sink).await
    }

    async fn get_as(
        &mut self,
        path: &str,
        accept: Option<Header>,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<u64> {
        let what = format!("GET {path}");
        let answer = self.send(Method::GET, path, accept, Payload::default()).await?;
        let mut body = expect(answer, &what, StatusCode::OK).await?.into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.with_context(|| format!("{what}: the body broke off"))?;
            if let Ok(data) = frame.into_data() {
                length += data.len() as u64;
                sink(&data);
            }
        }
        Ok(length)
    }

    /// Whether a repository holds a blob, by `HEAD`: 200 or 404 and nothing else.
    pub(crate) async fn has_blob(&mut self, repository: &str, blob: &Blob) -> Result<bool> {
        let path = format!("/v2/{repository}/blobs/{}", blob.digest());
        let answer = self.send(Method::HEAD, &path, None, Payload::default()).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        expect(answer, &format!("HEAD {path}"), StatusCode::OK).await?;
        Ok(true)
    }

    /// Pushes a blob as podman and skopeo do: `POST`, one `PATCH` with the length known, `PUT`.
    pub(crate) async fn push_blob(&mut self, repository: &str, blob: &Blob) -> Result<()> {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let nothing = Payload::default();
        let headers = self.change(Method::POST, &path, None, nothing, StatusCode::ACCEPTED).await?;
        let path = location(&headers)?;
        let content = blob.payload();
        let headers =
            self.change(Method::PATCH, &path, Some(OCTETS), content, StatusCode::ACCEPTED).await?;
        let path = with_digest(&location(&headers)?, blob.digest());
        let nothing = Payload::default();
        self.change(Method::PUT, &path, Some(OCTETS), nothing, StatusCode::CREATED).await?;
        Ok(())
    }

    /// Pushes a manifest to a tag.
    pub(crate) async fn push_manifest(
        &mut self,
        repository: &str,
        tag: &str,
        media_type: &'static str,
        manifest: &Blob,
    ) -> Result<()> {
        let path = format!("/v2/{repository}/manifests/{tag}");
        let kind = (CONTENT_TYPE, HeaderValue::from_static(media_type));
        let content = manifest.payload();
        self.change(Method::PUT, &path, Some(kind), content, StatusCode::CREATED).await?;
        Ok(())
    }

    /// Sends a request that changes something, and returns the headers of the expected answer.
    async fn change(
        &mut self,
        method: Method,
        path: &str,
        header: Option<Header>,
        content: Payload,
        expected: StatusCode,
    ) -> Result<HeaderMap> {
        let what = format!("{method} {path}");
        let answer = self.send(method, path, header, content).await?;
        let (head, mut body) = expect(answer, &what, expected).await?.into_parts();
        while let Some(frame) = body.frame().await {
            frame.with_context(|| format!("{what}: the answer broke off"))?;
        }
        Ok(head.headers)
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        header: Option<Header>,
        content: Payload,
    ) -> Result<Response<Incoming>> {
        let what = format!("{method} {path}");
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.target.authority)
            .header(AUTHORIZATION, &self.target.login)
            .body(content)?;
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, value);
        }
        self.requests += 1;
        self.sender.ready().await.with_context(|| format!("{what}: the connection is gone"))?;
        self.sender.send_request(request).await.with_context(|| format!("{what}: no answer"))
    }
}

/// Only what the clients and servers of the Go world agree upon, so that both servers do the
/// same work: TLS 1.3 with AES-128-GCM, and HTTP/1.1, since no other protocol is offered.
fn tls_config(ca_file: &Path) -> Result<ClientConfig> {
    let reading = || format!("reading the certificates in {}", ca_file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).with_context(reading)? {
        roots.add(certificate.with_context(reading)?).with_context(reading)?;
    }
    ensure!(!roots.is_empty(), "{} holds no certificate", ca_file.display());
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// Passes an answer on when it has the expected status; otherwise reads what the server says
/// and fails with it.
async fn expect(
    answer: Response<Incoming>,
    what: &str,
    expected: StatusCode,
) -> Result<Response<Incoming>> {
    let status = answer.status();
    if status == expected {
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
    bail!("{what}: expected {expected}, answered {status}: {}", String::from_utf8_lossy(&said));
}

/// Where an upload goes on: path and query of `Location`, which may be absolute or relative.
fn location(headers: &HeaderMap) -> Result<String> {
    let location = headers.get(LOCATION).context("the answer has no Location")?.to_str()?;
    let uri: Uri = location.parse().with_context(|| format!("Location: {location}"))?;
    let path = uri.path_and_query().with_context(|| format!("Location: {location}"))?;
    Ok(path.as_str().to_owned())
}

fn with_digest(path: &str, digest: &str) -> String {
    let join = if path.contains('?') { '&' } else { '?' };
    format!("{path}{join}digest={}", digest.replace(':', "%3A"))
}

#[cfg(test)]
mod tests {
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
}
