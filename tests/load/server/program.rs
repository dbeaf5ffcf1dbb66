//! The servers that can be measured: ours, those that are built in, and whatever a command starts;
//! and the tools that an import is held against.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// A server that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// The word for it in the output.
    pub(crate) name: String,
    /// What it is.
    pub(crate) role: Role,
}

/// What a server is, and so how it is started and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Our `registry`: a path.
    Ours(PathBuf),
    /// Debian's `docker-registry`: a path, or a name that is looked for in `PATH`.
    DockerRegistry(PathBuf),
    /// nginx with a file of a manifest's bytes: a path, or such a name.
    Nginx(PathBuf),
    /// Another registry: a line for `sh`.
    Command(String),
    /// openssl, which hashes what others read: no server.
    Openssl,
    /// skopeo, which copies into our server, whose path this is: none either.
    Skopeo(PathBuf),
}

/// Why something is no peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerError {
    /// There is no `=`, or nothing behind it.
    NoCommand,
    /// The name is empty, too long for a table, or has other characters than such names have.
    Name,
}

impl std::fmt::Display for PeerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoCommand => "write NAME=COMMAND",
            Self::Name => "a name is 1 to 15 lower-case letters, digits, dots and hyphens",
        })
    }
}

impl std::error::Error for PeerError {}

impl Program {
    /// Ours.
    pub(crate) fn ours(path: PathBuf) -> Self {
        Self { name: String::from(OURS), role: Role::Ours(path) }
    }

    /// Debian's docker-registry.
    pub(crate) fn docker_registry(path: PathBuf) -> Self {
        Self { name: String::from(DOCKER_REGISTRY), role: Role::DockerRegistry(path) }
    }

    /// nginx.
    pub(crate) fn nginx(path: PathBuf) -> Self {
        Self { name: String::from(NGINX), role: Role::Nginx(path) }
    }

    /// openssl.
    pub(crate) fn openssl() -> Self {
        Self { name: String::from(OPENSSL), role: Role::Openssl }
    }

    /// skopeo, which copies into ours.
    pub(crate) fn skopeo(ours: PathBuf) -> Self {
        Self { name: String::from(SKOPEO), role: Role::Skopeo(ours) }
    }

    /// Another peer, from `NAME=COMMAND`.
    pub(crate) fn peer(text: &str) -> Result<Self, PeerError> {
        let (name, command) = text.split_once('=').ok_or(PeerError::NoCommand)?;
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
        if !(1..=NAME_CHARS).contains(&name.len()) || !name.chars().all(is_plain) {
            return Err(PeerError::Name);
        }
        if command.trim().is_empty() {
            return Err(PeerError::NoCommand);
        }
        Ok(Self { name: name.to_owned(), role: Role::Command(command.trim().to_owned()) })
    }

    /// Whether it is our server.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.role, Role::Ours(_))
    }

    /// Whether it is a registry, with a login and pushes.
    pub(crate) fn is_registry(&self) -> bool {
        !self.is_tool() && !matches!(self.role, Role::Nginx(_))
    }

    /// Whether it is no server, and does beside an import what others do.
    pub(crate) fn is_tool(&self) -> bool {
        matches!(self.role, Role::Openssl | Role::Skopeo(_))
    }

    /// The first line that the program prints of its version, or by what it is started; `None`
    /// when it is a peer that is not installed. Fails when it cannot be started.
    pub(crate) fn version(&self) -> Result<Option<String>> {
        let (path, flag): (&Path, &OsStr) = match &self.role {
            Role::Ours(path) | Role::DockerRegistry(path) => (path, OsStr::new("--version")),
            Role::Nginx(path) => (path, OsStr::new("-v")),
            Role::Command(command) => return Ok(Some(format!("by {command}"))),
            Role::Openssl => (Path::new(OPENSSL), OsStr::new("version")),
            Role::Skopeo(_) => (Path::new(SKOPEO), OsStr::new("--version")),
        };
        let output = match Command::new(path).arg(flag).output() {
            Err(error) if error.kind() == ErrorKind::NotFound && !self.is_ours() => {
                return Ok(None);
            }
            output => output.with_context(|| {
                format!(
                    "starting {}: build it with the command of the recipe `release` in the \
                     justfile, name another with --registry, or leave it out with --only",
                    path.display()
                )
            })?,
        };
        // nginx tells it where others complain.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().next().unwrap_or("a version that it does not tell");
        Ok(Some(line.to_owned()))
    }
}

/// The word for our server.
const OURS: &str = "ours";
/// The word for Debian's docker-registry.
const DOCKER_REGISTRY: &str = "docker-registry";
/// The word for nginx.
const NGINX: &str = "nginx";
/// The word for openssl, and what it is started by.
pub(crate) const OPENSSL: &str = "openssl";
/// The same for skopeo.
pub(crate) const SKOPEO: &str = "skopeo";

/// The longest name, in characters.
const NAME_CHARS: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_a_name_and_a_command() {
        let peer = Program::peer("zot=exec zot serve --a=b").unwrap();
        assert_eq!(peer.name, "zot");
        assert_eq!(peer.role, Role::Command(String::from("exec zot serve --a=b")));
        assert_eq!(Program::peer("zot"), Err(PeerError::NoCommand));
        assert_eq!(Program::peer("zot= "), Err(PeerError::NoCommand));
        for text in ["=zot", "Zot=zot", "a b=zot", "a-name-that-is-too-long=zot"] {
            assert_eq!(Program::peer(text), Err(PeerError::Name), "{text}");
        }
    }

    #[test]
    fn a_peer_that_is_not_installed_has_no_version_and_ours_must_have_one() {
        let nowhere = PathBuf::from("/nowhere/at/all");
        assert_eq!(Program::nginx(nowhere.clone()).version().unwrap(), None);
        assert_eq!(Program::docker_registry(nowhere.clone()).version().unwrap(), None);
        assert!(Program::ours(nowhere).version().is_err());
    }
}
