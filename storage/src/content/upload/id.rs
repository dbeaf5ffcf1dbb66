//! What upload sessions are called.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The identifier of an upload session, or of an import: 128 random bits, printed as a UUID because
/// the protocol carries it in `Docker-Upload-UUID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UploadId(u128);

impl UploadId {
    /// Makes a new identifier that nobody can guess.
    ///
    /// # Errors
    /// Fails only when the kernel's random generator does.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        // The version and variant bits of a random UUID, RFC 9562 section 5.4.
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Ok(Self(u128::from_be_bytes(bytes)))
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        f.write_str(&parts.join("-"))
    }
}

impl FromStr for UploadId {
    type Err = UploadIdError;

    fn from_str(text: &str) -> Result<Self, UploadIdError> {
        let hex: String = text.split('-').collect();
        let value = u128::from_str_radix(&hex, 16).map(Self).map_err(|_| UploadIdError)?;
        // One identifier has one spelling, since it also names a file.
        if value.to_string() == text { Ok(value) } else { Err(UploadIdError) }
    }
}

oci::travels_as_text!(UploadId);

/// A text is not the identifier of an upload session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this is not the identifier of an upload session")]
pub struct UploadIdError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upload_identifiers_have_one_spelling() {
        let id = UploadId::random().unwrap();
        let text = id.to_string();
        assert_eq!(text.len(), 36);
        assert_eq!(text.parse(), Ok(id));
        for bad in [text.to_uppercase() + "F", text.replace('-', ""), "../lock".into()] {
            assert_eq!(bad.parse::<UploadId>(), Err(UploadIdError), "{bad}");
        }
    }
}
