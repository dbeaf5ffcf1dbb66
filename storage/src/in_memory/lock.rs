//! The lock that makes one process the owner of a store.
//!
//! It is two: one on the directory itself, which nobody removes, and one on a file in it, which
//! also says who holds them and is all that programs before this one take. They are taken in this
//! order, and nobody waits for the first with the second in hand: no two ever wait for each other.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use durable::{At, IoError};

use crate::error::{OpenError, StorageError};

pub(crate) mod holder;

pub use holder::LockHolder;
use holder::{Named, directory_of, try_lock};

/// What to do when another process owns a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHeld {
    /// Wait until it ends.
    Wait,
    /// Fail with [`OpenError::Owned`].
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
        on_held: &dyn Fn(&LockHolder) -> OnHeld,
    ) -> Result<Self, OpenError> {
        close_to_others(directory_of(path))?;
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
        let holder = format!("{}\n", Named::own());
        // The text only informs; a full disk must not keep the store closed for want of it.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(holder.as_bytes()));
        Ok(Self { _file: Some(file), _directory: directory })
    }

    /// Takes the lock where nothing can be written: whoever comes second is not told by whom it is
    /// held.
    pub(crate) fn acquire_read_only(
        path: &Path,
        on_held: &dyn Fn(&LockHolder) -> OnHeld,
    ) -> Result<Self, OpenError> {
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

/// Takes from everybody but the owner of a directory what lets him open it: whoever can open one
/// can lock it, for as long as he likes. To pass through it, to the CA, takes less.
fn close_to_others(directory: &Path) -> Result<(), StorageError> {
    let permissions = directory.metadata().at("look at", directory)?.permissions();
    match permissions.mode() & OPENING {
        0 => Ok(()),
        _ => {
            let closed = Permissions::from_mode(permissions.mode() & !OPENING);
            Ok(fs::set_permissions(directory, closed).at("set the mode of", directory)?)
        }
    }
}

fn lock_directory(path: &Path, on_held: &dyn Fn(&LockHolder) -> OnHeld) -> Result<File, OpenError> {
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
    on_held: &dyn Fn(&LockHolder) -> OnHeld,
) -> Result<(), OpenError> {
    match try_lock(file) {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let holder = LockHolder::read(path);
            match on_held(&holder) {
                OnHeld::Wait => Ok(file.lock().at("lock", at)?),
                OnHeld::GiveUp => Err(OpenError::Owned(holder)),
            }
        }
        Err(TryLockError::Error(error)) => Err(IoError::new("lock", at, &error).into()),
    }
}

/// What a mode lets others do who open a directory, or change it.
const OPENING: u32 = 0o066;
