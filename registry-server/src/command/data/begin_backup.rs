//! Noting that a backup is to be written.

use serde::{Deserialize, Serialize};
use storage::backup::generation::{FoundBackup, Generation};

use crate::command::{Command, CommandError, Context};

/// Notes that a backup is to be written, where this was found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeginBackup {
    /// What was found there.
    pub found: FoundBackup,
    /// What is to be written there.
    pub next: Generation,
}

impl Command for BeginBackup {
    /// Whether it is noted: not if another registry was the last to write there.
    type Reply = bool;

    const NAME: &'static str = "backup-begin";

    fn words(&self) -> &'static str {
        "backup"
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<bool, CommandError> {
        Ok(context.store.begin_backup(self.found, self.next)?)
    }
}
