//! The client's half of TLS: whom to believe.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::ServerName;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName as TlsName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
};
use storage::backup::read_small;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whom a client believes. The files are PEM, and the first certificate counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Whoever has a certificate of this CA for the name that is called.
    Root(PathBuf),
    /// Whoever has exactly this certificate and its key, whatever name is called: it may be of a
    /// CA that only clients know.
    Certificate(PathBuf),
}

/// A file that holds no certificate to believe.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} holds no certificate to trust ({message}): put the right one there", .path.display())]
pub struct TrustError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub message: String,
}

/// A client that believes somebody.
pub(in crate::net) struct Client(TlsConnector);

impl Client {
    /// Reads what is to be believed.
    pub(in crate::net) fn new(trust: &Trust) -> Result<Self, TrustError> {
        let (Trust::Root(path) | Trust::Certificate(path)) = trust;
        let certificate = first_certificate(path)?;
        let unusable =
            |error: TlsError| TrustError { path: path.clone(), message: error.to_string() };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let config = match trust {
            Trust::Root(_) => {
                let mut roots = RootCertStore::empty();
                roots.add(certificate).map_err(unusable)?;
                config.with_root_certificates(roots)
            }
            Trust::Certificate(_) => config
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Pinned { certificate, provider })),
        };
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Makes the TLS connection as one that calls `name`; else says why not, for people.
    pub(in crate::net) async fn shake_hands(
        &self,
        name: &ServerName,
        socket: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let called = match name.address() {
            Some(address) => TlsName::from(address),
            None => TlsName::try_from(name.to_string()).map_err(|error| error.to_string())?,
        };
        self.0.connect(called, socket).await.map_err(|error| words(&error))
    }
}

/// Believes one certificate. That the server has its key is shown by its signature in the
/// handshake, as with any other.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &TlsName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        match *certificate == self.certificate {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn first_certificate(path: &Path) -> Result<CertificateDer<'static>, TrustError> {
    let failed = |message: String| TrustError { path: path.to_owned(), message };
    // Root may be the one who looks, and another user the one who put it there.
    let content = read_small(path).map_err(|error| failed(error.to_string()))?;
    let content = content.ok_or_else(|| failed("there is no such file".to_owned()))?;
    CertificateDer::from_pem_slice(&content).map_err(|error| failed(error.to_string()))
}

/// Why there is no connection, in words that say more than the library's where they can.
fn words(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    match tls {
        Some(TlsError::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "its certificate is of another CA".to_owned()
        }
        Some(TlsError::InvalidCertificate(CertificateError::ApplicationVerificationFailure)) => {
            "it has another certificate".to_owned()
        }
        _ => error.to_string(),
    }
}
