//! The directory of the certificates: names of files, their modes, reading and durable writing.
//!
//! Nothing here decides what to write. One process at a time may write, which is the caller's
//! duty: the server holds the lock of the data directory around it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{CertError, Damage};
use crate::server::PrivateKey;
use crate::x509::{self, Certificate};

/// The largest certificate or key file that is read, in bytes. Chains have a few KiB.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

/// A file of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsFile {
    /// `ca.crt`: the root CA, for everybody to read and trust.
    RootCertificate,
    /// `ca.key`: its key, unless that is kept elsewhere.
    RootKey,
    /// `issuing.crt`: the CA that signs server certificates, within its name constraints.
    IssuingCertificate,
    /// `issuing.key`: its key.
    IssuingKey,
    /// `server.crt`: the server's certificate, followed by the issuing CA.
    ServerCertificate,
    /// `server.key`: its key.
    ServerKey,
}

impl TlsFile {
    /// The name of the file in its directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::RootCertificate => "ca.crt",
            Self::RootKey => "ca.key",
            Self::IssuingCertificate => "issuing.crt",
            Self::IssuingKey => "issuing.key",
            Self::ServerCertificate => "server.crt",
            Self::ServerKey => "server.key",
        }
    }

    /// Keys are for the owner only, certificates for everybody.
    fn mode(self) -> u32 {
        match self {
            Self::RootCertificate | Self::IssuingCertificate | Self::ServerCertificate => 0o644,
            Self::RootKey | Self::IssuingKey | Self::ServerKey => 0o600,
        }
    }
}

/// The directory of the certificates.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    directory: PathBuf,
    /// Whether nothing is written there.
    is_frozen: bool,
}

impl Files {
    /// Names the directory, which need not be there.
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), is_frozen: false }
    }

    /// Names a directory in which nothing can be written. What is made is its caller's alone.
    pub(crate) fn frozen(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), is_frozen: true }
    }

    /// Whether nothing is written there.
    pub(crate) fn is_frozen(&self) -> bool {
        self.is_frozen
    }

    /// The directory's path.
    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.clone()
    }

    /// Makes the directory unless it is there; its parent must be. People read `ca.crt` in it,
    /// so it is open to them whatever the umask. A crash between making it and opening it is
    /// mended here too, since this runs until `ca.crt` is written.
    pub(crate) fn make_directory(&self) -> Result<(), CertError> {
        let path = &self.directory;
        match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(CertError::io("make the directory", path, &error));
            }
            _ => {}
        }
        fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE))
            .map_err(|error| CertError::io("set the mode of", path, &error))?;
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
            _ => sync_directory(Path::new(".")),
        }
    }

    /// Whether there is such a file.
    pub(crate) fn exists(&self, file: TlsFile) -> Result<bool, CertError> {
        let path = self.path(file);
        path.try_exists().map_err(|error| CertError::io("look for", &path, &error))
    }

    /// The certificates of a file, at least one; `None` if there is no such file.
    pub(crate) fn certificates(
        &self,
        file: TlsFile,
    ) -> Result<Option<Vec<Certificate>>, CertError> {
        self.parse(file, x509::certificates)
    }

    /// The only certificate of a file, and the file as it is; `None` if there is no such file.
    pub(crate) fn authority(
        &self,
        file: TlsFile,
    ) -> Result<Option<(Certificate, String)>, CertError> {
        self.parse(file, |content| {
            let mut certificates = x509::certificates(content)?;
            match (certificates.pop(), certificates.is_empty()) {
                (Some(only), true) => Ok((only, String::from_utf8_lossy(content).into_owned())),
                _ => Err(Damage::Several),
            }
        })
    }

    /// The private key of a file; `None` if there is no such file.
    pub(crate) fn private_key(&self, file: TlsFile) -> Result<Option<PrivateKey>, CertError> {
        self.parse(file, x509::private_key)
    }

    /// The error that says what is wrong with a file.
    pub(crate) fn damaged(&self, file: TlsFile, damage: Damage) -> CertError {
        CertError::Damaged { directory: self.directory(), file, damage }
    }

    /// Gives a file new content, durable on return: after a crash at any moment the file is the
    /// old one or the new one, whole and with its mode.
    pub(crate) fn write(&self, file: TlsFile, content: &str) -> Result<(), CertError> {
        if self.is_frozen {
            return Ok(());
        }
        let path = self.path(file);
        let temporary = self.directory.join(format!("{}.new", file.name()));
        let at = |action| {
            let temporary = &temporary;
            move |error: io::Error| CertError::io(action, temporary, &error)
        };
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at("remove")(error));
            }
            _ => {}
        }
        // Private from its first moment on, and never through a link that somebody laid.
        let mut opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(at("create"))?;
        opened
            .set_permissions(Permissions::from_mode(file.mode()))
            .map_err(at("set the mode of"))?;
        opened.write_all(content.as_bytes()).map_err(at("write"))?;
        opened.sync_all().map_err(at("sync"))?;
        fs::rename(&temporary, &path).map_err(at("rename"))?;
        sync_directory(&self.directory)
    }

    fn path(&self, file: TlsFile) -> PathBuf {
        self.directory.join(file.name())
    }

    fn parse<T>(
        &self,
        file: TlsFile,
        parser: fn(&[u8]) -> Result<T, Damage>,
    ) -> Result<Option<T>, CertError> {
        let path = self.path(file);
        // A pipe in its place would be waited for.
        if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(self.damaged(file, Damage::NoFile));
        }
        match read(&path) {
            Ok(content) => {
                let parsed = content.and_then(|content| parser(&content));
                parsed.map(Some).map_err(|damage| self.damaged(file, damage))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CertError::io("read", &path, &error)),
        }
    }
}

/// Reads a whole file, unless it is larger than any certificate.
pub(crate) fn read(path: &Path) -> io::Result<Result<Vec<u8>, Damage>> {
    let mut content = Vec::new();
    let limit = MAX_FILE_BYTES as u64 + 1;
    File::open(path)?.take(limit).read_to_end(&mut content)?;
    Ok(if content.len() > MAX_FILE_BYTES { Err(Damage::TooLarge) } else { Ok(content) })
}

fn sync_directory(path: &Path) -> Result<(), CertError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|error| CertError::io("sync", path, &error))
}

const DIRECTORY_MODE: u32 = 0o755;
