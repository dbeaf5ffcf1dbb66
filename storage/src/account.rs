//! Who a user is, beyond the name: a name is given again when its user was removed, and whoever has
//! it then is somebody else.

use std::fmt;

use crate::name::UserName;

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
    fn users_of_one_name_are_told_apart() {
        let name: UserName = "ann".parse().unwrap();
        let account = |id: UserId| Account { name: name.clone(), id };
        let (first, second) = (UserId::random().unwrap(), UserId::random().unwrap());
        assert_ne!(account(first.clone()), account(second));
        assert_ne!(account(first.clone()), account(UserId::default()));
        assert_eq!(account(UserId::kept(first.as_str().to_owned())), account(first));
    }
}
