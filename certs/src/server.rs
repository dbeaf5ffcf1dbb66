//! What a TLS server needs: its chain and its private key, as DER.

use std::fmt;

use rcgen::KeyPair;

use crate::error::Damage;
use crate::name::ServerName;
use crate::validity::Validity;

/// A certificate chain and its key, checked to belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCertificate {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: PrivateKey,
    pub(crate) validity: Validity,
    pub(crate) names: Vec<ServerName>,
    pub(crate) missing_issuer: Option<String>,
}

impl ServerCertificate {
    /// The certificates to send, each as DER: the server's first, then each one's issuer.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// The private key of the first certificate.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// When clients accept the chain: from the latest start to the earliest end in it.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Who signed the server's certificate, if that is all that was given and it did not sign
    /// itself: clients that know only a root above the issuer cannot find the way to it.
    pub fn missing_issuer(&self) -> Option<&str> {
        self.missing_issuer.as_deref()
    }

    /// The names asked for, each of which the first certificate covers.
    pub fn names(&self) -> &[ServerName] {
        &self.names
    }
}

/// A private key as DER. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey {
    kind: KeyKind,
    der: Vec<u8>,
}

/// How a private key is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// PKCS#8, `BEGIN PRIVATE KEY`: any algorithm.
    Pkcs8,
    /// PKCS#1, `BEGIN RSA PRIVATE KEY`: RSA.
    Pkcs1,
    /// SEC1, `BEGIN EC PRIVATE KEY`: elliptic curves.
    Sec1,
}

impl PrivateKey {
    pub(crate) fn new(kind: KeyKind, der: Vec<u8>) -> Self {
        Self { kind, der }
    }

    /// How the key is encoded.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The key itself. It must never be logged.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Loads the key; its algorithm must be one that the TLS server can sign with.
    pub(crate) fn pair(&self) -> Result<KeyPair, Damage> {
        KeyPair::try_from(self.der()).map_err(|_| Damage::UnusableKey)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_key() {
        let key = PrivateKey::new(KeyKind::Pkcs8, vec![0xAB; 4]);
        assert_eq!(format!("{key:?}"), "PrivateKey { kind: Pkcs8, .. }");
    }
}
