//! The two authorities: the root that people trust, and the issuing CA that signs for the server.
//!
//! Whoever holds only the issuing CA's key can certify the names asked for and nothing else; the
//! root's key is needed only to sign another issuing CA.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::time::SystemTime;

use durable::IoError;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, SerialNumber,
};
use time::OffsetDateTime;

use crate::error::{CertError, Damage};
use crate::files::Files;
use crate::name::ServerName;
use crate::root_key::RootKey;
use crate::tls_file::TlsFile;
use crate::validity::Validity;
use crate::x509::{Certificate, Proof};

/// The root CA, and its key where it is at hand.
pub(crate) struct Root {
    pub(crate) certificate: Certificate,
    key: Option<KeyPair>,
}

impl Root {
    /// Reads the root CA; `None` if there is no `ca.crt`. Its dates are checked. A key that is
    /// given must be its key, and so must `ca.key` if it can be read.
    pub(crate) fn load(
        files: &Files,
        root_key: RootKey<'_>,
        now: SystemTime,
    ) -> Result<Option<Self>, CertError> {
        let file = TlsFile::RootCertificate;
        let Some((certificate, _)) = files.authority(file)? else {
            return Ok(None);
        };
        let is_root = certificate.is_authority && certificate.is_self_signed();
        if !is_root {
            return Err(files.damaged(file, Damage::NotRoot));
        }
        let (validity, directory) = (certificate.validity, files.directory());
        if validity.is_early(now) {
            let not_before = validity.not_before();
            return Err(CertError::RootNotYetValid { directory, not_before, now });
        }
        if validity.is_over(now) {
            return Err(CertError::RootEnded { directory, not_after: validity.not_after(), now });
        }
        let beside = match load_pair(files, TlsFile::RootKey) {
            // A key that this user may not read is kept for another one, on purpose.
            Err(CertError::Io(IoError { kind: ErrorKind::PermissionDenied, .. })) => None,
            other => other?.map(|key| (key, directory.join(TlsFile::RootKey.name()))),
        };
        let given = match root_key {
            RootKey::InDirectory => None,
            RootKey::Given(given) => Some((given.pair()?, given.path().to_owned())),
        };
        // Both are checked: the next caller may have only the one in the directory.
        for (key, path) in given.iter().chain(&beside) {
            if key.public_key_raw() != certificate.public_key {
                return Err(CertError::RootKeyMismatch { directory, key: path.clone() });
            }
        }
        Ok(Some(Self { certificate, key: given.or(beside).map(|(key, _)| key) }))
    }

    /// Makes a root CA and writes its key, unless that is given, then its certificate.
    ///
    /// The caller has seen that there is no certificate. A key without one belongs to a root that
    /// nobody has seen, because a run was cut short; it is used.
    pub(crate) fn make(
        files: &Files,
        root_key: RootKey<'_>,
        host: &ServerName,
        now: SystemTime,
    ) -> Result<Self, CertError> {
        let key = match (root_key, load_pair(files, TlsFile::RootKey)?) {
            (RootKey::InDirectory, Some(beside)) => beside,
            (RootKey::InDirectory, None) => make_pair(files, TlsFile::RootKey)?,
            (RootKey::Given(given), beside) => {
                let key = given.pair()?;
                if beside.is_some_and(|beside| beside.public_key_raw() != key.public_key_raw()) {
                    let (directory, given) = (files.directory(), given.path().to_owned());
                    return Err(CertError::TwoRootKeys { directory, given });
                }
                key
            }
        };
        let validity = Validity::planned(now, ROOT_DAYS, None);
        let mut params = parameters(authority_name(host, "root CA")?, validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let signed = params.self_signed(&key).map_err(CertError::generate)?;
        files.write(TlsFile::RootCertificate, &signed.pem())?;
        let certificate = own(signed.der().to_vec())?;
        Ok(Self { certificate, key: Some(key) })
    }

    /// Whether another issuing CA can be signed.
    pub(crate) fn can_sign(&self) -> bool {
        self.key.is_some()
    }
}

/// The issuing CA and its key.
pub(crate) struct Issuing {
    pub(crate) certificate: Certificate,
    /// The certificate as its file has it.
    pub(crate) pem: String,
    pub(crate) key: KeyPair,
}

impl Issuing {
    /// Reads the issuing CA; `None` if one of its files is not there. Nothing is checked.
    pub(crate) fn load(files: &Files) -> Result<Option<Self>, CertError> {
        let certificate = files.authority(TlsFile::IssuingCertificate)?;
        let key = load_pair(files, TlsFile::IssuingKey)?;
        Ok(certificate.zip(key).map(|((certificate, pem), key)| Self { certificate, pem, key }))
    }

    /// Whether the key belongs to the certificate, and the certificate to the root.
    pub(crate) fn fits(&self, root: &Root) -> bool {
        self.key.public_key_raw() == self.certificate.public_key
            && self.certificate.is_authority
            && self.certificate.proof_by(&root.certificate) == Proof::Signed
    }

    /// When a CA made now would be valid: as long as the root, so that `ca.key` can stay away.
    pub(crate) fn planned(root: &Root, now: SystemTime) -> Validity {
        Validity::planned(now, ROOT_DAYS, Some(root.certificate.validity))
    }

