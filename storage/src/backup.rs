//! Backups: directories that are laid out like a store's, filled from a store that may be serving,
//! and stores that are filled from them.
//!
//! A backup has FORMAT, the database, `blobs/`, `tls/` and `init-password` as a store has them, so
//! that it can be served as it is. Beside them lie `backup.json`, which says whose backup it is,
//! and `etc/` with files of the host from outside of the store. This module writes and reads these
//! directories; who may open which file, and with whose rights, is the caller's to know: files come
//! opened, or are opened here without following a link. Nobody opens the database of a backup but
//! whoever restores or serves it: whoever makes one copies bytes.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use durable::{At, Links, read_within};

use crate::error::{StorageError, Trouble};

mod content;
mod database;
mod error;
mod filling;
pub mod generation;
mod mark;
mod origin;
mod restore;
mod target;

pub use content::Blobs;
pub(crate) use content::missing;
pub use database::DatabaseFiles;
pub use error::BackupError;
pub use filling::Filling;
pub use mark::LastRun;
pub(crate) use mark::forget;
pub use origin::Origin;
pub use restore::Restoring;
pub use target::Target;

pub use crate::content::CopyOutcome;

/// Small files by their names.
pub type SmallFiles = BTreeMap<String, Vec<u8>>;

/// How a file of the host from outside of the store is called in a backup: by its path without the
/// first slash.
pub fn name_in_backup(path: &str) -> &str {
    path.trim_start_matches('/')
}

/// The content of a small regular file; `None` if there is none.
///
/// # Errors
/// [`Trouble::Damaged`] for what is no regular file, or larger than any key, certificate or
/// settings are; else trouble with the disk.
pub fn read_small(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    Ok(read_within(path, SMALL_FILE_BYTES, Links::Refuse)?)
}

/// The regular files of a directory of small ones, by their names, in order. None if it is not
/// there.
///
/// # Errors
/// Those of [`read_small`], and [`Trouble::Damaged`] if there are more files than any registry
/// has.
pub fn read_directory(directory: &Path) -> Result<SmallFiles, StorageError> {
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(SmallFiles::new()),
        listed => listed.at("list", directory)?,
    };
    let mut files = SmallFiles::new();
    for entry in listed {
        let entry = entry.at("list", directory)?;
        let is_file = entry.file_type().at("look at", &entry.path())?.is_file();
        // One that goes meanwhile is none of it any more; what is being written is not yet.
        let is_whole = entry.path().extension().is_none_or(|ending| ending != "new");
        if is_file
            && is_whole
            && let Some(content) = read_small(&entry.path())?
        {
            if files.len() == SMALL_FILES {
                let what = format!("it has more than {SMALL_FILES} files");
                return Err(StorageError::Failed(Trouble::Damaged {
                    path: directory.to_owned(),
                    what,
                }));
            }
            files.insert(entry.file_name().to_string_lossy().into_owned(), content);
        }
    }
    Ok(files)
}

/// The largest file beside database and blobs, in bytes: a chain of certificates has a few
/// thousand.
const SMALL_FILE_BYTES: u64 = 1024 * 1024;
/// The most files in a directory of such files: a registry has six.
const SMALL_FILES: usize = 100;
