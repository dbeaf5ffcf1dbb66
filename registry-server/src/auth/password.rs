//! Passwords: made, hashed and verified. The only user of argon2.

use std::sync::{Mutex, PoisonError};

use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use storage::UserName;

pub use super::password_error::PasswordError;
use super::strength::{check, check_name};
use crate::limits::{PASSWORD_MAX_BYTES, PASSWORD_MIN_BYTES};

/// A password of a length that is accepted. Never printed.
#[derive(PartialEq, Eq)]
pub struct Password(Vec<u8>);

impl Password {
    /// Accepts a password that a person chooses for this user: one line of any bytes, since it may
    /// have been chosen elsewhere, that is hard enough to guess.
    ///
    /// # Errors
    /// Every [`PasswordError`] that is about a password.
    pub fn chosen(bytes: &[u8], user: &UserName) -> Result<Self, PasswordError> {
        let password = Self::new(bytes)?;
        password.judge(user)?;
        Ok(password)
    }

    /// Whether it may be chosen for this user.
    ///
    /// # Errors
    /// [`PasswordError::HoldsName`] and [`PasswordError::Weak`].
    pub fn judge(&self, user: &UserName) -> Result<(), PasswordError> {
        check(&self.0, user)
    }

    /// Takes a password that is in use, however easy it is to guess: what it opens was decided
    /// when it was chosen.
    ///
    /// # Errors
    /// [`PasswordError::Short`] and [`PasswordError::Long`].
    pub fn new(bytes: &[u8]) -> Result<Self, PasswordError> {
        match bytes.len() {
            length if length < PASSWORD_MIN_BYTES => Err(PasswordError::Short),
            length if length > PASSWORD_MAX_BYTES => Err(PasswordError::Long),
            _ => Ok(Self(bytes.to_vec())),
        }
    }

    /// Makes up a password for this user, as [`Password::random`] does, that could as well have
    /// been chosen: a short name may occur in what is random. How hard it is to guess needs no
    /// judging, which leaves dictionaries in memory.
    ///
    /// # Errors
    /// [`PasswordError::Random`] only if the kernel's generator fails.
    pub fn made_up(user: &UserName) -> Result<Self, PasswordError> {
        loop {
            let password = Self::random()?;
            if check_name(&password.0, user).is_ok() {
                return Ok(password);
            }
        }
    }

    /// Makes up a password: 160 random bits in letters and digits that a person can type.
    ///
    /// # Errors
    /// [`PasswordError::Random`] only if the kernel's generator fails.
    pub fn random() -> Result<Self, PasswordError> {
        let bytes = random::<RANDOM_CHARACTERS>()?;
        let character = |byte: &u8| ALPHABET[usize::from(byte % 32)];
        Ok(Self(bytes.iter().map(character).collect()))
    }

    /// The bytes, for the file or the terminal they are shown in.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The hash to store, with its parameters and a random salt in it.
    ///
    /// # Errors
    /// [`PasswordError::Random`] only if the kernel's generator fails; [`PasswordError::Hash`],
    /// which only a lack of memory causes.
    pub fn hash(&self) -> Result<String, PasswordError> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None);
        let hasher = params.map(|params| Argon2::new(ALGORITHM, VERSION, params));
        let (hasher, salt) = (hasher.map_err(|_| PasswordError::Hash)?, random::<SALT_BYTES>()?);
        let mut output = [0; OUTPUT_BYTES];
        hash_into(&hasher, &self.0, &salt, &mut output).ok_or(PasswordError::Hash)?;
        written(&salt, &output)
    }
}

/// Verifies passwords, one at a time: each takes 12 MiB meanwhile.
#[derive(Default)]
pub struct Verifier(Mutex<()>);

impl Verifier {
    /// Whether the password is the one that was hashed. Takes as long as hashing it.
    pub fn is_right(&self, password: &[u8], hash: &str) -> bool {
        let Ok(hash) = PasswordHash::new(hash) else { return false };
        self.hashed_as(password, &hash).is_some_and(|output| hash.hash == Some(output))
    }

    /// What the password is with the salt and the parameters of this hash.
    fn hashed_as(&self, password: &[u8], hash: &PasswordHash) -> Option<Output> {
        let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
        let version = Version::try_from(hash.version?).ok()?;
        let hasher = Argon2::new(algorithm, version, Params::try_from(hash).ok()?);
        let mut output = vec![0; hash.hash.as_ref()?.len()];
        let _alone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hash_into(&hasher, password, hash.salt.as_ref()?, &mut output)?;
        Output::new(&output).ok()
    }
}

