//! Directories, and the names in them.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::{Access, At, IoError};

/// An open directory: whoever opens it before a step that cannot be taken back meets early what
/// keeps it from being opened.
#[derive(Debug)]
pub struct Directory {
    file: File,
    path: PathBuf,
}

impl Directory {
    /// Opens a directory.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        Ok(Self { file: File::open(path).at("open", path)?, path: path.to_owned() })
    }

    /// Syncs it: names made, changed or removed in it are durable afterwards.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn sync(&self) -> Result<(), IoError> {
        self.file.sync_all().at("sync", &self.path)
    }
}

/// Syncs a directory that is not open.
///
/// # Errors
/// Trouble with the disk.
pub fn sync_directory(path: &Path) -> Result<(), IoError> {
    Directory { file: File::open(path).at("sync", path)?, path: path.to_owned() }.sync()
}

/// Syncs the directory that holds this name.
///
/// # Errors
/// Trouble with the disk.
pub fn sync_parent(path: &Path) -> Result<(), IoError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => sync_directory(Path::new(".")),
    }
}

/// Makes a directory with exactly this access in a parent that exists. If it exists already it
/// stays as it is, and false is returned. Its name is not synced yet.
///
/// # Errors
/// Trouble with the disk, and a file of that name.
pub fn make_directory(path: &Path, access: Access) -> Result<bool, IoError> {
    match fs::DirBuilder::new().mode(access.mode & 0o700).create(path) {
        Ok(()) => {}
        // Whatever the reason: a file system that is read-only may refuse before it looks.
        Err(_) if path.is_dir() => return Ok(false),
        Err(error) => return Err(IoError::new("make the directory", path, &error)),
    }
    let opened = File::open(path).at("open", path)?;
    if let Some((user, group)) = access.owner {
        fchown(&opened, Some(user), Some(group)).at("set the owner of", path)?;
    }
    opened.set_permissions(Permissions::from_mode(access.mode)).at("set the mode of", path)?;
    Ok(true)
}

/// Makes a directory and those above it as far as they are missing, and syncs the name of each:
/// what is durable inside is worth nothing under a name that is not.
///
/// Crash argument: each has its name synced before anything is made in it. Only the lowest one
/// may be there without, after a run that was killed in between, so the name of the lowest one
/// that is there is synced, too.
///
/// # Errors
/// Trouble with the disk.
pub fn make_with_parents(path: &Path) -> Result<(), IoError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    if path.is_dir() {
        return match sync_parent(path) {
            // Where we may not even look we made nothing.
            Err(IoError { kind: ErrorKind::PermissionDenied, .. }) => Ok(()),
            outcome => outcome,
        };
    }
    if !parent.as_os_str().is_empty() {
        make_with_parents(parent)?;
    }
    fs::create_dir_all(path).at("make the directory", path)?;
    sync_parent(path)
}
