//! Adding a user.

use serde::{Deserialize, Serialize};
use storage::{Role, UserName};

use crate::command::{Command, CommandError, Context};

/// Adds a user. The password was hashed where it was typed; it does not travel.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddUser {
    /// The name.
    pub name: UserName,
    /// What the user may do.
    pub role: Role,
    /// The hash of the password.
    pub password_hash: String,
}

impl Command for AddUser {
    type Reply = ();

    const NAME: &'static str = "user-add";

    fn words(&self) -> &'static str {
        "user add"
    }

    fn subject(&self) -> Option<String> {
        Some(self.name.to_string())
    }

    fn run(self, context: &mut Context<'_>) -> Result<(), CommandError> {
        Ok(context.store.add_user(self.name, self.role, self.password_hash)?)
    }
}
