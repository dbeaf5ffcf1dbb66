//! Who a user is: the name, and more than it. A name is given again when its user was removed, and
//! whoever has it then is somebody else.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The name of a user: at most [`UserName::MAX_BYTES`] letters, digits and `._@+-`, beginning
/// with a letter or digit. A colon cannot be part of it, since it ends the name in a Basic
/// header (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(String);

impl UserName {
    /// The longest user name, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// The name as it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = UserNameError;

    fn from_str(text: &str) -> Result<Self, UserNameError> {
        let bytes = text.as_bytes();
        let valid = bytes.len() <= Self::MAX_BYTES
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._@+-".contains(byte));
        if valid { Ok(Self(text.to_owned())) } else { Err(UserNameError) }
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

oci::travels_as_text!(UserName);

/// A text is not the name of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a user name is at most 128 letters, digits and . _ @ + -, beginning with a letter or digit"
)]
pub struct UserNameError;

/// A user, told from everybody who had the name before or gets it later.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Account {
    /// The name.
    pub name: UserName,
    /// What only this user of that name has.
    pub id: UserId,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({})", self.name)
    }
}

/// What tells users of the same name apart: 128 random bits, made when the user is added.
///
/// Users whom a program added that knew no such thing have none, and so have what they left; there
/// is one of them for each name at most, since whoever is added later has one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UserId(String);

impl UserId {
    /// Makes a new one.
    ///
    /// # Errors
    /// Fails only when the kernel's random generator does.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{:032x}", u128::from_be_bytes(bytes))))
    }

    /// One as it was kept: whatever it is, it is compared and nothing else.
    pub(crate) fn kept(text: String) -> Self {
        Self(text)
    }

    /// The text to keep; empty for a user who has none.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_hold_no_colon() {
        for good in ["init", "org+robot", "a@b.c"] {
            assert!(good.parse::<UserName>().is_ok(), "{good}");
        }
        for bad in ["", "a:b", "a b", "+a", "é"] {
            assert_eq!(bad.parse::<UserName>(), Err(UserNameError), "{bad}");
        }
    }

    #[test]
    fn users_of_one_name_are_told_apart() {
        let name: UserName = "ann".parse().unwrap();
        let account = |id: UserId| Account { name: name.clone(), id };
        let (first, second) = (UserId::random().unwrap(), UserId::random().unwrap());
        assert_ne!(account(first.clone()), account(second));
        assert_ne!(account(first.clone()), account(UserId::default()));
        assert_eq!(account(UserId::kept(first.as_str().to_owned())), account(first));
    }
}
