//! The record of what is installed on this host: what `uninstall` works from, and what an
//! installation that was cut short is undone from.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use durable::{At, IoError};
use serde::{Deserialize, Serialize};

use crate::error::InstallError;
use crate::file;
use crate::paths::INSTALL_LOCK;
use crate::undo::Undo;
use crate::user::Ids;

/// What an installation made on the host, and what is under way.
///
/// Crash argument: each step of an installation enters what undoes it into `journal`, durably,
/// before it begins; the last write of an installation empties the journal, and that is the
/// moment at which it counts. Whoever finds a journal that is not empty undoes it first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Record {
    /// The version of the record's form.
    format: u32,
    /// The program that wrote it, for people.
    program: String,
    /// What stays when all else is removed, for people: directories and users.
    pub(crate) keeps: Vec<String>,
    /// What was made, in this order.
    pub(crate) made: Vec<InstalledItem>,
    /// What undoes the installation that is under way, in the order of its steps.
    pub(crate) journal: Vec<Undo>,
}

/// A thing that an installation made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "made", rename_all = "kebab-case")]
pub enum InstalledItem {
    /// A user.
    User {
        /// Its name.
        name: String,
    },
    /// A directory.
    Directory {
        /// Where.
        path: PathBuf,
    },
    /// A file.
    File {
        /// Where.
        path: PathBuf,
    },
    /// A file that was moved out of a directory that is kept.
    Moved {
        /// The directory. What is in it is its owner's, and done as its owner.
        inside: PathBuf,
        /// From where.
        from: PathBuf,
        /// To where.
        to: PathBuf,
    },
    /// A service.
    Service {
        /// Its name.
        unit: String,
    },
}

impl Record {
    /// Reads the record; without one, nothing is installed.
    ///
    /// # Errors
    /// [`InstallError::Record`] and [`InstallError::NewerRecord`].
    pub fn read(path: &Path) -> Result<Option<Self>, InstallError> {
        let Some(content) = file::read(path)? else { return Ok(None) };
        let damaged = |message: String| InstallError::Record { path: path.to_owned(), message };
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let form: Form =
            serde_json::from_slice(&content).map_err(|error| damaged(error.to_string()))?;
        if form.format > FORMAT {
            return Err(InstallError::NewerRecord(path.to_owned()));
        }
        serde_json::from_slice(&content).map(Some).map_err(|error| damaged(error.to_string()))
    }

    /// A record of nothing, in the name of this program.
    pub(crate) fn new(program: &str) -> Self {
        Self { format: FORMAT, program: program.to_owned(), ..Self::default() }
    }

    /// Whether an installation was cut short: it has something to undo, or was the first and made
    /// nothing yet.
    pub fn is_unfinished(&self) -> bool {
        !self.journal.is_empty() || self.made.is_empty()
    }

    /// Notes a thing that was made, once. A file that moved goes back to where it was last.
    pub(crate) fn note(&mut self, made: InstalledItem) {
        if let InstalledItem::Moved { to: new, .. } = &made {
            self.made.retain(|made| !matches!(made, InstalledItem::Moved { to, .. } if to == new));
        }
        if !self.made.contains(&made) {
            self.made.push(made);
        }
    }

    /// Makes the record that of a finished installation.
    pub(crate) fn finish(&mut self, program: &str, keeps: Vec<String>) {
        program.clone_into(&mut self.program);
        self.keeps = keeps;
        self.journal.clear();
    }

    /// Writes the record, durably.
    pub(crate) fn write(&self, path: &Path) -> Result<(), InstallError> {
        let failed = |error: serde_json::Error| InstallError::Record {
            path: path.to_owned(),
            message: error.to_string(),
        };
        let mut content = serde_json::to_vec_pretty(self).map_err(failed)?;
        content.push(b'\n');
        file::write(path, &mut content.as_slice(), 0o600, Ids::ROOT)
    }
}

/// Held while an installation changes this host, so that a second one does not.
pub struct InstallLock {
    _file: File,
}

impl InstallLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`InstallError::Busy`] if another process has it.
    pub fn take() -> Result<Self, InstallError> {
        let path = Path::new(INSTALL_LOCK);
        let mut options = File::options();
        // For root alone: whoever can open it can hold it.
        let opened = options.create(true).truncate(false).write(true).mode(0o600).open(path);
        let opened = opened.at("open", path)?;
        match opened.try_lock() {
            Ok(()) => Ok(Self { _file: opened }),
            Err(std::fs::TryLockError::WouldBlock) => Err(InstallError::Busy),
            Err(std::fs::TryLockError::Error(error)) => {
                Err(IoError::new("lock", path, &error).into())
            }
        }
    }
}

/// The version of the record's form.
const FORMAT: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_cannot_be_read_is_an_error_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record");
        assert_eq!(Record::read(&path), Ok(None));
        for (content, is_newer) in
            [("", false), ("{}", false), ("{\"format\": 2, \"more\": 1}", true)]
        {
            std::fs::write(&path, content).unwrap();
            let error = Record::read(&path).unwrap_err();
            assert_eq!(error == InstallError::NewerRecord(path.clone()), is_newer, "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
    }
}
