//! Reading certificates and keys: PEM into DER, and DER into the facts that this crate needs.
//!
//! The only module that knows x509-parser. What it gives out owns its bytes and was parsed once.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::pem::Pem;
use x509_parser::prelude::X509Certificate;

use crate::error::Damage;
use crate::name::ServerName;
use crate::server::{KeyKind, PrivateKey};
use crate::validity::Validity;

/// A certificate and what was read from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub(crate) der: Vec<u8>,
    /// The public key as the bytes of its bit string.
    pub(crate) public_key: Vec<u8>,
    pub(crate) validity: Validity,
    pub(crate) is_authority: bool,
    /// Whether the purposes that it lists, if it lists any, include TLS servers.
    pub(crate) is_for_servers: bool,
    /// Whether it was signed with an algorithm that clients refuse.
    pub(crate) is_weak: bool,
    /// The DNS names and addresses of its subject alternative names.
    pub(crate) subjects: Vec<Subject>,
    /// The DNS names and single addresses that its name constraints permit.
    pub(crate) permitted: BTreeSet<ServerName>,
    /// Who signed it, for people.
    pub(crate) issuer_name: String,
    subject: Vec<u8>,
    issuer: Vec<u8>,
}

/// Whether one certificate signed another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    Signed,
    NotSigned,
    /// The names fit, but the algorithm is none that can be checked here.
    Unknown,
}

impl Certificate {
    /// Reads a certificate.
    pub(crate) fn parse(der: Vec<u8>) -> Result<Self, Damage> {
        let x509 = read(&der)?;
        let bad = |_: X509Error| Damage::Certificate;
        let names = x509.subject_alternative_name().map_err(bad)?;
        let usage = x509.extended_key_usage().map_err(bad)?;
        let constraints = x509.name_constraints().map_err(bad)?;
        let subtrees = constraints.and_then(|found| found.value.permitted_subtrees.as_ref());
        let authority = x509.basic_constraints().map_err(bad)?;
        let algorithm = x509.signature_algorithm.algorithm.to_id_string();
        Ok(Self {
            public_key: x509.public_key().subject_public_key.data.to_vec(),
            validity: Validity {
                not_before: x509.validity().not_before.timestamp(),
                not_after: x509.validity().not_after.timestamp(),
            },
            is_authority: authority.is_some_and(|found| found.value.ca),
            is_for_servers: usage.is_none_or(|found| found.value.any || found.value.server_auth),
            is_weak: WEAK_ALGORITHMS.contains(&algorithm.as_str()),
            subjects: names.map_or_else(Vec::new, |found| {
                found.value.general_names.iter().filter_map(Subject::parse).collect()
            }),
            permitted: subtrees
                .into_iter()
                .flatten()
                .filter_map(|subtree| single(&subtree.base))
                .collect(),
            issuer_name: x509.issuer().to_string(),
            subject: x509.subject().as_raw().to_vec(),
            issuer: x509.issuer().as_raw().to_vec(),
            der,
        })
    }

    /// Whether this certificate was signed by `issuer`.
    pub(crate) fn proof_by(&self, issuer: &Self) -> Proof {
        if self.issuer != issuer.subject {
            return Proof::NotSigned;
        }
        let (Ok(this), Ok(signer)) = (read(&self.der), read(&issuer.der)) else {
            return Proof::NotSigned;
        };
        match this.verify_signature(Some(signer.public_key())) {
            Ok(()) => Proof::Signed,
            Err(X509Error::SignatureUnsupportedAlgorithm) => Proof::Unknown,
            Err(_) => Proof::NotSigned,
        }
    }

    /// Whether this certificate is its own issuer.
    pub(crate) fn is_self_signed(&self) -> bool {
        self.proof_by(self) != Proof::NotSigned
    }