/// A hash that no password has, with the parameters of those that are made now: to verify something
/// against it takes as long. Nothing is hashed for it, since what is random is as good.
///
/// # Errors
/// [`PasswordError::Random`] only if the kernel's generator fails.
pub fn of_no_password() -> Result<String, PasswordError> {
    written(&random::<SALT_BYTES>()?, &random::<OUTPUT_BYTES>()?)
}

/// Whether the password is the one that was hashed, for who asks once.
pub fn is_right(password: &[u8], hash: &str) -> bool {
    Verifier::default().is_right(password, hash)
}

/// Hashes in memory that goes back to the system at once. `None` without that memory, or if the
/// parameters fit nothing.
fn hash_into(hasher: &Argon2<'_>, password: &[u8], salt: &[u8], output: &mut [u8]) -> Option<()> {
    let blocks = hasher.params().block_count();
    let mut memory = Vec::new();
    memory.try_reserve_exact(blocks.max(APART_BYTES / size_of::<Block>())).ok()?;
    memory.resize(blocks, Block::default());
    hasher.hash_password_into_with_memory(password, salt, output, &mut memory).ok()
}

/// A hash as it is stored, in PHC's form.
fn written(salt: &[u8], output: &[u8]) -> Result<String, PasswordError> {
    let salt = Salt::new(salt).map_err(|_| PasswordError::Hash)?;
    let output = Output::new(output).map_err(|_| PasswordError::Hash)?;
    let version = u32::from(VERSION);
    let parameters = format!("$argon2id$v={version}$m={MEMORY_KIB},t={PASSES},p={LANES}");
    Ok(format!("{parameters}${salt}${output}"))
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], PasswordError> {
    let mut bytes = [0; BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| PasswordError::Random)?;
    Ok(bytes)
}

/// So much is asked for where less is used. glibc takes more than 32 MiB from the system for itself
/// and gives it back as soon as it is free, and what is never written to costs nothing. Less would
/// come out of its heap from the second time on, from another place each time with what others
/// allocate in between, and the process would grow with every crowd of logins.
const APART_BYTES: usize = 33 * 1024 * 1024;

const ALGORITHM: Algorithm = Algorithm::Argon2id;
const VERSION: Version = Version::V0x13;
/// The parameters that OWASP recommends for argon2id with the least memory but one: a server that
/// promises a small footprint verifies one password at a time.
const MEMORY_KIB: u32 = 12 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
/// What argon2 recommends for a salt, and makes of a password unless told otherwise.
const SALT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = 32;

/// 5 bits each; without characters that look alike.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const RANDOM_CHARACTERS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_knows_its_password_and_its_parameters() {
        let password = Password::new(b"correct horse").unwrap();
        let hash = password.hash().unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=12288,t=3,p=1$"), "{hash}");
        assert!(is_right(b"correct horse", &hash));
        assert!(!is_right(b"correct horsf", &hash));
        assert!(!is_right(b"correct horse", "not a hash"));
        assert_ne!(hash, password.hash().unwrap());
    }

    #[test]
    fn what_no_password_has_looks_like_the_hash_of_one() {
        let (hash, other) = (of_no_password().unwrap(), of_no_password().unwrap());
        let made = Password::random().unwrap().hash().unwrap();
        let shape = |hash: &str| {
            let hash = PasswordHash::new(hash).unwrap();
            let lengths = (hash.salt.unwrap().len(), hash.hash.unwrap().len());
            (hash.algorithm, hash.version, hash.params, lengths)
        };
        assert_eq!(shape(&hash), shape(&made));
        assert_ne!(hash, other);
        // It is hashed with, and not refused for its form.
        let verifier = Verifier::default();
        let parsed = PasswordHash::new(&hash).unwrap();
        assert!(verifier.hashed_as(b"a password", &parsed).is_some());
        assert!(!verifier.is_right(b"a password", &hash));
    }

    #[test]
    fn lengths_are_bounded() {
        assert!(Password::new(b"1234567") == Err(PasswordError::Short));
        assert!(Password::new(&[b'x'; 1025]) == Err(PasswordError::Long));
        assert!(Password::new(b"12345678").is_ok());
        let user: UserName = "ann".parse().unwrap();
        assert!(Password::chosen(b"1234567", &user) == Err(PasswordError::Short));
        assert!(Password::chosen(b"12345678", &user) == Err(PasswordError::Weak));
        assert!(Password::chosen(b"correct horse", &user).is_ok());
        assert_eq!(Password::random().unwrap().as_bytes().len(), RANDOM_CHARACTERS);
    }

    #[test]
    fn what_is_made_up_could_have_been_chosen() {
        for user in ["init", "abc", "a", "7"] {
            let user = user.parse().unwrap();
            let password = Password::made_up(&user).unwrap();
            assert!(Password::chosen(password.as_bytes(), &user).is_ok());
        }
    }
}
