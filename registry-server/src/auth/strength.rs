//! Whether a password is hard enough to guess. The only user of zxcvbn.
//!
//! zxcvbn counts how many passwords somebody tries before this one who knows dictionaries, names,
//! keyboards, dates and the user's name, and gives a score from 0 to 4; below
//! [`LEAST_SCORE`] it is found with fewer than 10^6 guesses, which a login that is tried over the
//! network takes days for and a stolen hash no hour.
//! <https://www.usenix.org/conference/usenixsecurity16/technical-sessions/presentation/wheeler>

use storage::UserName;
use zxcvbn::{Score, zxcvbn};

use super::password_error::PasswordError;

/// Checks a password that is chosen for this user.
///
/// # Errors
/// [`PasswordError::HoldsName`] and [`PasswordError::Weak`].
pub(super) fn check(password: &[u8], user: &UserName) -> Result<(), PasswordError> {
    check_name(password, user)?;
    let (text, name) = (String::from_utf8_lossy(password), user.as_str().to_lowercase());
    let parts = name.split(|c: char| !c.is_ascii_alphanumeric());
    let known: Vec<&str> = [name.as_str()].into_iter().chain(parts).chain(KNOWN).collect();
    match zxcvbn(&text, &known).score() {
        score if score < LEAST_SCORE => Err(PasswordError::Weak),
        _ => Ok(()),
    }
}

/// Checks only that the user's name is not in it.
///
/// # Errors
/// [`PasswordError::HoldsName`].
pub(super) fn check_name(password: &[u8], user: &UserName) -> Result<(), PasswordError> {
    let text = String::from_utf8_lossy(password).to_lowercase();
    let name = user.as_str().to_lowercase();
    match name.len() >= NAME_MIN_BYTES && text.contains(&name) {
        true => Err(PasswordError::HoldsName),
        false => Ok(()),
    }
}

/// The lowest score that is accepted.
const LEAST_SCORE: Score = Score::Two;
/// The shortest name that may not be in a password: a letter or two are in any.
const NAME_MIN_BYTES: usize = 3;
/// What somebody would try first here.
const KNOWN: [&str; 6] = ["registry", "mirror", "openshift", "podman", "docker", "quay"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_first_is_refused() {
        for (user, password, verdict) in [
            ("ann", "password", Err(PasswordError::Weak)),
            ("ann", "P@ssw0rd", Err(PasswordError::Weak)),
            ("ann", "12345678", Err(PasswordError::Weak)),
            ("ann", "qwertyuiop", Err(PasswordError::Weak)),
            ("ann", "aaaaaaaaaaaaaaaa", Err(PasswordError::Weak)),
            ("ann", "abcabcabcabc", Err(PasswordError::Weak)),
            ("ann", "registry1", Err(PasswordError::Weak)),
            ("ann", "20261128", Err(PasswordError::Weak)),
            ("ann@example.com", "example2026", Err(PasswordError::Weak)),
            ("ann", "correct horse ann battery", Err(PasswordError::HoldsName)),
            ("ann", "correct horse sANNe battery", Err(PasswordError::HoldsName)),
            ("Pusher", "blue pusher over the hill", Err(PasswordError::HoldsName)),
            // One letter is no name that could be avoided.
            ("a", "correct horse battery", Ok(())),
            ("ann", "correct horse", Ok(())),
            ("ann", "f7x!Qz2k", Ok(())),
            ("ann", "\u{5bc6}\u{7801}\u{5f88}\u{96be}", Err(PasswordError::Weak)),
            ("ann", "\u{5bc6}\u{7801}\u{5f88}\u{96be}\u{731c}\u{5230}\u{4e86}\u{5417}", Ok(())),
        ] {
            let user = user.parse().unwrap();
            assert_eq!(check(password.as_bytes(), &user), verdict, "{password}");
        }
        let user = "ann".parse().unwrap();
        assert_eq!(check(b"\xff\xfe\xfd\xfcq9\x80w\x81", &user), Ok(()));
    }
}
