//! The files of the directory of the certificates: their names and modes.

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
    /// `bundle.key`: the key that signs bundles.
    BundleKey,
    /// `bundle.pub`: its public half, for whoever takes them.
    BundlePublicKey,
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
            Self::BundleKey => "bundle.key",
            Self::BundlePublicKey => "bundle.pub",
        }
    }

    /// Keys are for the owner only, certificates and public keys for everybody.
    pub(crate) fn mode(self) -> u32 {
        match self {
            Self::RootCertificate
            | Self::IssuingCertificate
            | Self::ServerCertificate
            | Self::BundlePublicKey => 0o644,
            Self::RootKey | Self::IssuingKey | Self::ServerKey | Self::BundleKey => 0o600,
        }
    }
}
