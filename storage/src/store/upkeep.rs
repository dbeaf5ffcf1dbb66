//! What upkeep tells about itself.

use super::Store;
use crate::db::upkeep::{self, UpkeepNote};
use crate::error::StorageError;

impl Store {
    /// Notes that a task of upkeep ended now, and what it did. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn note_upkeep(&self, task: &'static str, summary: String) -> Result<(), StorageError> {
        self.write_to_free(move |connection| upkeep::note(connection, task, &summary))
    }

    /// How a task of upkeep last ended, if it ever did.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn last_upkeep(&self, task: &str) -> Result<Option<UpkeepNote>, StorageError> {
        self.database.read(|connection| upkeep::last(connection, task))
    }
}
