//! Users.

use std::sync::atomic::Ordering;

use super::Store;
use crate::db::user::{self, User};
use crate::error::StorageError;
use crate::name::UserName;

impl Store {
    /// Adds a user. Durable on return.
    ///
    /// # Errors
    /// [`StorageError::UserExists`].
    pub fn add_user(&self, user: User) -> Result<(), StorageError> {
        self.changed(self.database.write(move |connection| user::add(connection, &user)))
    }

    /// Changes a user's password hash; false if there is no such user. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn set_password(&self, name: &UserName, hash: String) -> Result<bool, StorageError> {
        let name = name.clone();
        let set = move |connection: &_| user::set_password(connection, &name, &hash);
        self.changed(self.database.write(set))
    }

    /// Removes a user; false if there is no such user. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn remove_user(&self, name: &UserName) -> Result<bool, StorageError> {
        let name = name.clone();
        self.changed(self.database.write_to_free(move |connection| user::remove(connection, &name)))
    }

    /// Finds a user.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn user(&self, name: &UserName) -> Result<Option<User>, StorageError> {
        self.database.read(|connection| user::find(connection, name))
    }

    /// All users in the order of their names.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn users(&self) -> Result<Vec<User>, StorageError> {
        self.database.read(user::all)
    }

    /// A number that grows with each change of a user. Read it before the user, and what was
    /// concluded from that user holds for as long as the number stays.
    pub fn users_version(&self) -> u64 {
        self.users_version.load(Ordering::SeqCst)
    }

    /// What became of a change of a user, which everybody hears of.
    fn changed<T>(&self, outcome: Result<T, StorageError>) -> Result<T, StorageError> {
        self.users_version.fetch_add(1, Ordering::SeqCst);
        outcome
    }
}
