//! What tells bundles, the registries that write them, and their keys from all others.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// What tells a bundle from all others: 128 random bits, the same in all of its volumes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BundleNumber(u128);

impl BundleNumber {
    /// A number that nobody else has.
    ///
    /// # Errors
    /// The kernel's random generator failed.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits)?;
        Ok(Self(u128::from_be_bytes(bits)))
    }

    /// The number of these bits.
    pub fn of(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Display for BundleNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for BundleNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BundleNumber {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        let is_number = text.len() == NUMBER_CHARS && is_lower_hex(text);
        let bits = is_number.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        bits.map(Self).ok_or(NumberError::Bundle)
    }
}

/// What tells a registry from all others: lower-case hexadecimal characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistryId(String);

impl RegistryId {
    /// The longest, in characters.
    pub const MAX_CHARS: usize = 64;
}

impl fmt::Display for RegistryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RegistryId {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        match (1..=Self::MAX_CHARS).contains(&text.len()) && is_lower_hex(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(NumberError::Registry),
        }
    }
}

/// The key that the signature of a bundle is checked with, as its registry shows it: 32 bytes in
/// base64. Whether these are a key, and signed anything, is the business of whoever checks it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SignerKey(String);

impl fmt::Display for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SignerKey {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
        let digits = text.strip_suffix('=').unwrap_or_default();
        match digits.len() == KEY_DIGITS && digits.bytes().all(is_digit) {
            true => Ok(Self(text.to_owned())),
            false => Err(NumberError::Key),
        }
    }
}

/// Why a text is none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NumberError {
    /// Not the number of a bundle.
    #[error("the number of a bundle is 32 lower-case hexadecimal characters")]
    Bundle,
    /// Not what a registry is called.
    #[error("a registry is told from others by 1 to 64 lower-case hexadecimal characters")]
    Registry,
    /// Not a key.
    #[error("the key of a registry is 44 characters of base64")]
    Key,
}

/// Whether a text has hexadecimal digits alone, in the one spelling that is written here.
pub(super) fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

oci::travels_as_text!(BundleNumber, RegistryId, SignerKey);

/// Characters of a number of 128 bits.
const NUMBER_CHARS: usize = 32;
/// Digits of 32 bytes in base64, before the sign that fills them up.
const KEY_DIGITS: usize = 43;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_spelling_that_is_written_is_read() {
        let number = BundleNumber::of(0xab);
        assert_eq!(number.to_string(), format!("{}ab", "0".repeat(30)));
        assert_eq!(number.to_string().parse(), Ok(number));
        let plus = format!("+{}", "0".repeat(31));
        for bad in ["", "ab", &"A".repeat(32), &"0".repeat(33), &plus] {
            assert_eq!(bad.parse::<BundleNumber>(), Err(NumberError::Bundle), "{bad}");
        }
        assert_eq!("00ff".parse::<RegistryId>().map(|id| id.to_string()), Ok("00ff".to_owned()));
        for bad in ["", "a b", "../x", &"0".repeat(65)] {
            assert_eq!(bad.parse::<RegistryId>(), Err(NumberError::Registry), "{bad}");
        }
        let key = format!("{}+/=", "aZ0".repeat(13) + "aZ");
        assert_eq!(key.parse::<SignerKey>().map(|key| key.to_string()), Ok(key.clone()));
        for bad in ["", "=", &key[1..], &key.replace('/', "-"), &key.replace('=', "A")] {
            assert_eq!(bad.parse::<SignerKey>(), Err(NumberError::Key), "{bad}");
        }
    }
}
