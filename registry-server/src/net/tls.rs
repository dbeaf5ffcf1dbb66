//! TLS: the only user of rustls, with the client's half below. The certificate can be changed
//! while serving.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use certs::{KeyKind, ServerCertificate};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

pub(super) mod client;

/// The certificate that new connections are served with.
#[derive(Clone)]
pub struct ServingCertificate(Arc<RwLock<Arc<CertifiedKey>>>);

impl ServingCertificate {
    /// Takes the first certificate.
    ///
    /// # Errors
    /// Fails when the TLS library cannot use the key.
    pub fn new(certificate: &ServerCertificate) -> Result<Self, rustls::Error> {
        Ok(Self(Arc::new(RwLock::new(certified(certificate)?))))
    }

    /// Serves new connections with another certificate; open ones go on as they are.
    ///
    /// # Errors
    /// Fails when the TLS library cannot use the key; the old certificate stays.
    pub fn replace(&self, certificate: &ServerCertificate) -> Result<(), rustls::Error> {
        let certified = certified(certificate)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certified;
        Ok(())
    }

    /// What accepts TLS connections with this certificate: TLS 1.2 and 1.3, HTTP/1.1 only.
    ///
    /// # Errors
    /// Fails only when the library lacks the protocol versions.
    pub fn acceptor(&self) -> Result<TlsAcceptor, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        // A stream of HTTP/2 that is lost cannot be retried by oc after its body began.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for ServingCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServingCertificate")
    }
}

fn certified(certificate: &ServerCertificate) -> Result<Arc<CertifiedKey>, rustls::Error> {
    let chain = certificate.chain().iter().map(|der| CertificateDer::from(der.clone()));
    let der = certificate.key().der().to_vec();
    let key = match certificate.key().kind() {
        KeyKind::Pkcs8 => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der)),
        KeyKind::Pkcs1 => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der)),
        KeyKind::Sec1 => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der)),
    };
    let key = aws_lc_rs::sign::any_supported_type(&key)?;
    Ok(Arc::new(CertifiedKey::new(chain.collect(), key)))
}
