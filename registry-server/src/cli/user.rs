//! `registry user`: passwords come from a prompt or from standard input, never from an argument,
//! which every user of the host could read.

use std::io::{IsTerminal, Read};

use anyhow::{Context, bail};
use clap::Subcommand;
use storage::{Role, UserName};

use super::data_dir::DataDir;
use crate::auth::password::Password;
use crate::auth::written;
use crate::command::user::{AddUser, ChangePassword, ListUsers, RemoveUser, UserEntry};
use crate::control;
use crate::text::{Lines, print, print_json};

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Add a user; the password is asked for, or read from standard input
    Add {
        #[command(flatten)]
        data: DataDir,
        /// The name to log in with
        name: String,
        /// What the user may do: pull; push (and pull); administrator (and delete)
        #[arg(long, default_value = "pull", value_name = "ROLE", value_parser = role)]
        role: Role,
    },
    /// List the users and their roles
    List {
        #[command(flatten)]
        data: DataDir,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Change a password; it is asked for, or read from standard input
    Passwd {
        #[command(flatten)]
        data: DataDir,
        /// The user
        name: String,
    },
    /// Remove a user; what the user pushed stays
    Remove {
        #[command(flatten)]
        data: DataDir,
        /// The user
        name: String,
    },
}

pub(super) fn run(command: UserCommand) -> anyhow::Result<()> {
    match command {
        UserCommand::Add { data, name, role } => {
            let (data_dir, name) = (data.path()?, name.parse::<UserName>()?);
            let password_hash = read_password(&name)?.hash()?;
            let said = format!("added {name} with the role {role}");
            control::run(&data_dir, AddUser { name, role, password_hash })?;
            Ok(print(&Lines::of(said))?)
        }
        UserCommand::List { data, json } => {
            let users = control::run(&data.path()?, ListUsers {})?;
            let line = |user: &UserEntry| format!("{:<14}{}", user.role.as_str(), user.name);
            let lines = users.iter().map(line);
            if json { print_json(&users) } else { Ok(print(&lines.collect())?) }
        }
        UserCommand::Passwd { data, name } => {
            let (data_dir, name) = (data.path()?, name.parse::<UserName>()?);
            let password_hash = read_password(&name)?.hash()?;
            let said = format!("the password of {name} is changed");
            control::run(&data_dir, ChangePassword { name, password_hash })?;
            Ok(print(&Lines::of(said))?)
        }
        UserCommand::Remove { data, name } => {
            let (data_dir, name) = (data.path()?, name.parse::<UserName>()?);
            let said = format!("removed {name}");
            control::run(&data_dir, RemoveUser { name })?;
            Ok(print(&Lines::of(said))?)
        }
    }
}

fn role(text: &str) -> Result<Role, storage::RoleError> {
    text.parse()
}

/// Asks for the password that is chosen for this user.
fn read_password(user: &UserName) -> anyhow::Result<Password> {
    if std::io::stdin().is_terminal() {
        let password = rpassword::prompt_password("Password: ")?;
        if rpassword::prompt_password("Again: ")? != password {
            bail!("the two passwords differ: nothing was changed");
        }
        return Ok(Password::chosen(password.as_bytes(), user)?);
    }
    let mut input = Vec::new();
    std::io::stdin()
        .take(written::MOST_BYTES)
        .read_to_end(&mut input)
        .context("cannot read the password from standard input")?;
    Ok(Password::chosen(written::line(&input)?, user)?)
}
