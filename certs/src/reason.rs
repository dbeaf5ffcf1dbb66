//! Why a certificate is made, and for how many names.

use thiserror::Error;

/// The most names of one certificate. Each lengthens every TLS handshake.
pub const MAX_NAMES: usize = 100;

/// Why a certificate was made, or has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// It or its key was not there.
    #[error("it or its key was missing")]
    Missing,
    /// Its key or its issuer is another one.
    #[error("it did not fit its key or its issuer")]
    Unfit,
    /// Its end was over.
    #[error("it had ended")]
    Ended,
    /// The clock was before its beginning.
    #[error("it was not valid yet by this host's clock, which may be wrong")]
    Early,
    /// It was for other names.
    #[error("the names changed")]
    Names,
    /// Less than a third of its time was left.
    #[error("less than a third of its time was left")]
    Due,
}
