//! Where a server is reached, and how a connection to it is opened.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use hyper::Uri;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HeaderValue;
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use crate::data::Payload;

/// One address, and what is believed of whoever answers there.
#[derive(Clone)]
pub(crate) struct Endpoint {
    host: String,
    port: u16,
    authority: HeaderValue,
    /// `None` where the address begins with `http://`.
    tls: Option<(Trust, ServerName<'static>)>,
    /// How much may wait in the kernel until it is read; the kernel's own choice where absent.
    receive_bytes: Option<u32>,
}

/// An open connection.
pub(crate) struct Opened {
    /// What sends requests on it.
    pub(crate) sender: SendRequest<Payload>,
    /// Whether its handshake went on with a session from before.
    pub(crate) is_resumed: bool,
}

impl Endpoint {
    /// The server at `url`, `https://HOST:PORT` or `http://HOST:PORT`.
    pub(crate) fn new(url: &Uri, trust: &Trust) -> Result<Self> {
        let authority = url.authority().with_context(|| format!("{url} names no host"))?;
        let is_tls = match url.scheme_str() {
            Some("https") => true,
            scheme => {
                ensure!(scheme == Some("http"), "{url} begins with neither https:// nor http://");
                false
            }
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = match host.parse::<IpAddr>() {
            Ok(address) => ServerName::from(address),
            Err(_) => ServerName::try_from(host.clone())?,
        };
        Ok(Self {
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str())?,
            tls: is_tls.then(|| (trust.clone(), name)),
            receive_bytes: None,
            host,
        })
    }

    /// The same, with new handshakes that never go on with a session from before.
    pub(crate) fn without_resumption(mut self) -> Self {
        if let Some((trust, _)) = &mut self.tls {
            trust.connector = trust.forgetful.clone();
        }
        self
    }

    /// The same, with at most about so much that waits in the kernel to be read.
    pub(crate) fn with_receive_bytes(mut self, bytes: u32) -> Self {
        self.receive_bytes = Some(bytes);
        self
    }

    /// Host and port, as they stand in the address.
    pub(crate) fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Opens a connection; the handshake is done when this returns.
    pub(crate) async fn open(&self) -> Result<Opened> {
        self.try_open().await.with_context(|| format!("connecting to {}:{}", self.host, self.port))
    }

    async fn try_open(&self) -> Result<Opened> {
        let stream = self.reach().await?;
        stream.set_nodelay(true)?;
        let Some((trust, name)) = &self.tls else {
            let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(driver);
            return Ok(Opened { sender, is_resumed: false });
        };
        let mut stream = trust.connector.connect(name.clone(), stream).await?;
        let session = stream.get_mut().1;
        session.set_buffer_limit(Some(WRITE_BYTES));
        let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        // A failure of the connection comes back from the request that was under way.
        tokio::spawn(driver);
        Ok(Opened { sender, is_resumed })
    }

    /// Connects to the first address of the name that can be reached.
    async fn reach(&self) -> Result<TcpStream> {
        let mut last = None;
        for address in lookup_host((self.host.as_str(), self.port)).await? {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            if let Some(bytes) = self.receive_bytes {
                socket.set_recv_buffer_size(bytes)?;
            }
            match socket.connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("the name has no address")?.into())
    }
}

/// Whose certificates are believed, and the sessions that were had.
#[derive(Clone)]
pub(crate) struct Trust {
    connector: TlsConnector,
    forgetful: TlsConnector,
}

impl Trust {
    /// A certificate is believed when it leads to one in `ca_file`. Fails when the file cannot be
    /// read or holds none.
    pub(crate) fn new(ca_file: &Path) -> Result<Self> {
        let config = tls_config(ca_file)?;
        let mut forgetful = config.clone();
        forgetful.resumption = Resumption::disabled();
        let connector = |config| TlsConnector::from(Arc::new(config));
        Ok(Self { connector: connector(config), forgetful: connector(forgetful) })
    }
}

/// Only what the clients and servers of the Go world agree upon, so that all servers do the
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

/// What the connection encrypts before it writes to the socket, in bytes.
const WRITE_BYTES: usize = 256 * 1024;
