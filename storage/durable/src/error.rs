//! What the operating system refused, with the file and what was tried with it.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The operating system refused an operation.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cannot {action} {}: {message}", .path.display())]
pub struct IoError {
    /// The operation, as a verb.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The kind of refusal.
    pub kind: io::ErrorKind,
    /// The system's own words.
    pub message: String,
}

impl IoError {
    /// Adds the operation and the file to a failure of the operating system. `action` is a verb, as
    /// in "cannot ACTION PATH".
    pub fn new(action: &'static str, path: &Path, error: &io::Error) -> Self {
        Self { action, path: path.to_owned(), kind: error.kind(), message: error.to_string() }
    }
}

/// Adds the operation and the file to a failure of the operating system.
pub trait At<T> {
    /// `action` is a verb, as in "cannot ACTION PATH".
    ///
    /// # Errors
    /// The failure itself.
    fn at(self, action: &'static str, path: &Path) -> Result<T, IoError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, IoError> {
        self.map_err(|error| IoError::new(action, path, &error.into()))
    }
}
