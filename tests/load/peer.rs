//! What peers need and our server makes by itself: a certificate and a password file; and how
//! those that are built in are set up.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

pub(crate) mod docker_registry;
pub(crate) mod nginx;

/// A CA, and a certificate from it for this machine with the same kind of key as ours, ECDSA
/// P-256.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The CA's certificate, which clients believe.
    pub(crate) ca: PathBuf,
    /// The server's certificate.
    pub(crate) certificate: PathBuf,
    /// The server's key.
    pub(crate) key: PathBuf,
}

impl Files {
    /// Makes them in `dir`. Fails when one cannot be written.
    pub(crate) fn write(dir: &Path) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "load generator CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

        let mut params = CertificateParams::new(vec![String::from("localhost")])?;
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &ca)?;

        let named = |name: &str| dir.join(name);
        let files = Self {
            ca: named("ca.crt"),
            certificate: named("server.crt"),
            key: named("server.key"),
        };
        write(&files.ca, ca.pem().as_bytes())?;
        write(&files.certificate, certificate.pem().as_bytes())?;
        write(&files.key, key.serialize_pem().as_bytes())?;
        Ok(files)
    }
}

/// Writes a password file of one line, bcrypt at the cost that htpasswd uses unless told
/// otherwise. Fails when `htpasswd` of apache2-utils is not installed.
pub(crate) fn write_htpasswd(path: &Path, user: &str, password: &str) -> Result<()> {
    let mut child = Command::new("htpasswd")
        .args(["-Bin", user])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting htpasswd; it is in Debian's package apache2-utils")?;
    child.stdin.take().context("htpasswd has no input")?.write_all(password.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "htpasswd ended with {}", output.status);
    write(path, &output.stdout)
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}
