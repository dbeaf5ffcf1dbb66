//! The registry's certificates: a root CA that people trust, an issuing CA that may certify only
//! the names asked for, and the server certificate that it renews; the judging of an
//! administrator's own certificate; and the key that signs bundles.
//!
//! This crate blocks on the disk, reads the clock only from its caller, and neither logs nor
//! prints: what it did is in [`Ensured::changes`], what failed is a [`CertError`] that names the
//! file and the next step. It knows nothing of TLS or HTTP; [`ServerCertificate`] holds DER that
//! any TLS library takes.
//!
//! ```text
//! ca.crt       root CA: ECDSA P-256, 10 years, made once, never replaced by this program
//!   └ issuing.crt    issuing CA: signs no further CA, and only for the names asked for
//!       └ server.crt     at most 397 days, renewed when a third of them is left
//! ```
//!
//! The limits of the issuing CA are critical name constraints: one DNS subtree for each name, one
//! single address for each address, and an exclusion of every address family, or of DNS, when
//! nothing of it was asked for. RFC 5280 lets a DNS constraint cover the names below it too, so
//! whoever stole `issuing.key` could certify `x.registry.example.com` besides
//! `registry.example.com`, and nothing else; this program itself never does.
//!
//! Beside them lies `bundle.key`, which signs what is carried to other registries: `bundle_key`.
//!
//! Modules in reading order: [`ServerName`] in `name`; [`RootKey`] in `root_key`; [`ensure`] in
//! `ensure`, which composes `ca` and `leaf`; [`load_own`] in `own`; [`Expiry`] in `expiry`.
//! Below them `files` owns names, modes and durability, and `x509` reads certificates and keys.

mod bundle_key;
mod ca;
mod ensure;
mod error;
mod expiry;
mod files;
mod leaf;
mod name;
mod own;
mod reason;
mod root_key;
mod server;
mod tls_file;
mod validity;
mod x509;

pub use bundle_key::{BundleKey, PublicKey, PublicKeyError};
pub use ensure::{Change, Ensured, ensure, ensure_in_memory};
pub use error::{CertError, Damage, OwnProblem};
pub use expiry::Expiry;
pub use name::{NameError, ServerName};
pub use own::{load_own, load_unchecked};
pub use reason::{MAX_NAMES, Reason};
pub use root_key::{GivenKey, RootKey};
pub use server::{KeyKind, PrivateKey, ServerCertificate};
pub use tls_file::{MAX_FILE_BYTES, TlsFile};
pub use validity::Validity;
pub use x509::plain_pem;
