//! Changing a password.

use serde::{Deserialize, Serialize};
use storage::UserName;

use super::{forget_init_password, known_user};
use crate::command::{Command, CommandError, Context};

/// Changes a user's password, which was hashed where it was typed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The user.
    pub name: UserName,
    /// The hash of the new password.
    pub password_hash: String,
}

impl Command for ChangePassword {
    type Reply = ();

    const NAME: &'static str = "user-password";

    fn words(&self) -> &'static str {
        "user passwd"
    }

    fn subject(&self) -> Option<String> {
        Some(self.name.to_string())
    }

    fn run(self, context: &mut Context<'_>) -> Result<(), CommandError> {
        let user = known_user(context.store, self.name)?;
        context.store.set_password(&user.name, self.password_hash)?;
        forget_init_password(context.store, &user)
    }
}
