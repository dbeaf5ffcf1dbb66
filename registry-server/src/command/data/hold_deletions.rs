//! Holding deletions off, for whoever copies what is stored.

use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandError, Context, Kept};

/// Asks that collection takes nothing that the store names, until the connection is closed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldDeletions {}

impl Command for HoldDeletions {
    type Reply = ();

    const NAME: &'static str = "hold-deletions";

    fn words(&self) -> &'static str {
        "export"
    }

    fn run(self, context: &mut Context<'_>) -> Result<(), CommandError> {
        context.kept = Some(Kept::Hold(context.store.hold_deletions()));
        Ok(())
    }
}
