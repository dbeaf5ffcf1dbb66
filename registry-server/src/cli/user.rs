//! `registry user`: passwords come from a prompt or from standard input, never from an argument,
//! which every user of the host could read.

use std::io::{IsTerminal, Read};

use anyhow::{Context, bail};
use clap::Subcommand;
use storage::{Role, UserName};

use super::DataDir;
use crate::admin::{self, Reply};
use crate::auth::password::Password;
use crate::auth::written;
use crate::text::{Page, print, print_json};

#[derive(Subcommand)]
pub(super) enum Command {
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

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Add { data, name, role } => {
            let data_dir = data.path()?;
            let (role, password_hash) = (role.to_string(), read_password(&name)?.hash()?);
            let command =
                admin::Command::UserAdd { name: name.clone(), role: role.clone(), password_hash };
            admin::run(&data_dir, command)?;
            Ok(print(&Page::of(format_args!("added {name} with the role {role}")))?)
        }
        Command::List { data, json } => {
            let Reply::Users(users) = admin::run(&data.path()?, admin::Command::UserList)? else {
                bail!("the running server's answer makes no sense")
            };
            let lines = users.iter().map(|user| format!("{:<14}{}", user.role, user.name));
            if json { print_json(&users) } else { Ok(print(&lines.collect())?) }
        }
        Command::Passwd { data, name } => {
            let data_dir = data.path()?;
            let password_hash = read_password(&name)?.hash()?;
            let command = admin::Command::UserPassword { name: name.clone(), password_hash };
            admin::run(&data_dir, command)?;
            Ok(print(&Page::of(format_args!("the password of {name} is changed")))?)
        }
        Command::Remove { data, name } => {
            let command = admin::Command::UserRemove { name: name.clone() };
            admin::run(&data.path()?, command)?;
            Ok(print(&Page::of(format_args!("removed {name}")))?)
        }
    }
}

fn role(text: &str) -> Result<Role, storage::RoleError> {
    text.parse()
}

/// Asks for the password that is chosen for this user.
fn read_password(user: &str) -> anyhow::Result<Password> {
    let user: UserName = user.parse()?;
    if std::io::stdin().is_terminal() {
        let password = rpassword::prompt_password("Password: ")?;
        if rpassword::prompt_password("Again: ")? != password {
            bail!("the two passwords differ: nothing was changed");
        }
        return Ok(Password::chosen(password.as_bytes(), &user)?);
    }
    let mut input = Vec::new();
    std::io::stdin()
        .take(written::MOST_BYTES)
        .read_to_end(&mut input)
        .context("cannot read the password from standard input")?;
    Ok(Password::chosen(written::line(&input)?, &user)?)
}