    /// The subject alternative names that are no wildcards.
    pub(crate) fn names(&self) -> BTreeSet<ServerName> {
        let plain = |subject: &Subject| match subject {
            Subject::Name(name) => Some(name.clone()),
            Subject::Wildcard(_) => None,
        };
        self.subjects.iter().filter_map(plain).collect()
    }
}

/// A subject alternative name that a client may compare with the name that it called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Name(ServerName),
    /// `*.` and this domain: one label stands for the asterisk.
    Wildcard(ServerName),
}

impl Subject {
    fn parse(name: &GeneralName<'_>) -> Option<Self> {
        match name {
            GeneralName::DNSName(text) => match text.strip_prefix("*.") {
                Some(domain) => ServerName::from_dns(domain).ok().map(Self::Wildcard),
                None => ServerName::from_dns(text).ok().map(Self::Name),
            },
            GeneralName::IPAddress(bytes) => {
                ServerName::from_address(address(bytes)?).ok().map(Self::Name)
            }
            _ => None,
        }
    }

    /// Whether a client that called `name` accepts this.
    pub(crate) fn covers(&self, name: &ServerName) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Wildcard(domain) => {
                let parent = name.dns().and_then(|name| name.split_once('.'));
                parent.is_some_and(|(_, parent)| domain.dns() == Some(parent))
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Wildcard(domain) => write!(f, "*.{domain}"),
        }
    }
}

/// Reads every certificate of a PEM file, in its order; other blocks are passed over.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, Damage> {
    let mut chain = Vec::new();
    for block in Pem::iter_from_buffer(&plain_pem(pem)) {
        let block = block.map_err(|_| Damage::Pem)?;
        if block.label == "CERTIFICATE" {
            chain.push(Certificate::parse(block.contents)?);
        }
    }
    if chain.is_empty() { Err(Damage::NoCertificate) } else { Ok(chain) }
}

/// Reads the first private key of a PEM file; other blocks are passed over.
pub(crate) fn private_key(pem: &[u8]) -> Result<PrivateKey, Damage> {
    let pem = plain_pem(pem);
    let text = String::from_utf8_lossy(&pem);
    if ENCRYPTED_MARKS.iter().any(|mark| text.contains(mark)) {
        return Err(Damage::Encrypted);
    }
    for block in Pem::iter_from_buffer(&pem) {
        let block = block.map_err(|_| Damage::Pem)?;
        let kind = match block.label.as_str() {
            "PRIVATE KEY" => KeyKind::Pkcs8,
            "RSA PRIVATE KEY" => KeyKind::Pkcs1,
            "EC PRIVATE KEY" => KeyKind::Sec1,
            _ => continue,
        };
        return Ok(PrivateKey::new(kind, block.contents));
    }
    Err(Damage::NoKey)
}

/// The content of a PEM file without what editors and shells put into it: byte order marks, at its
/// beginning or where one file was put behind another, and the two bytes that PowerShell takes for
/// a character. A block that begins on the line on which the one before ends, since that file had
/// no last line end, gets a line of its own.
pub fn plain_pem(pem: &[u8]) -> Vec<u8> {
    let unit = match pem {
        [0xff, 0xfe, ..] => Some(u16::from_le_bytes as fn([u8; 2]) -> u16),
        [0xfe, 0xff, ..] => Some(u16::from_be_bytes as fn([u8; 2]) -> u16),
        _ => None,
    };
    let text = match unit {
        Some(unit) => {
            let pairs = pem.chunks_exact(2).filter_map(|pair| pair.try_into().ok());
            String::from_utf16_lossy(&pairs.map(unit).collect::<Vec<_>>()).into_bytes()
        }
        None => pem.to_vec(),
    };
    let text = replaced(&text, MARK, b"");
    replaced(&text, b"----------BEGIN ", b"-----\n-----BEGIN ")
}

/// The text with one piece in the place of another.
fn replaced(text: &[u8], piece: &[u8], by: &[u8]) -> Vec<u8> {
    let mut made = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(piece.len()).position(|window| window == piece) {
        made.extend_from_slice(&rest[..at]);
        made.extend_from_slice(by);
        rest = &rest[at + piece.len()..];
    }
    made.extend_from_slice(rest);
    made
}

