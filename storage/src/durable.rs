//! Making files and directories so that they survive a power cut.
//!
//! Every file here gets its final name by a rename after its content is synced, and the rename
//! counts only once the directory is synced. Modes are set on the open file, whatever the umask.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::{IoContext, StorageError};

/// Syncs a directory: names made, changed or removed in it are durable afterwards.
pub(crate) fn sync_directory(path: &Path) -> Result<(), StorageError> {
    File::open(path).and_then(|directory| directory.sync_all()).at("sync", path)
}

/// Syncs the directory that holds this name.
pub(crate) fn sync_parent(path: &Path) -> Result<(), StorageError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => sync_directory(Path::new(".")),
    }
}

/// Makes a directory with exactly this mode, or leaves it as it is if it exists.
pub(crate) fn make_directory(path: &Path, mode: u32) -> Result<(), StorageError> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {
            fs::set_permissions(path, Permissions::from_mode(mode)).at("set the mode of", path)
        }
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(error).at("make the directory", path),
    }
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
pub fn make_with_parents(path: &Path) -> Result<(), StorageError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    if path.is_dir() {
        return match sync_parent(path) {
            // Where we may not even look we made nothing.
            Err(StorageError::Io { kind: ErrorKind::PermissionDenied, .. }) => Ok(()),
            outcome => outcome,
        };
    }
    if !parent.as_os_str().is_empty() {
        make_with_parents(parent)?;
    }
    fs::create_dir_all(path).at("make the directory", path)?;
    sync_parent(path)
}

/// Opens a new, empty file that only its owner can use.
pub(crate) fn create_private(path: &Path) -> Result<File, StorageError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .at("create", path)?;
    file.set_permissions(Permissions::from_mode(0o600)).at("set the mode of", path)?;
    Ok(file)
}

/// Removes a file, if it is there. Says whether it was.
pub(crate) fn remove(path: &Path) -> Result<bool, StorageError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("remove", path),
    }
}

/// Removes a file, which may be gone already, so that no power cut brings it back.
///
/// # Errors
/// Trouble with the disk.
pub fn remove_durably(path: &Path) -> Result<(), StorageError> {
    remove(path)?;
    sync_parent(path)
}

/// Writes a small file, for its owner only, that is there whole or not at all, whenever the power
/// goes.
///
/// # Errors
/// Trouble with the disk.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let temporary = path.with_extension("new");
    remove(&temporary)?;
    let mut file = create_private(&temporary)?;
    file.write_all(content).at("write", &temporary)?;
    file.sync_all().at("sync", &temporary)?;
    fs::rename(&temporary, path).at("rename", &temporary)?;
    path.parent().map_or(Ok(()), sync_directory)
}
