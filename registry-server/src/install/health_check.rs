//! Whether the service does what it is for: it answers over TLS as clients reach it, and takes the
//! login that a person is about to be told.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use installer::paths::OWN_CERTIFICATE;
use storage::{Layout, Role, UserName};

use super::spec::InstallSpec;
use crate::auth::password::Password;
use crate::command::user::{ListUsers, UserEntry};
use crate::control;
use crate::net::probe::{Probe, ProbeError, Trust};
use crate::server::{FirstStart, read_password};

/// The login that the service takes.
pub(crate) struct Login {
    /// The user.
    pub(crate) user: UserName,
    /// What is known of the password.
    pub(crate) password: PasswordSource,
}

/// What is known of a user's password.
pub(crate) enum PasswordSource {
    /// It was made up and lies in a file until it is changed.
    MadeUp {
        /// The password.
        password: Password,
        /// The file.
        file: PathBuf,
    },
    /// It was given with this installation, in a file.
    Given {
        /// The password.
        password: Password,
        /// The file.
        file: PathBuf,
    },
    /// Only the administrator knows it.
    Chosen,
}

impl fmt::Display for PasswordSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MadeUp { password, .. } => {
                f.write_str(&String::from_utf8_lossy(password.as_bytes()))
            }
            Self::Given { file, .. } => write!(f, "the password in {}", file.display()),
            Self::Chosen => f.write_str("the password that you chose"),
        }
    }
}

/// Asks the service, and gives the login to tell. `first` is what was made just now, if anything.
///
/// # Errors
/// A service that does not answer, or refuses the login that was made for it.
pub(super) fn check(spec: &InstallSpec, first: Option<&FirstStart>) -> anyhow::Result<Login> {
    let name = spec.config.hostnames.first().context("there is no host name")?;
    let trust = match spec.ca() {
        // A pipe in its place would be waited for, and a link leads root where it should not.
        Some(ca) if ca.symlink_metadata().is_ok_and(|found| found.is_file()) => Trust::Root(ca),
        Some(ca) => bail!("{} is no regular file: restore it from a backup", ca.display()),
        None => Trust::Certificate(OWN_CERTIFICATE.into()),
    };
    let probe = |listening| Probe { patience: PATIENCE, ..Probe::new(listening, name, &trust) };
    spec.config.settings.listen.iter().try_for_each(|&listening| probe(listening).run())?;
    let login = Login { user: user(spec)?, password: password_source(spec, first)? };
    let (PasswordSource::MadeUp { password, .. } | PasswordSource::Given { password, .. }) =
        &login.password
    else {
        return Ok(login);
    };
    let &listening =
        spec.config.settings.listen.first().context("there is no address to listen on")?;
    let login_tried = Some((&login.user, password));
    match (Probe { login: login_tried, ..probe(listening) }).run() {
        Ok(()) => Ok(login),
        // Somebody else's password may lie in the file of a registry that was there before.
        Err(ProbeError::LoginRefused { .. }) if first.is_none() => {
            Ok(Login { password: PasswordSource::Chosen, ..login })
        }
        Err(error) => Err(error.into()),
    }
}

/// Who logs in: the first user, or the only administrator of a registry that was made with
/// another one.
fn user(spec: &InstallSpec) -> anyhow::Result<UserName> {
    let data = spec.config.data_dir.as_path();
    let users = installer::as_owner_of(data, || control::run(data, ListUsers {}))??;
    let init = &spec.config.init_user;
    if users.iter().any(|user| user.name == *init) {
        return Ok(init.clone());
    }
    let is_administrator = |user: &&UserEntry| user.role == Role::Administrator;
    let mut administrators = users.iter().filter(is_administrator);
    match (administrators.next(), administrators.next()) {
        (Some(only), None) => Ok(only.name.clone()),
        _ => Ok(init.clone()),
    }
}

fn password_source(
    spec: &InstallSpec,
    first: Option<&FirstStart>,
) -> anyhow::Result<PasswordSource> {
    let data = spec.config.data_dir.as_path();
    let file = Layout::new(data).init_password();
    if file.exists() {
        // With no more rights than its owner has, who could have laid a link there.
        let read = || match file.metadata() {
            Ok(metadata) if metadata.is_file() => read_password(&file),
            _ => bail!("{} is no regular file: remove it, then try again", file.display()),
        };
        let password = installer::as_owner_of(data, read)??;
        return Ok(PasswordSource::MadeUp { password, file });
    }
    match (&spec.config.settings.init_password_file, first) {
        (Some(file), Some(_)) => {
            Ok(PasswordSource::Given { password: read_password(file)?, file: file.clone() })
        }
        _ => Ok(PasswordSource::Chosen),
    }
}

/// How long a service that said it is ready may keep us waiting.
const PATIENCE: Duration = Duration::from_secs(10);
