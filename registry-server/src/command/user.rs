//! Commands about users.

use durable::remove_durably;
use storage::backup::read_small;
use storage::{Store, User, UserName};

use super::CommandError;
use crate::auth::password;

mod add_user;
mod change_password;
mod list_users;
mod remove_user;

pub use add_user::AddUser;
pub use change_password::ChangePassword;
pub use list_users::{ListUsers, UserEntry};
pub use remove_user::RemoveUser;

fn known_user(store: &Store, name: UserName) -> Result<User, CommandError> {
    store.user(&name)?.ok_or(CommandError::NoUser(name))
}

/// Removes the file with the first user's password if it was the password of this user, as it
/// was before the change.
fn forget_init_password(store: &Store, before: &User) -> Result<(), CommandError> {
    let path = store.layout().init_password();
    // Whoever owns the directory may have put another thing there.
    let Ok(Some(content)) = read_small(&path) else { return Ok(()) };
    if password::is_right(content.trim_ascii_end(), &before.password_hash) {
        remove_durably(&path)?;
    }
    Ok(())
}
