//! The lock that makes one process the owner of a store.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::{IoContext, StorageError};

/// Who holds a store, as far as the lock file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder(String);

impl Holder {
    /// Who holds the lock in the file `path` now, if anybody does. Makes and changes nothing.
    pub(crate) fn of(path: &Path) -> Result<Option<Self>, StorageError> {
        let mut file = match path.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            // A pipe in its place would be waited for.
            Ok(found) if !found.is_file() => return Ok(None),
            _ => File::open(path).at("open", path)?,
        };
        // Shared, and gone with the file: who wants the lock at this moment has to ask again, as
        // behind any other holder.
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(Self::read(&mut file))),
            Err(TryLockError::Error(error)) => Err(error).at("lock", path),
        }
    }

    fn read(file: &mut File) -> Self {
        let mut text = String::new();
        // The text only informs; if it cannot be read, the wait is the same.
        let _ = file.take(HOLDER_BYTES).read_to_string(&mut text);
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
    _file: File,
}

impl StoreLock {
    /// Takes the lock; if another process has it, asks `on_held` whether to wait for it.
    pub(crate) fn acquire(
        path: &Path,
        on_held: &dyn Fn(&Holder) -> OnHeld,
    ) -> Result<Self, StorageError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .at("open", path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = Holder::read(&mut file);
                match on_held(&holder) {
                    OnHeld::Wait => file.lock().at("lock", path)?,
                    OnHeld::GiveUp => return Err(StorageError::Owned(holder)),
                }
            }
            Err(TryLockError::Error(error)) => return Err(error).at("lock", path),
        }
        file.set_permissions(Permissions::from_mode(0o600)).at("set the mode of", path)?;
        let name = std::env::args().nth(1).unwrap_or_default();
        let holder = format!("process {} (registry {name})\n", std::process::id());
        // The text only informs; a full disk must not keep the store closed for want of it.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(holder.as_bytes()));
        Ok(Self { _file: file })
    }
}

/// More bytes than the name of a holder has: the file is another user's, and may be of any length.
const HOLDER_BYTES: u64 = 1024;
