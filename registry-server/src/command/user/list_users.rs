//! Listing users.

use serde::{Deserialize, Serialize};
use storage::{Role, User, UserName};

use crate::command::{Command, CommandError, Context};

/// Asks for all users.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListUsers {}

/// One user, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserEntry {
    /// The name.
    pub name: UserName,
    /// What the user may do.
    pub role: Role,
}

impl Command for ListUsers {
    type Reply = Vec<UserEntry>;

    const NAME: &'static str = "user-list";

    fn words(&self) -> &'static str {
        "user list"
    }

    fn run(self, context: &mut Context<'_>) -> Result<Vec<UserEntry>, CommandError> {
        let entry = |User { name, role, .. }| UserEntry { name, role };
        Ok(context.store.users()?.into_iter().map(entry).collect())
    }
}
