//! What can go wrong with certificates, as closed enums that callers match and tests compare.
//!
//! Each message names the file and says what to do next.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use durable::IoError;
use thiserror::Error;

use crate::name::ServerName;
use crate::reason::{MAX_NAMES, Reason};
use crate::tls_file::{MAX_FILE_BYTES, TlsFile};
use crate::validity::utc;

/// A failure to make, keep or accept certificates.
#[expect(missing_docs, reason = "fields whose names say what they are")]
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertError {
    /// No name was asked for.
    #[error("a certificate needs a name: give the host name that clients use")]
    NoNames,
    /// More than [`MAX_NAMES`] names were asked for.
    #[error("{count} names are too many for a certificate, which takes {MAX_NAMES}: give fewer")]
    TooManyNames {
        /// How many different names were asked for.
        count: usize,
    },
    /// The clock of this host is certainly wrong; what it dates would be useless.
    #[error("the clock of this host says {}: set it, then start again", utc(*now))]
    Clock {
        /// The time that the clock shows.
        now: SystemTime,
    },
    /// The operating system refused an operation.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A file of the directory cannot be read as what it should be. It is left as it is.
    #[error("{} {damage}: {}", .directory.join(.file.name()).display(), remedy(*.file))]
    Damaged {
        /// The directory of the certificates.
        directory: PathBuf,
        /// The file in it.
        file: TlsFile,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The root CA has come to its end. It is never replaced by itself, because every client must
    /// be given the new one.
    #[error(
        "the root CA {} ended on {}, and this host says {}: if its clock is right, move the \
         directory {} away, start again, and give every client the new ca.crt",
        .directory.join("ca.crt").display(), utc(*not_after), utc(*now), .directory.display()
    )]
    RootEnded {
        /// The directory of the certificates.
        directory: PathBuf,
        /// Its last second.
        not_after: SystemTime,
        /// The time that the clock shows.
        now: SystemTime,
    },
    /// The root CA is not valid yet: the clock is wrong now, or was when the root was made.
    #[error(
        "the root CA {} begins on {}, and this host says {}: set the clock; if it is right, the \
         root was made under a wrong one: move the directory {} away, start again, and give every \
         client the new ca.crt",
        .directory.join("ca.crt").display(), utc(*not_before), utc(*now), .directory.display()
    )]
    RootNotYetValid {
        /// The directory of the certificates.
        directory: PathBuf,
        /// Its first second.
        not_before: SystemTime,
        /// The time that the clock shows.
        now: SystemTime,
    },
    /// The root CA's certificate is gone, while certificates that it signed are there.
    #[error(
        "{} is gone, though certificates that it signed are there: restore it from a backup or \
         from a client that trusts it; only to begin with a new CA, move the directory {} away",
        .directory.join("ca.crt").display(), .directory.display()
    )]
    RootMissing {
        /// The directory of the certificates.
        directory: PathBuf,
    },
    /// The key in `ca.key`, or the one that was given, is the key of another CA than `ca.crt`.
    #[error(
        "{} is not the key of {}: put the right key in its place, or take it away; without it \
         certificates are still renewed, but no name can be added",
        .key.display(), .directory.join("ca.crt").display()
    )]
    RootKeyMismatch {
        /// The directory of the certificates.
        directory: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// A root is to be made with the key that was given, and `ca.key` in the directory is another.
    #[error(
        "{} and {} are different keys, and without {} nobody can tell which is the root's: \
         restore that from a backup or from a client that trusts it; only to begin with a new CA, \
         move the directory {} away",
        .given.display(), .directory.join("ca.key").display(),
        .directory.join("ca.crt").display(), .directory.display()
    )]
    TwoRootKeys {
        /// The directory of the certificates.
        directory: PathBuf,
        /// The file of the key that was given.
        given: PathBuf,
    },
    /// The key of the root CA that was given cannot be read as one.
    #[error("{} {damage}: {}", .path.display(), remedy(TlsFile::RootKey))]
    GivenKeyDamaged {
        /// The file that it is kept in.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
    /// Names are asked for that the issuing CA may not certify, and the root's key is not at hand
    /// to sign another one.
    #[error(
        "the issuing CA in {} may not certify {}, and the root's key, which can sign another, is \
         not at hand: have it in ca.key there for one start, or leave these names out",
        .directory.display(), list(.names)
    )]
    NamesNotPermitted {
        /// The directory of the certificates.
        directory: PathBuf,
        /// The names that are missing.
        names: Vec<ServerName>,
    },
    /// A new issuing CA is needed, and the root's key is not at hand to sign it.
    #[error(
        "{} cannot be used ({reason}), and the root's key, which can sign another, is not at \
         hand: have it in ca.key there for one start, or restore the directory from a backup",
        .directory.join("issuing.crt").display()
    )]
    RootKeyNeeded {
        /// The directory of the certificates.
        directory: PathBuf,
        /// What is wrong with the issuing CA.
        reason: Reason,
    },
    /// The cryptographic library or the kernel's random generator failed.
    #[error("cannot make a certificate: {0}")]
    Generate(String),
    /// An administrator's own file cannot be read as what it should be.
    #[error("{} {damage}: {}", .path.display(), own_remedy(*.damage, .path))]
    OwnDamaged {
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
    /// An administrator's own certificate or key cannot serve.
    #[error("{}: {problem}", .path.display())]
    Own {
        path: PathBuf,
        /// What is wrong with it.
        problem: OwnProblem,
    },
}

