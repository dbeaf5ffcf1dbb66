//! Removing a user.

use serde::{Deserialize, Serialize};
use storage::UserName;

use super::{forget_init_password, known_user};
use crate::command::{Command, CommandError, Context};

/// Removes a user.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveUser {
    /// The user.
    pub name: UserName,
}

impl Command for RemoveUser {
    type Reply = ();

    const NAME: &'static str = "user-remove";

    fn words(&self) -> &'static str {
        "user remove"
    }

    fn subject(&self) -> Option<String> {
        Some(self.name.to_string())
    }

    fn run(self, context: &mut Context<'_>) -> Result<(), CommandError> {
        let user = known_user(context.store, self.name)?;
        context.store.remove_user(&user.name)?;
        forget_init_password(context.store, &user)
    }
}
