//! What docker-registry needs and our server makes by itself: a certificate, a password file
//! and a configuration.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

/// A docker-registry that is ready to be started.
pub(crate) struct Setup {
    /// The configuration file, the argument of `docker-registry serve`.
    pub(crate) config: PathBuf,
    /// The certificate to believe.
    pub(crate) ca: PathBuf,
    /// Where it will listen.
    pub(crate) url: String,
}

impl Setup {
    /// Writes all files into `dir`, which the content will go to as well. Fails when a file
    /// cannot be written or when `htpasswd` of apache2-utils is not installed.
    pub(crate) fn write(dir: &Path, user: &str, password: &str) -> Result<Self> {
        let port = free_port()?;
        let (ca, certificate, key) = certificates(dir)?;
        let passwords = dir.join("htpasswd");
        write(&passwords, hash_password(user, password)?.as_bytes())?;
        let config = dir.join("config.yml");
        let text = configuration(dir, port, &certificate, &key, &passwords)?;
        write(&config, text.as_bytes())?;
        Ok(Self { config, ca, url: format!("https://127.0.0.1:{port}") })
    }
}

/// Debian's configuration with a login and TLS, HTTP/1.1 only as ours, and with no log line for
/// a request that succeeds. The text is JSON, which YAML includes, so that every path is quoted
/// rightly.
fn configuration(
    dir: &Path,
    port: u16,
    certificate: &Path,
    key: &Path,
    passwords: &Path,
) -> Result<String> {
    let config = serde_json::json!({
        "version": "0.1",
        "log": { "level": "error", "accesslog": { "disabled": true } },
        "storage": {
            "cache": { "blobdescriptor": "inmemory" },
            "filesystem": { "rootdirectory": dir.join("content") },
            "delete": { "enabled": true },
        },
        "http": {
            "addr": format!("127.0.0.1:{port}"),
            "secret": "one server needs no shared secret",
            "http2": { "disabled": true },
            "tls": { "certificate": certificate, "key": key },
        },
        "auth": { "htpasswd": { "realm": "load", "path": passwords } },
    });
    Ok(serde_json::to_string_pretty(&config)?)
}

/// A CA, and a certificate from it with the same kind of key as ours, ECDSA P-256. Returns the
/// files of the CA's certificate, the server's certificate and the server's key.
fn certificates(dir: &Path) -> Result<(PathBuf, PathBuf, PathBuf)> {
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

    let files = (dir.join("ca.crt"), dir.join("server.crt"), dir.join("server.key"));
    write(&files.0, ca.pem().as_bytes())?;
    write(&files.1, certificate.pem().as_bytes())?;
    write(&files.2, key.serialize_pem().as_bytes())?;
    Ok(files)
}

/// A line of a password file, bcrypt at the cost that htpasswd uses unless told otherwise.
fn hash_password(user: &str, password: &str) -> Result<String> {
    let mut child = Command::new("htpasswd")
        .args(["-Bin", user])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting htpasswd; it is in Debian's package apache2-utils")?;
    child.stdin.take().context("htpasswd has no input")?.write_all(password.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "htpasswd ended with {}", output.status);
    String::from_utf8(output.stdout).context("htpasswd printed something else than text")
}

/// A port that nothing listens on at this moment.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("finding a free port")?;
    Ok(listener.local_addr()?.port())
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}
