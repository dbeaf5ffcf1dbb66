//! Users.

use durable::IoError;

use super::Store;
use crate::account::UserName;
use crate::account::{Account, UserId};
use crate::db::Transaction;
use crate::db::user::{Role, User};
use crate::error::StorageError;

impl Store {
    /// Adds a user, who inherits nothing from whoever had the name before. Durable on return.
    ///
    /// # Errors
    /// [`StorageError::UserExists`].
    pub fn add_user(
        &self,
        name: UserName,
        role: Role,
        password_hash: String,
    ) -> Result<(), StorageError> {
        let database = self.layout.database();
        let id = UserId::random()
            .map_err(|error| IoError::new("name a user in", &database, &error.into()))?;
        let user = User { name, id, role, password_hash };
        self.changed(self.database.write(move |transaction| transaction.add_user(&user)))
    }

    /// Changes a user's password hash; false if there is no such user. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn set_password(&self, name: &UserName, hash: String) -> Result<bool, StorageError> {
        let name = name.clone();
        let set = move |transaction: &Transaction<'_>| transaction.set_password(&name, &hash);
        self.changed(self.database.write(set))
    }

    /// Removes a user, and ends the user's uploads, also those that rest or are running; false if
    /// there is no such user. Durable on return.
    ///
    /// Crash argument: uploads go after their user is gone for good. One that a crash in between
    /// leaves belongs to nobody whom there will ever be, and expires.
    ///
    /// # Errors
    /// Trouble with the database, or with listing the uploads: the user is removed then.
    pub fn remove_user(&self, name: &UserName) -> Result<bool, StorageError> {
        let name = name.clone();
        let remove = move |transaction: &Transaction<'_>| transaction.remove_user(&name);
        let removed = self.changed(self.database.write_to_free(remove))?;
        if let Some(account) = &removed {
            self.sessions.end_all_of(account)?;
        }
        Ok(removed.is_some())
    }

    /// Whether this user is there still.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn is_user(&self, account: &Account) -> Result<bool, StorageError> {
        Ok(self.user(&account.name)?.is_some_and(|user| user.id == account.id))
    }

    /// Finds a user.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn user(&self, name: &UserName) -> Result<Option<User>, StorageError> {
        self.database.read(|reader| reader.user(name))
    }

    /// All users in the order of their names.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn users(&self) -> Result<Vec<User>, StorageError> {
        self.database.read(|reader| reader.users())
    }

    /// A number that grows with each change of a user. Read it before the user, and what was
    /// concluded from that user holds for as long as the number stays.
    pub fn users_version(&self) -> u64 {
        self.users_version.now()
    }

    /// What became of a change of a user, which everybody hears of.
    fn changed<T>(&self, outcome: Result<T, StorageError>) -> Result<T, StorageError> {
        self.users_version.grow();
        outcome
    }
}