fn read(der: &[u8]) -> Result<X509Certificate<'_>, Damage> {
    match parse_x509_certificate(der) {
        Ok(([], x509)) => Ok(x509),
        _ => Err(Damage::Certificate),
    }
}

/// The one name that a constraint permits; an address with a wider mask is none.
fn single(base: &GeneralName<'_>) -> Option<ServerName> {
    match base {
        GeneralName::DNSName(text) => ServerName::from_dns(text).ok(),
        GeneralName::IPAddress(bytes) => {
            let (host, mask) = bytes.split_at_checked(bytes.len() / 2)?;
            let whole = mask.iter().all(|&byte| byte == u8::MAX);
            if whole { ServerName::from_address(address(host)?).ok() } else { None }
        }
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or(v6).ok()
}

/// The byte order mark of UTF-8. No character of PEM has any of its bytes.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// How the two old formats and PKCS#8 say that a key is encrypted.
const ENCRYPTED_MARKS: [&str; 2] = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];

/// Signatures over MD5 and SHA-1 with RSA (two identifiers for the latter) and ECDSA. Go refuses
/// them since 1.18.
const WEAK_ALGORITHMS: [&str; 4] =
    ["1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.3.14.3.2.29", "1.2.840.10045.4.1"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let wildcard = Subject::Wildcard("apps.example.com".parse().unwrap());
        for (name, covered) in [
            ("registry.apps.example.com", true),
            ("a.b.apps.example.com", false),
            ("apps.example.com", false),
            ("registry.example.com", false),
            ("10.0.0.5", false),
        ] {
            assert_eq!(wildcard.covers(&name.parse().unwrap()), covered, "{name}");
        }
    }

    #[test]
    fn only_a_single_address_counts_as_permitted() {
        let name = |bytes: &[u8]| single(&GeneralName::IPAddress(bytes)).map(|n| n.to_string());
        assert_eq!(name(&[10, 0, 0, 5, 255, 255, 255, 255]).as_deref(), Some("10.0.0.5"));
        assert_eq!(name(&[10, 0, 0, 0, 255, 255, 255, 0]), None);
        assert_eq!(name(&[]), None);
        assert_eq!(name(&[1, 2, 3]), None);
    }

    #[test]
    fn what_editors_and_shells_put_into_a_file_is_none_of_it() {
        let (one, two) = ("-----BEGIN A-----\nAAAA\n-----END A-----", "-----BEGIN B-----\nBBBB\n");
        let meant = format!("{one}\n{two}");
        for written in [
            meant.clone(),
            format!("\u{feff}{meant}"),
            format!("\u{feff}{one}\n\u{feff}{two}"),
            format!("{one}{two}"),
            format!("{one}\u{feff}{two}"),
        ] {
            assert_eq!(plain_pem(written.as_bytes()), meant.as_bytes(), "{written:?}");
        }
        let units: Vec<u16> = format!("\u{feff}{meant}").encode_utf16().collect();
        for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            let written: Vec<u8> = units.iter().copied().flat_map(bytes).collect();
            assert_eq!(plain_pem(&written), meant.as_bytes());
        }
        assert_eq!(plain_pem(b"\xff\xfe"), b"");
        assert_eq!(plain_pem(b"\xff"), b"\xff");
    }

    #[test]
    fn files_without_what_is_looked_for_are_refused() {
        let broken = b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n";
        let other = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(certificates(b""), Err(Damage::NoCertificate));
        assert_eq!(certificates(broken), Err(Damage::Pem));
        assert_eq!(certificates(other), Err(Damage::Certificate));
        assert_eq!(private_key(other), Err(Damage::NoKey));
        let cut = &other[..40];
        assert_eq!(certificates(cut), Err(Damage::Pem));
    }
}
