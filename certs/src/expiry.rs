//! When the certificates of a directory begin and end.

use std::path::Path;

use crate::error::CertError;
use crate::files::Files;
use crate::tls_file::TlsFile;
use crate::validity::Validity;

/// When the certificates of a directory begin and end; `None` for those that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The root CA that people trust. It ends for good: a new one must be handed out in time.
    pub root: Option<Validity>,
    /// The issuing CA. Renewing it needs `ca.key`.
    pub issuing: Option<Validity>,
    /// The server certificate, which is renewed by itself.
    pub server: Option<Validity>,
}

impl Expiry {
    /// Reads the certificates of a directory that [`ensure`](crate::ensure) keeps. No key is
    /// needed, and nothing is written.
    ///
    /// # Errors
    /// [`CertError::Io`] and [`CertError::Damaged`]; a certificate or directory that is not there
    /// is no error.
    pub fn read(directory: &Path) -> Result<Self, CertError> {
        let files = Files::new(directory);
        let read = |file| -> Result<_, CertError> {
            let chain = files.certificates(file)?;
            Ok(chain.and_then(|chain| chain.first().map(|leaf| leaf.validity)))
        };
        Ok(Self {
            root: read(TlsFile::RootCertificate)?,
            issuing: read(TlsFile::IssuingCertificate)?,
            server: read(TlsFile::ServerCertificate)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_certificates_has_no_dates() {
        let none = Expiry { root: None, issuing: None, server: None };
        assert_eq!(Expiry::read(Path::new("/nonexistent/tls")), Ok(none));
    }
}
