//! Files that were put aside because their bytes are wrong, for a person to look at.

use std::fs;
use std::path::PathBuf;

use durable::{At, remove, sync_directory};
use oci::Digest;

use super::Content;
use crate::error::StorageError;

/// A file that was put aside.
#[derive(Debug)]
pub(crate) struct SetAside {
    /// Its name in the directory.
    pub(crate) name: String,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    path: PathBuf,
}

impl SetAside {
    /// Removes it; false if it is gone already.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub(crate) fn remove(&self) -> Result<bool, StorageError> {
        Ok(remove(&self.path)?)
    }
}

impl Content {
    /// Puts the file of a blob aside; returns where it is then. On a disk that fails it may have to
    /// stay. The caller holds the claim on the blob.
    pub(crate) fn set_aside(&self, digest: &Digest) -> Option<PathBuf> {
        let (path, aside) = (self.layout.blob(digest), self.layout.damaged_blob(digest));
        fs::rename(&path, &aside).ok()?;
        // The new name before the old one's end, so that the file has one at any time.
        let _ = sync_directory(&self.layout.damaged());
        let _ = path.parent().map_or(Ok(()), sync_directory);
        Some(aside)
    }

    /// Whether a file of this name is put aside.
    pub(crate) fn is_set_aside(&self, name: &str) -> bool {
        fs::symlink_metadata(self.layout.damaged().join(name)).is_ok()
    }

    /// The files that are put aside. Names that are no text, and what is no file, are not ours.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub(crate) fn all_set_aside(&self) -> Result<Vec<SetAside>, StorageError> {
        let directory = self.layout.damaged();
        let mut all = Vec::new();
        for entry in fs::read_dir(&directory).at("list", &directory)? {
            let path = entry.at("list", &directory)?.path();
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
            if let (true, Some(name)) = (metadata.is_file(), name) {
                all.push(SetAside { name, bytes: metadata.len(), path });
            }
        }
        Ok(all)
    }
}
