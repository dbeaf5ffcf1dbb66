//! The file that says of which store a directory is the backup.

use durable::{Access, remove, remove_durably, sync_directory, write_whole};
use serde::{Deserialize, Serialize};

use super::generation::Generation;
use super::read_small;
use crate::error::{StorageError, Trouble};
use crate::layout::Layout;

/// What stands in `backup.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// What tells the store from others.
    pub(super) identity: String,
    /// When the newest whole backup was made, in seconds since 1970; none before the first.
    pub(super) made_at: Option<i64>,
    /// The last run that began to write there; none if a program wrote it that did not say.
    #[serde(default)]
    pub(super) last: Option<LastRun>,
}

/// A run of a backup that began to write in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// What the store that it copied knows it by.
    pub(super) generation: Generation,
    /// When it began, in seconds since 1970.
    pub begun_at: i64,
    /// Which registry it copied, for people.
    pub of: String,
    /// Whether the disk of that registry was read-only: the run is noted here alone.
    #[serde(default)]
    pub was_read_only: bool,
}

impl Mark {
    /// The mark of a directory, if it has one.
    pub(super) fn read(layout: &Layout) -> Result<Option<Self>, StorageError> {
        let path = layout.backup_mark();
        let Some(content) = read_small(&path)? else { return Ok(None) };
        let mark = serde_json::from_slice(&content);
        mark.map(Some).map_err(|error| {
            StorageError::Failed(Trouble::Damaged { path, what: error.to_string() })
        })
    }

    /// Writes the mark, durably.
    pub(super) fn write(&self, layout: &Layout) -> Result<(), StorageError> {
        let path = layout.backup_mark();
        let content = serde_json::to_vec(self).map_err(|error| {
            StorageError::Failed(Trouble::Damaged { path: path.clone(), what: error.to_string() })
        })?;
        Ok(write_whole(&path, &mut &content[..], Access::PRIVATE)?)
    }
}

/// Takes the mark off a directory that is served: it is a registry of its own now, and the next
/// backup must not take away what is pushed to it.
pub(crate) fn forget(layout: &Layout) -> Result<(), StorageError> {
    match remove(&layout.backup_mark())? {
        true => Ok(sync_directory(layout.root())?),
        false => Ok(()),
    }
}

/// Says that a restore into the directory has begun.
pub(super) fn begin_restoring(layout: &Layout) -> Result<(), StorageError> {
    Ok(write_whole(&layout.restore_mark(), &mut &b""[..], Access::PRIVATE)?)
}

/// Says that it has ended.
pub(super) fn end_restoring(layout: &Layout) -> Result<(), StorageError> {
    Ok(remove_durably(&layout.restore_mark())?)
}
