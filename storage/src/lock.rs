//! The lock that makes one process the owner of a store.
//!
//! It is two: one on the directory itself, which nobody removes, and one on a file in it, which
//! also says who holds them and is all that programs before this one take. They are taken in this
//! order, and nobody waits for the first with the second in hand: no two ever wait for each other.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::{IoContext, StorageError};
use crate::medium::is_read_only;

/// Who holds a store, as far as the lock file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder(String);

impl Holder {
    /// Who holds the store whose lock file is `path` now, if anybody does. Makes and changes
    /// nothing.
    pub(crate) fn of(path: &Path) -> Result<Option<Self>, StorageError> {
        let directory = directory_of(path);
        if is_held(directory)? || is_held(path)? { Ok(Some(Self::read(path))) } else { Ok(None) }
    }

    /// Who the lock file says it is. The text only informs; if it cannot be read, or somebody
    /// removed the file, the wait is the same.
    fn read(path: &Path) -> Self {
        let mut text = String::new();
        // A pipe in its place would be waited for; and who came to a disk that is read-only could
        // not write who he is.
        if path.is_file()
            && !is_read_only(directory_of(path))
            && let Ok(file) = File::open(path)
        {
            let _ = file.take(HOLDER_BYTES).read_to_string(&mut text);
        }
        Self(text.trim().to_owned())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("another process") } else { f.write_str(&self.0) }
    }
}

/// What to do when another process owns a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHeld {
    /// Wait until it ends.
    Wait,
    /// Fail with [`StorageError::Owned`].
    GiveUp,
}

/// The lock on a store, held until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct StoreLock {
    _file: Option<File>,
    _directory: File,
}

impl StoreLock {
    /// Takes the lock whose file is `path`, in the store's directory; if another process has it,
    /// asks `on_held` whether to wait for it.
    pub(crate) fn acquire(
        path: &Path,
        on_held: &dyn Fn(&Holder) -> OnHeld,
    ) -> Result<Self, StorageError> {
        let directory = lock_directory(path, on_held)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .at("open", path)?;
        lock(&file, path, path, on_held)?;
        file.set_permissions(Permissions::from_mode(0o600)).at("set the mode of", path)?;
        let name = std::env::args().nth(1).unwrap_or_default();
        let holder = format!("process {} (registry {name})\n", std::process::id());
        // The text only informs; a full disk must not keep the store closed for want of it.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(holder.as_bytes()));
        Ok(Self { _file: Some(file), _directory: directory })
    }

    /// The same where nothing can be written: whoever comes second is not told by whom it is held.
    pub(crate) fn acquire_read_only(
        path: &Path,
        on_held: &dyn Fn(&Holder) -> OnHeld,
    ) -> Result<Self, StorageError> {
        let directory = lock_directory(path, on_held)?;
        let file = match path.is_file() {
            true => Some(File::open(path).at("open", path)?),
            false => None,
        };
        if let Some(file) = &file {
            lock(file, path, path, on_held)?;
        }
        Ok(Self { _file: file, _directory: directory })
    }
}

fn lock_directory(path: &Path, on_held: &dyn Fn(&Holder) -> OnHeld) -> Result<File, StorageError> {
    let directory = directory_of(path);
    let file = File::open(directory).at("open", directory)?;
    lock(&file, directory, path, on_held)?;
    Ok(file)
}

/// Locks what is opened at `at`; `path` is the file that names who holds it.
fn lock(
    file: &File,
    at: &Path,
    path: &Path,
    on_held: &dyn Fn(&Holder) -> OnHeld,
) -> Result<(), StorageError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let holder = Holder::read(path);
            match on_held(&holder) {
                OnHeld::Wait => file.lock().at("lock", at),
                OnHeld::GiveUp => Err(StorageError::Owned(holder)),
            }
        }
        Err(TryLockError::Error(error)) => Err(error).at("lock", at),
    }
}

/// Whether somebody has locked what is here, if anything is.
fn is_held(path: &Path) -> Result<bool, StorageError> {
    let file = match path.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        // A pipe in its place would be waited for.
        Ok(found) if !found.is_file() && !found.is_dir() => return Ok(false),
        _ => File::open(path).at("open", path)?,
    };
    // Shared, and gone with the file: who wants the lock at this moment has to ask again, as
    // behind any other holder.
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error).at("lock", path),
    }
}

/// The store's directory.
fn directory_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// More bytes than the name of a holder has: the file is another user's, and may be of any length.
const HOLDER_BYTES: u64 = 1024;
