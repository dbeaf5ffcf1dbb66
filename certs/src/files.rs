//! The directory of the certificates: names of files, their modes, reading and durable writing.
//!
//! Nothing here decides what to write. One process at a time may write, which is the caller's
//! duty: the server holds the lock of the data directory around it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use durable::{Access, At, Links, ReadError, read_within, sync_parent, write_whole};

use crate::error::{CertError, Damage};
use crate::server::PrivateKey;
use crate::tls_file::{MAX_FILE_BYTES, TlsFile};
use crate::x509::{self, Certificate};

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
        if !durable::make_directory(path, Access::mode(DIRECTORY_MODE))? {
            let mode = Permissions::from_mode(DIRECTORY_MODE);
            fs::set_permissions(path, mode).at("set the mode of", path)?;
        }
        Ok(sync_parent(path)?)
    }

    /// Whether there is such a file.
    pub(crate) fn exists(&self, file: TlsFile) -> Result<bool, CertError> {
        let path = self.path(file);
        Ok(path.try_exists().at("look for", &path)?)
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
        let access = Access::mode(file.mode());
        Ok(write_whole(&self.path(file), &mut content.as_bytes(), access)?)
    }

    fn path(&self, file: TlsFile) -> PathBuf {
        self.directory.join(file.name())
    }

    fn parse<T>(
        &self,
        file: TlsFile,
        parser: fn(&[u8]) -> Result<T, Damage>,
    ) -> Result<Option<T>, CertError> {
        // A pipe in its place would be waited for.
        let damage = match read_within(&self.path(file), MAX_FILE_BYTES as u64, Links::Follow) {
            Ok(None) => return Ok(None),
            Ok(Some(content)) => match parser(&content) {
                Ok(parsed) => return Ok(Some(parsed)),
                Err(damage) => damage,
            },
            Err(ReadError::NotRegular(_)) => Damage::NoFile,
            Err(ReadError::TooLarge { .. }) => Damage::TooLarge,
            Err(ReadError::Io(error)) => return Err(error.into()),
        };
        Err(self.damaged(file, damage))
    }
}

const DIRECTORY_MODE: u32 = 0o755;