    /// Makes a CA for these names and writes its key, then its certificate; `None` if the root's
    /// key is not at hand. The key is always a new one: with the old one and the old certificate,
    /// which every client has seen, names that were taken away could still be certified.
    pub(crate) fn make(
        files: &Files,
        root: &Root,
        names: &[ServerName],
        now: SystemTime,
    ) -> Result<Option<Self>, CertError> {
        let (Some(root_key), Some(host)) = (&root.key, names.first()) else {
            return Ok(None);
        };
        let key = make_pair(files, TlsFile::IssuingKey)?;
        let validity = Self::planned(root, now);
        let mut params = parameters(authority_name(host, "issuing CA")?, validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Clients apply an issuer's purposes to all that it signs: no mail, code or client.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.name_constraints = Some(constraints(names));
        params.use_authority_key_identifier_extension = true;
        let signed = sign(&params, &key, &root.certificate, root_key)?;
        let pem = signed.pem();
        files.write(TlsFile::IssuingCertificate, &pem)?;
        Ok(Some(Self { certificate: own(signed.der().to_vec())?, pem, key }))
    }

    /// The names that it may certify.
    pub(crate) fn permitted(&self) -> &BTreeSet<ServerName> {
        &self.certificate.permitted
    }
}

/// What every new certificate has: a subject, dates, and a serial number that nobody can guess.
pub(crate) fn parameters(
    subject: DistinguishedName,
    validity: Validity,
) -> Result<CertificateParams, CertError> {
    let date = |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(CertError::generate);
    let mut serial = random::<SERIAL_BYTES>()?;
    // The number must be positive and its length fixed: the first bit is 0, the second 1.
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.not_before = date(validity.not_before)?;
    params.not_after = date(validity.not_after)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

/// Signs a certificate for `key` with an issuer's key.
pub(crate) fn sign(
    params: &CertificateParams,
    key: &KeyPair,
    issuer: &Certificate,
    issuer_key: &KeyPair,
) -> Result<rcgen::Certificate, CertError> {
    let issuer = Issuer::from_ca_cert_der(&issuer.der.as_slice().into(), issuer_key);
    let issuer = issuer.map_err(CertError::generate)?;
    params.signed_by(key, &issuer).map_err(CertError::generate)
}

/// Makes a key and writes it, durable on return.
pub(crate) fn make_pair(files: &Files, file: TlsFile) -> Result<KeyPair, CertError> {
    let key = KeyPair::generate().map_err(CertError::generate)?;
    files.write(file, &key.serialize_pem())?;
    Ok(key)
}

/// Reads a certificate that this crate just made.
pub(crate) fn own(der: Vec<u8>) -> Result<Certificate, CertError> {
    Certificate::parse(der).map_err(CertError::generate)
}

/// A subject with this common name.
pub(crate) fn subject(common_name: String) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "registry");
    subject.push(DnType::CommonName, common_name);
    subject
}

/// A host's name as the beginning of a common name, which has at most 64 bytes by RFC 5280.
pub(crate) fn short(host: &ServerName) -> String {
    host.to_string().chars().take(MAX_SHORT_BYTES).collect()
}

fn load_pair(files: &Files, file: TlsFile) -> Result<Option<KeyPair>, CertError> {
    let Some(key) = files.private_key(file)? else {
        return Ok(None);
    };
    key.pair().map(Some).map_err(|damage| files.damaged(file, damage))
}

/// A CA's subject: the host, what it is, and a random suffix. Two CAs of one name shadow each
/// other in trust stores and caches, so that a client would check with the wrong key.
fn authority_name(host: &ServerName, kind: &str) -> Result<DistinguishedName, CertError> {
    let suffix = u32::from_be_bytes(random()?);
    Ok(subject(format!("{} {kind} {suffix:08x}", short(host))))
}

/// Permits each name and address, and excludes each kind of which there is none: a kind that the
/// constraints do not mention would be free. IPv4 and IPv6 count as two kinds, because some
/// programs do not apply a constraint on one to the other.
pub(crate) fn constraints(names: &[ServerName]) -> NameConstraints {
    let single = |name: &ServerName| match (name.dns(), name.address()) {
        (Some(dns), _) => Some(GeneralSubtree::DnsName(dns.to_owned())),
        (None, Some(address)) => {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            Some(GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, bits)))
        }
        (None, None) => None,
    };
    let addresses = || names.iter().filter_map(ServerName::address);
    let mut excluded_subtrees = Vec::new();
    if names.iter().all(|name| name.dns().is_none()) {
        excluded_subtrees.push(GeneralSubtree::DnsName(String::new()));
    }
    if !addresses().any(|address| address.is_ipv4()) {
        excluded_subtrees.push(GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])));
    }
    if !addresses().any(|address| address.is_ipv6()) {
        excluded_subtrees.push(GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])));
    }
    NameConstraints {
        permitted_subtrees: names.iter().filter_map(single).collect(),
        excluded_subtrees,
    }
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], CertError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(CertError::generate)?;
    Ok(bytes)
}

/// Ten years, with the two leap days that every ten years have at least.
const ROOT_DAYS: i64 = 3_652;

/// Of these bits all but two are random; RFC 5280 allows 20 bytes.
const SERIAL_BYTES: usize = 16;

/// What remains of the 64 bytes of a common name beside ` issuing CA 1a2b3c4d`.
const MAX_SHORT_BYTES: usize = 43;
