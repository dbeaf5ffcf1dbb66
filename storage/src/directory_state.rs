//! Looking at a directory before anything is done to it: what is there, and who owns it.

use std::io::ErrorKind;
use std::path::Path;

use crate::error::{OpenError, StorageError, Trouble};
use crate::in_memory::lock::LockHolder;
use crate::layout::Layout;

/// What a directory is, as far as looking tells: it may be another a moment later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryState {
    /// What is there.
    pub content: DirectoryContent,
    /// The process that owns it, if one runs.
    pub holder: Option<LockHolder>,
}

/// What is in a directory in which a store may be or become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryContent {
    /// There is no such directory.
    Absent,
    /// It is empty, or the empty root of a file system.
    Empty,
    /// A first start was interrupted, or has not come to its end yet: the next one finishes it.
    Unfinished,
    /// A store.
    Store {
        /// The version of its layout.
        format: u32,
    },
}

impl DirectoryState {
    /// Looks at `root`. Makes and changes nothing, not even a lock file.
    ///
    /// # Errors
    /// [`OpenError::ForeignDirectory`] if something else is there,
    /// [`Trouble::NewerFormat`] and [`Trouble::Damaged`] for a store that this program
    /// cannot open, [`Trouble::Io`] if it is no directory or cannot be read.
    pub fn of(root: &Path) -> Result<Self, OpenError> {
        let layout = Layout::new(root);
        let content = match layout.format()? {
            Some(format) => DirectoryContent::Store { format },
            None => match layout.has_remains() {
                Ok(true) => DirectoryContent::Unfinished,
                Ok(false) => DirectoryContent::Empty,
                Err(OpenError::Storage(StorageError::Failed(Trouble::Io(error))))
                    if error.kind == ErrorKind::NotFound =>
                {
                    DirectoryContent::Absent
                }
                Err(error) => return Err(error),
            },
        };
        Ok(Self { content, holder: LockHolder::of(&layout.lock())? })
    }
}
