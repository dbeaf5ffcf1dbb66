//! Content digests: parsing, printing and computing them.
//!
//! Owns the only use of a hash library in the workspace. Refuses every algorithm but sha256 and
//! sha512 and every spelling but the canonical one, so that one content has one name.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use sha2::Digest as _;
use thiserror::Error;

/// A hash algorithm that content may be named by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, the default of every client.
    Sha256,
    /// SHA-512, allowed by the OCI image specification.
    Sha512,
}

impl Algorithm {
    /// Both algorithms, in the order in which their directories are made.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The name before the colon of a digest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == text)
            .ok_or(DigestError::UnsupportedAlgorithm)
    }
}

/// The digest of some content, such as `sha256:9f86d0…`.
///
/// A value exists only in canonical form: a known algorithm and lower-case hexadecimal of the
/// right length, as the OCI image specification demands of registered algorithms.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Value);

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Value {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

impl Digest {
    /// The longest text of a digest, in characters.
    pub const MAX_CHARS: usize = 7 + 128;

    /// The digest of `content`.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(content);
        hasher.finish()
    }

    /// The digest with these bytes, whose number tells the algorithm; none of another number.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let sha256 = || bytes.try_into().ok().map(Value::Sha256);
        let sha512 = || bytes.try_into().ok().map(Value::Sha512);
        sha256().or_else(sha512).map(Self)
    }

    /// The algorithm that computed this digest.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Value::Sha256(_) => Algorithm::Sha256,
            Value::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The part after the colon: 64 or 128 lower-case hexadecimal characters.
    pub fn hex(&self) -> String {
        HEXLOWER.encode(self.bytes())
    }

    /// The bytes that the hexadecimal characters stand for: 32 or 64.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Value::Sha256(bytes) => bytes,
            Value::Sha512(bytes) => bytes,
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) = text.split_once(':').ok_or(DigestError::Malformed)?;
        match algorithm.parse::<Algorithm>() {
            Ok(Algorithm::Sha256) => Ok(Self(Value::Sha256(decode(hex)?))),
            Ok(Algorithm::Sha512) => Ok(Self(Value::Sha512(decode(hex)?))),
            Err(error) if is_registered_form(algorithm, hex) => Err(error),
            Err(_) => Err(DigestError::Malformed),
        }
    }
}

/// Why a text is not a digest that this registry can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DigestError {
    /// The text does not have the form `algorithm:hex`.
    #[error("a digest is sha256: and 64, or sha512: and 128, lower-case hexadecimal characters")]
    Malformed,
    /// The text has the form of a digest, with an algorithm that is not offered.
    #[error("only sha256 and sha512 digests are supported")]
    UnsupportedAlgorithm,
}

/// Computes a digest piece by piece.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// Starts with no content.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
        })
    }

    /// The algorithm this hasher was started with.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Adds the next piece of the content.
    pub fn update(&mut self, piece: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(piece),
            State::Sha512(state) => state.update(piece),
        }
    }

    /// The digest of all pieces so far.
    pub fn finish(self) -> Digest {
        Digest(match self.0 {
            State::Sha256(state) => Value::Sha256(state.finalize().into()),
            State::Sha512(state) => Value::Sha512(state.finalize().into()),
        })
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({})", self.algorithm())
    }
}

fn decode<const N: usize>(hex: &str) -> Result<[u8; N], DigestError> {
    // The decoder takes lower case alone, and writes as much as there is room for.
    if hex.len() != 2 * N {
        return Err(DigestError::Malformed);
    }
    let mut bytes = [0; N];
    match HEXLOWER.decode_mut(hex.as_bytes(), &mut bytes) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(DigestError::Malformed),
    }
}

/// Whether the text is a digest by the grammar of the OCI image specification
/// (descriptor.md, "Digests"), whatever its algorithm.
fn is_registered_form(algorithm: &str, encoded: &str) -> bool {
    let component = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    algorithm.split(['+', '.', '_', '-']).all(component)
        && !encoded.is_empty()
        && encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"=_-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::of(Algorithm::Sha256, b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap().to_string(), EMPTY);
    }

    #[test]
    fn pieces_and_the_whole_hash_alike() {
        for algorithm in Algorithm::ALL {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"the quick ");
            hasher.update(b"brown fox");
            let digest = hasher.finish();
            assert_eq!(digest, Digest::of(algorithm, b"the quick brown fox"));
            assert_eq!(digest.to_string().parse(), Ok(digest));
            assert_eq!(Digest::from_bytes(digest.bytes()), Some(digest));
            assert_eq!(Digest::from_bytes(&digest.bytes()[1..]), None);
        }
    }

    #[test]
    fn only_the_canonical_spelling_is_a_digest() {
        let upper = EMPTY.to_uppercase().replacen("SHA256", "sha256", 1);
        for text in ["", "sha256", "sha256:", ":abc", "sha256:abc", "../../etc", &upper, "a b:c"] {
            assert_eq!(text.parse::<Digest>(), Err(DigestError::Malformed), "{text}");
        }
        for text in ["md5:d41d8cd98f00b204e9800998ecf8427e", "blake3:abc", "a+b:c"] {
            assert_eq!(text.parse::<Digest>(), Err(DigestError::UnsupportedAlgorithm), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics_and_prints_what_it_read(text in ".{0,140}") {
            if let Ok(digest) = text.parse::<Digest>() {
                proptest::prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
