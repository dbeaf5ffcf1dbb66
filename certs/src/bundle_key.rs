//! The key that signs bundles: Ed25519, made on first use and never replaced. Whoever takes bundles
//! on the other side of an air gap compares its public half.
//!
//! It has nothing to do with the CA, whose keys say who a server is: this one says which registry
//! wrote what lies on a medium, for as long as media are kept.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use durable::{Access, At, remove, sync_parent, write_whole};
use thiserror::Error;

use crate::error::{CertError, Damage};
use crate::files::Files;
use crate::tls_file::TlsFile;

/// The key of a registry. `Debug` hides it.
pub struct BundleKey(Ed25519KeyPair);

impl BundleKey {
    /// The key in `directory`, which is made there if there is none; and with it the file of its
    /// public half. The directory is made if its parent is
    /// there.
    ///
    /// Crash argument: the key has its name when it is whole and synced, and only if no other was
    /// there, so that of two who make it at once both take the same. The public half is made from
    /// it at any time.
    ///
    /// # Errors
    /// [`CertError::Damaged`], [`CertError::Generate`], and trouble with the disk.
    pub fn ensure(directory: &Path) -> Result<Self, CertError> {
        let files = Files::new(directory);
        let key = match Self::load(&files)? {
            Some(key) => key,
            None => {
                files.make_directory()?;
                Self::make(directory)?;
                Self::load(&files)?.ok_or_else(|| CertError::generate("the key is gone again"))?
            }
        };
        let (path, text) = (directory.join(PUBLIC.name()), format!("{}\n", key.public()));
        if fs::read(&path).ok().is_none_or(|there| there != text.as_bytes()) {
            files.write(PUBLIC, &text)?;
        }
        Ok(key)
    }

    /// The public half of the key in `directory`; `None` if none was made yet.
    ///
    /// # Errors
    /// [`CertError::Damaged`], and trouble with the disk.
    pub fn read_public(directory: &Path) -> Result<Option<PublicKey>, CertError> {
        Ok(Self::load(&Files::new(directory))?.map(|key| key.public()))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; KEY_BYTES];
        let raw = self.0.public_key().as_ref();
        // A key of Ed25519 has just as many.
        bytes.iter_mut().zip(raw).for_each(|(to, from)| *to = *from);
        PublicKey(bytes)
    }

    /// Signs a text.
    ///
    /// # Errors
    /// [`CertError::Generate`].
    pub fn sign(&self, text: &[u8]) -> Result<[u8; SIGNATURE_BYTES], CertError> {
        let signature = self.0.try_sign(text).map_err(CertError::generate)?;
        signature.as_ref().try_into().map_err(CertError::generate)
    }

    fn load(files: &Files) -> Result<Option<Self>, CertError> {
        let Some(key) = files.private_key(KEY)? else { return Ok(None) };
        match Ed25519KeyPair::from_pkcs8(key.der()) {
            Ok(pair) => Ok(Some(Self(pair))),
            Err(_) => Err(files.damaged(KEY, Damage::UnusableKey)),
        }
    }

    fn make(directory: &Path) -> Result<(), CertError> {
        let pair = Ed25519KeyPair::generate().map_err(CertError::generate)?;
        // The first version is the one that openssl reads, too.
        let document = pair.to_pkcs8v1().map_err(CertError::generate)?;
        let pem = format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(document.as_ref()));
        let path = directory.join(KEY.name());
        // Its ending says to a backup that it is not whole.
        let draft = directory.join(format!("{}.{}.new", KEY.name(), std::process::id()));
        write_whole(&draft, &mut pem.as_bytes(), Access::PRIVATE)?;
        let linked = match fs::hard_link(&draft, &path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            linked => linked.at("make", &path),
        };
        remove(&draft)?;
        linked?;
        Ok(sync_parent(&path)?)
    }
}

impl fmt::Debug for BundleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BundleKey").field(&self.public()).finish()
    }
}

/// The public half of the key of a registry: it is shown, written and given as base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; KEY_BYTES]);

impl PublicKey {
    /// Whether the registry of this key signed a text.
    pub fn has_signed(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(text, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let is_as_long = text.len() == KEY_CHARS;
        let bytes = is_as_long.then(|| STANDARD.decode(text).ok()).flatten();
        let bytes = bytes.and_then(|bytes| <[u8; KEY_BYTES]>::try_from(bytes).ok());
        bytes.map(Self).ok_or(PublicKeyError)
    }
}

/// Why a text is no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the key of a registry is 44 characters of base64: `registry status` there shows it, and \
     tls/bundle.pub has it"
)]
pub struct PublicKeyError;

/// The file of the key.
const KEY: TlsFile = TlsFile::BundleKey;
/// The file of its public half.
const PUBLIC: TlsFile = TlsFile::BundlePublicKey;
/// Bytes of a public key.
const KEY_BYTES: usize = 32;
/// Characters of the same in base64.
const KEY_CHARS: usize = 44;
/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 64;
/// What is around a key in PEM.
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert_eq!(BundleKey::read_public(directory.path()), Ok(None));
        let made = BundleKey::ensure(directory.path()).unwrap();
        let mode = fs::metadata(at("bundle.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_to_string(at("bundle.pub")).unwrap(), format!("{}\n", made.public()));
        fs::remove_file(at("bundle.pub")).unwrap();
        assert_eq!(BundleKey::ensure(directory.path()).unwrap().public(), made.public());
        assert_eq!(BundleKey::read_public(directory.path()), Ok(Some(made.public())));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        assert_eq!(made.public().to_string().parse(), Ok(made.public()));
        assert!(!format!("{made:?}").contains("seed"));
    }

    #[test]
    fn all_who_make_it_at_once_take_the_same() {
        let directory = tempfile::tempdir().unwrap();
        BundleKey::make(directory.path()).unwrap();
        let first = BundleKey::read_public(directory.path()).unwrap();
        BundleKey::make(directory.path()).unwrap();
        assert_eq!(BundleKey::read_public(directory.path()).unwrap(), first);
    }

    #[test]
    fn what_it_signed_is_told_from_all_else() {
        let directory = tempfile::tempdir().unwrap();
        let key = BundleKey::ensure(directory.path()).unwrap();
        let signature = key.sign(b"text").unwrap();
        assert!(key.public().has_signed(b"text", &signature));
        assert!(!key.public().has_signed(b"texT", &signature));
        assert!(!key.public().has_signed(b"text", &signature[1..]));
        let other = tempfile::tempdir().unwrap();
        let other = BundleKey::ensure(other.path()).unwrap().public();
        assert!(!other.has_signed(b"text", &signature));
    }

    #[test]
    fn what_is_no_key_is_refused_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bundle.key");
        fs::write(&path, "no key").unwrap();
        let damaged = |damage| CertError::Damaged {
            directory: directory.path().to_owned(),
            file: TlsFile::BundleKey,
            damage,
        };
        assert_eq!(BundleKey::ensure(directory.path()).unwrap_err(), damaged(Damage::NoKey));
        fs::write(&path, format!("{BEGIN}\nAAAA\n{END}\n")).unwrap();
        assert_eq!(BundleKey::ensure(directory.path()).unwrap_err(), damaged(Damage::UnusableKey));
        for text in ["", "AAAA", &"A".repeat(45), &"=".repeat(44)] {
            assert_eq!(text.parse::<PublicKey>(), Err(PublicKeyError), "{text}");
        }
    }
}
