//! Users: their names, roles and password hashes. What a hash means is not known here.

use std::fmt;
use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension, params};
use thiserror::Error;

use super::column::{Text, parsed};
use super::transaction::{Reader, Transaction};
use crate::account::UserName;
use crate::account::{Account, UserId};
use crate::error::StorageError;

/// What a user may do, in every repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Pull only.
    Pull,
    /// Push and pull.
    Push,
    /// Push, pull and delete.
    Administrator,
}

impl Role {
    /// Every role, the weakest first.
    pub const ALL: [Self; 3] = [Self::Pull, Self::Push, Self::Administrator];

    /// The word for the role on the command line and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Administrator => "administrator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

oci::travels_as_text!(Role);

/// A word that is not a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a role is one of pull, push and administrator")]
pub struct RoleError;

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(RoleError)
    }
}

impl ToSql for Role {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.as_str()))
    }
}

impl FromSql for Role {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(FromSqlError::other)
    }
}

/// One user.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name to log in with.
    pub name: UserName,
    /// What tells the user from others who had the name.
    pub id: UserId,
    /// What the user may do.
    pub role: Role,
    /// The hash of the password, as it was given.
    pub password_hash: String,
}

impl User {
    /// Who the user is.
    pub fn account(&self) -> Account {
        Account { name: self.name.clone(), id: self.id.clone() }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The hash stays out of logs.
        write!(f, "User({}, {})", self.name, self.role)
    }
}

impl Transaction<'_> {
    /// Adds a user.
    pub(crate) fn add_user(&self, user: &User) -> Result<(), StorageError> {
        let mut statement = self.prepare_cached(
            "INSERT INTO users (name, password_hash, role, created_at, changed_at, id)
             VALUES (?1, ?2, ?3, ?4, ?4, ?5) ON CONFLICT (name) DO NOTHING",
        )?;
        let (now, id) = (self.now(), user.id.as_str());
        match statement.execute(params![
            Text(&user.name),
            user.password_hash,
            user.role,
            now,
            id
        ])? {
            0 => Err(StorageError::UserExists),
            _ => Ok(()),
        }
    }

    /// Changes a password; false if there is no such user.
    pub(crate) fn set_password(
        &self,
        name: &UserName,
        password_hash: &str,
    ) -> Result<bool, StorageError> {
        let mut statement = self.prepare_cached(
            "UPDATE users SET password_hash = ?2, changed_at = ?3 WHERE name = ?1",
        )?;
        Ok(statement.execute(params![Text(&name), password_hash, self.now()])? > 0)
    }

    /// Removes a user; returns who it was, and none if there is no such user.
    pub(crate) fn remove_user(&self, name: &UserName) -> Result<Option<Account>, StorageError> {
        let Some(user) = self.user(name)? else { return Ok(None) };
        self.prepare_cached("DELETE FROM users WHERE name = ?1")?.execute(params![Text(&name)])?;
        Ok(Some(user.account()))
    }
}

impl Reader<'_> {
    /// Finds a user.
    pub(crate) fn user(&self, name: &UserName) -> Result<Option<User>, StorageError> {
        let mut statement =
            self.prepare_cached("SELECT name, role, password_hash, id FROM users WHERE name = ?1")?;
        Ok(statement.query_row(params![Text(&name)], read).optional()?)
    }

    /// All users in the order of their names. They are few: people and clusters of one site.
    pub(crate) fn users(&self) -> Result<Vec<User>, StorageError> {
        let mut statement =
            self.prepare_cached("SELECT name, role, password_hash, id FROM users ORDER BY name")?;
        let rows = statement.query_map([], read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<User> {
    let id = UserId::kept(row.get(3)?);
    Ok(User { name: parsed(row, 0)?, id, role: row.get(1)?, password_hash: row.get(2)? })
}
