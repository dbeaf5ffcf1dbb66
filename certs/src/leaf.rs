//! The server's own certificate: short-lived, for exactly the names asked for, and made from the
//! issuing CA alone.

use std::collections::BTreeSet;
use std::time::SystemTime;

use rcgen::{ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};

use crate::ca::{self, Issuing};
use crate::error::CertError;
use crate::files::Files;
use crate::name::ServerName;
use crate::server::{KeyKind, PrivateKey, ServerCertificate};
use crate::tls_file::TlsFile;
use crate::validity::Validity;
use crate::x509::{Certificate, Proof};

/// The server certificate as it lies in the directory.
pub(crate) struct Leaf {
    chain: Vec<Certificate>,
    key: PrivateKey,
}

impl Leaf {
    /// Reads the server certificate; `None` if one of its files is not there. Nothing is checked
    /// but that the key can be used.
    pub(crate) fn load(files: &Files) -> Result<Option<Self>, CertError> {
        let chain = files.certificates(TlsFile::ServerCertificate)?;
        let key = files.private_key(TlsFile::ServerKey)?;
        Ok(chain.zip(key).map(|(chain, key)| Self { chain, key }))
    }

    /// Whether the key belongs to the certificate, and the rest of the chain is the issuing CA,
    /// which signed it.
    pub(crate) fn fits(&self, files: &Files, issuing: &Issuing) -> Result<bool, CertError> {
        let [leaf, issuer] = self.chain.as_slice() else {
            return Ok(false);
        };
        let pair = self.key.pair();
        let pair = pair.map_err(|damage| files.damaged(TlsFile::ServerKey, damage))?;
        Ok(pair.public_key_raw() == leaf.public_key
            && issuer.der == issuing.certificate.der
            && leaf.proof_by(issuer) == Proof::Signed)
    }

    /// The names that it is for.
    pub(crate) fn names(&self) -> BTreeSet<ServerName> {
        self.chain.first().map(Certificate::names).unwrap_or_default()
    }

    /// When it is valid.
    pub(crate) fn validity(&self) -> Validity {
        let all = Validity { not_before: i64::MIN, not_after: i64::MAX };
        self.chain.iter().fold(all, |time, certificate| time.and(certificate.validity))
    }

    /// When a certificate made now would be valid.
    pub(crate) fn planned(issuing: &Issuing, now: SystemTime) -> Validity {
        Validity::planned(now, SERVER_DAYS, Some(issuing.certificate.validity))
    }

    /// Makes a certificate for these names, which the issuing CA permits, and writes its key, then
    /// itself with its issuer.
    pub(crate) fn make(
        files: &Files,
        issuing: &Issuing,
        names: &[ServerName],
        now: SystemTime,
    ) -> Result<Self, CertError> {
        let key = ca::make_pair(files, TlsFile::ServerKey)?;
        let host = names.first().map(ca::short).unwrap_or_default();
        // With its space the common name cannot be taken for a host's, which OpenSSL would hold
        // against the name constraints even when it is an address.
        let subject = ca::subject(format!("{host} server"));
        let mut params = ca::parameters(subject, Self::planned(issuing, now))?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.subject_alt_names = names.iter().map(alternative).collect::<Result<_, _>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let signed = ca::sign(&params, &key, &issuing.certificate, &issuing.key)?;
        files.write(TlsFile::ServerCertificate, &format!("{}{}", signed.pem(), issuing.pem))?;
        let leaf = ca::own(signed.der().to_vec())?;
        Ok(Self {
            chain: vec![leaf, issuing.certificate.clone()],
            key: PrivateKey::new(KeyKind::Pkcs8, key.serialize_der()),
        })
    }

    /// What a TLS server takes.
    pub(crate) fn into_server(self, names: Vec<ServerName>) -> ServerCertificate {
        let validity = self.validity();
        let chain = self.chain.into_iter().map(|certificate| certificate.der).collect();
        ServerCertificate { chain, key: self.key, validity, names, missing_issuer: None }
    }
}

fn alternative(name: &ServerName) -> Result<SanType, CertError> {
    match (name.dns(), name.address()) {
        (_, Some(address)) => Ok(SanType::IpAddress(address)),
        (dns, None) => {
            let dns = dns.unwrap_or_default().to_owned();
            dns.try_into().map(SanType::DnsName).map_err(CertError::generate)
        }
    }
}

/// The longest time that clients grant a server certificate, by the CA/Browser Forum's rules of
/// 2020, which some programs apply to private CAs too.
const SERVER_DAYS: i64 = 397;
