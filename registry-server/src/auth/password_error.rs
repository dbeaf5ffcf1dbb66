//! Why a password is not accepted.

use thiserror::Error;

use crate::limits::{PASSWORD_MAX_BYTES, PASSWORD_MIN_BYTES};

/// Why a password is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// It is too short.
    #[error("a password has at least {PASSWORD_MIN_BYTES} bytes")]
    Short,
    /// It is too long.
    #[error("a password has at most {PASSWORD_MAX_BYTES} bytes")]
    Long,
    /// It is among the first that somebody would try.
    #[error(
        "this password is too easy to guess: take another, such as four words that nobody expects \
         together, or what `openssl rand -base64 18` prints"
    )]
    Weak,
    /// The user's name is in it.
    #[error("the password has the user's name in it, which is tried first: take another")]
    HoldsName,
    /// What was read has several lines.
    #[error("a password is one line, and this has several: keep only the password")]
    SeveralLines,
    /// What was read begins with a byte order mark.
    #[error(
        "what was read begins with a byte order mark, which podman would send as part of the \
         password: save the file as plain text, UTF-8 without BOM"
    )]
    Marked,
    /// There is no randomness.
    #[error("the kernel gave no random bytes")]
    Random,
    /// It could not be hashed.
    #[error("the password could not be hashed: is there enough memory?")]
    Hash,
}