impl CertError {
    /// Whether what the message says to do ends with a start that has the root's key at hand, or
    /// makes a root: where that key is kept elsewhere, another command must do it.
    pub fn takes_root_key(&self) -> bool {
        match self {
            Self::RootEnded { .. }
            | Self::RootNotYetValid { .. }
            | Self::RootMissing { .. }
            | Self::NamesNotPermitted { .. }
            | Self::RootKeyNeeded { .. } => true,
            Self::Damaged { file, .. } => matches!(
                file,
                TlsFile::RootCertificate | TlsFile::IssuingCertificate | TlsFile::IssuingKey
            ),
            _ => false,
        }
    }

    /// Keeps the words of a library that failed to make something.
    pub(crate) fn generate(error: impl Display) -> Self {
        Self::Generate(error.to_string())
    }
}

/// Why a file is not what it should be; each continues "the file …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Damage {
    /// It is a directory, a pipe or a device.
    #[error("is no regular file")]
    NoFile,
    /// It is larger than [`MAX_FILE_BYTES`].
    #[error("is larger than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// A PEM block has no end, or is not base64.
    #[error("is broken in the middle of a PEM block")]
    Pem,
    /// There is no `BEGIN CERTIFICATE` in it.
    #[error("holds no PEM certificate")]
    NoCertificate,
    /// There is no private key in it.
    #[error("holds no PEM private key")]
    NoKey,
    /// What a PEM block holds is no X.509 certificate.
    #[error("holds a certificate that cannot be read")]
    Certificate,
    /// There is more than the one certificate of a CA in it.
    #[error("holds more than one certificate")]
    Several,
    /// The private key is broken, too weak, or of a kind that TLS servers do not use.
    #[error(
        "holds a key that is neither RSA of 2048 to 8192 bits, ECDSA P-256, P-384 or P-521, nor \
         Ed25519"
    )]
    UnusableKey,
    /// The private key is protected by a passphrase.
    #[error("holds an encrypted key")]
    Encrypted,
    /// The certificate in the place of a root CA is none.
    #[error("is not the certificate of a root CA")]
    NotRoot,
}

