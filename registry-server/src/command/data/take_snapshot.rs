//! Taking a snapshot of the database, for a backup.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use storage::BackupError;

use crate::command::{Command, CommandError, Context, Kept, Progress};

/// Asks for a database that nobody writes to, and that no blob it names goes, until the connection
/// is closed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeSnapshot {}

/// Where the snapshot is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPlace {
    /// Its name in the data directory.
    pub name: String,
    /// Whether it is a copy, and not the registry's own on a read-only disk.
    pub is_copy: bool,
}

impl Command for TakeSnapshot {
    type Reply = SnapshotPlace;

    const NAME: &'static str = "backup-snapshot";
    const IS_LONG: bool = true;

    fn words(&self) -> &'static str {
        "backup"
    }

    fn run(self, context: &mut Context<'_>) -> Result<SnapshotPlace, CommandError> {
        let mut tell = |done, total| -> ControlFlow<()> {
            let total = (total > 0).then_some(total);
            let task = "copying the database".to_owned();
            (context.on_progress)(&Progress { task, done, total, is_bytes: false })
        };
        let snapshot = context.store.snapshot(&mut tell).map_err(|error| match error {
            BackupError::Storage(error) => CommandError::Storage(error),
            error => CommandError::Backup(error),
        })?;
        let name = snapshot.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_copy = snapshot.is_copy();
        context.kept = Some(Kept::Snapshot(snapshot));
        Ok(SnapshotPlace { name, is_copy })
    }
}
