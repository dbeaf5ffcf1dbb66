//! Where the key of the root CA is: in the directory, or with a caller who keeps it elsewhere.
//!
//! Nothing here reads or writes a file: whoever keeps the key elsewhere has a reason, such as a
//! user that this process no longer is.

use std::fmt;
use std::path::{Path, PathBuf};

use rcgen::KeyPair;

use crate::error::{CertError, Damage};
use crate::server::PrivateKey;
use crate::tls_file::MAX_FILE_BYTES;
use crate::x509;

/// Where the key of the root CA is.
#[derive(Clone, Copy, Debug)]
pub enum RootKey<'a> {
    /// In `ca.key` of the directory, unless it is away. That of a new root is made there.
    InDirectory,
    /// Elsewhere, out of reach of whoever reads the directory; it never gets in there.
    Given(&'a GivenKey),
}

/// The key of a root CA that is kept outside of the directory. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct GivenKey {
    path: PathBuf,
    pem: Vec<u8>,
    key: PrivateKey,
}

impl GivenKey {
    /// Makes a key that is to be kept in the file `path`.
    ///
    /// Before [`ensure`](crate::ensure) makes a root with it, the caller writes
    /// [`GivenKey::pem`] there, durably: a root whose key is lost takes no other names.
    ///
    /// # Errors
    /// [`CertError::Generate`].
    pub fn make(path: &Path) -> Result<Self, CertError> {
        let pair = KeyPair::generate().map_err(CertError::generate)?;
        Self::from_pem(path, pair.serialize_pem().as_bytes())
    }

    /// Takes what stands in the file `path`: a PEM key in PKCS#8, PKCS#1 or SEC1.
    ///
    /// # Errors
    /// [`CertError::GivenKeyDamaged`].
    pub fn from_pem(path: &Path, pem: &[u8]) -> Result<Self, CertError> {
        let parsed = match pem.len() {
            ..=MAX_FILE_BYTES => x509::private_key(pem),
            _ => Err(Damage::TooLarge),
        };
        let usable = parsed.and_then(|key| key.pair().map(|_| key));
        let path = path.to_owned();
        match usable {
            Ok(key) => Ok(Self { path, pem: pem.to_vec(), key }),
            Err(damage) => Err(CertError::GivenKeyDamaged { path, damage }),
        }
    }

    /// The content of its file, which only its owner may read. It must never be logged.
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }

    /// The file that it is kept in.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Loads the key.
    pub(crate) fn pair(&self) -> Result<KeyPair, CertError> {
        let damaged = |damage| CertError::GivenKeyDamaged { path: self.path.clone(), damage };
        self.key.pair().map_err(damaged)
    }
}

impl fmt::Debug for GivenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GivenKey").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_key() {
        let key = GivenKey::make(Path::new("/pki/ca.key")).unwrap();
        assert_eq!(format!("{:?}", RootKey::Given(&key)), {
            "Given(GivenKey { path: \"/pki/ca.key\", .. })"
        });
    }

    #[test]
    fn what_is_no_key_is_refused_by_the_name_of_its_file() {
        let path = Path::new("/pki/ca.key");
        let made = GivenKey::make(path).unwrap();
        assert_eq!(GivenKey::from_pem(path, made.pem()), Ok(made));
        for (pem, damage) in [
            (&b""[..], Damage::NoKey),
            (
                b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                Damage::UnusableKey,
            ),
            (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", Damage::Encrypted),
            (&[b' '; MAX_FILE_BYTES + 1], Damage::TooLarge),
        ] {
            let error = CertError::GivenKeyDamaged { path: path.to_owned(), damage };
            assert_eq!(GivenKey::from_pem(path, pem), Err(error));
        }
    }
}