/// Why an administrator's own certificate cannot serve. Positions count from 1, the first
/// certificate in the file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OwnProblem {
    /// The key belongs to none of the certificates.
    #[error(
        "this key belongs to no certificate in {}: give the key that its request was made with",
        .certificate.display()
    )]
    KeyMismatch {
        /// The file of the certificates.
        certificate: PathBuf,
    },
    /// The key belongs to a later certificate than the first.
    #[error(
        "the key belongs to certificate {position} of the file: put the server's own certificate \
         first, then its issuer, and so on towards the root"
    )]
    LeafNotFirst {
        /// Where the certificate of the key stands.
        position: usize,
    },
    /// A certificate is not signed by the one after it.
    #[error(
        "certificate {position} of the file is not signed by the one after it: each must be \
         followed by its issuer; order them so, and remove those that do not belong to the chain"
    )]
    Chain {
        /// Where the certificate stands.
        position: usize,
    },
    /// A certificate is signed over MD5 or SHA-1.
    #[error(
        "certificate {position} of the file is signed with MD5 or SHA-1, which podman and oc \
         refuse: ask its issuer for one signed with SHA-256"
    )]
    WeakSignature {
        /// Where the certificate stands.
        position: usize,
    },
    /// A certificate has come to its end.
    #[error(
        "certificate {position} of the file ended on {}, and this host says {}: renew it, or set \
         the clock", utc(*not_after), utc(*now)
    )]
    Ended {
        /// Where the certificate stands.
        position: usize,
        /// Its last second.
        not_after: SystemTime,
        /// The time that the clock shows.
        now: SystemTime,
    },
    /// A certificate is not valid yet.
    #[error(
        "certificate {position} of the file begins on {}, and this host says {}: wait, or set the \
         clock", utc(*not_before), utc(*now)
    )]
    NotYetValid {
        /// Where the certificate stands.
        position: usize,
        /// Its first second.
        not_before: SystemTime,
        /// The time that the clock shows.
        now: SystemTime,
    },
    /// The first certificate is that of a CA.
    #[error(
        "the first certificate is that of a CA, not of a server: give the server's certificate, \
         followed by this one if it is its issuer"
    )]
    Authority,
    /// The first certificate lists purposes, and TLS servers are not among them.
    #[error(
        "the certificate is not for TLS servers: ask for one whose extended key usage has \
         serverAuth"
    )]
    NotForServers,
    /// The first certificate has no subject alternative name.
    #[error(
        "the certificate has no subject alternative name, and Go programs such as podman and oc \
         ignore the common name: ask for one with `subjectAltName = DNS:NAME`"
    )]
    NoNames,
    /// Names that clients use are not in the first certificate.
    #[error(
        "the certificate is for {}, not for {}: ask for one with these names too, or leave them \
         out", list(.present), list(.missing)
    )]
    NotCovered {
        /// The names that are not covered.
        missing: Vec<ServerName>,
        /// The subject alternative names as they stand in the certificate.
        present: Vec<String>,
    },
}

/// What to do about a damaged file of the directory.
fn remedy(file: TlsFile) -> &'static str {
    match file {
        TlsFile::RootCertificate => {
            "restore it from a backup or from a client that trusts it; only to begin with a new \
             CA, move its directory away"
        }
        TlsFile::RootKey => {
            "restore it from a backup, or take it away: without it certificates are still \
             renewed, but no name can be added"
        }
        TlsFile::IssuingCertificate | TlsFile::IssuingKey => {
            "restore it from a backup, or remove issuing.crt and issuing.key and start with the \
             root's key at hand: they are made anew"
        }
        TlsFile::ServerCertificate | TlsFile::ServerKey => {
            "remove server.crt and server.key and start again: they are made anew"
        }
        TlsFile::BundleKey | TlsFile::BundlePublicKey => {
            "restore it from a backup; only to sign with a new key, which every registry that \
             takes bundles must be told, remove it"
        }
    }
}

/// What to do about a damaged file of the administrator's own.
fn own_remedy(damage: Damage, path: &Path) -> String {
    let file = path.display();
    match damage {
        Damage::NoFile
        | Damage::TooLarge
        | Damage::Pem
        | Damage::Certificate
        | Damage::Several
        | Damage::NotRoot => "copy it again from where it was made".to_owned(),
        Damage::NoCertificate => format!(
            "if it is DER, type `openssl x509 -inform der -in {file} -out server.crt`; if it is \
             PKCS#12, `openssl pkcs12 -in {file} -nokeys -out server.crt`"
        ),
        Damage::NoKey => format!(
            "if it is DER, type `openssl pkey -inform der -in {file} -out server.key`; if it is \
             PKCS#12, `openssl pkcs12 -in {file} -nocerts -nodes -out server.key`"
        ),
        Damage::UnusableKey => "make such a key and ask for a certificate for it".to_owned(),
        Damage::Encrypted => format!(
            "a server starts without anyone to type the passphrase; type `openssl pkey -in {file} \
             -out server.key` and give it that file"
        ),
    }
}

fn list(names: &[impl Display]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
