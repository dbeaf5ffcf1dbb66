//! Noting that an import has come to its end.

use serde::{Deserialize, Serialize};
use storage::ImportNumber;

use crate::command::{Command, CommandError, Context};

/// Notes that an import has done all that it could.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndImport {
    /// Its number.
    pub import: ImportNumber,
}

impl Command for EndImport {
    type Reply = ();

    const NAME: &'static str = "import-end";

    fn words(&self) -> &'static str {
        "import"
    }

    fn subject(&self) -> Option<String> {
        Some(self.import.to_string())
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<(), CommandError> {
        Ok(context.store.end_import(self.import)?)
    }
}
