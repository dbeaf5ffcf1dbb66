//! Beginning an import.

use serde::{Deserialize, Serialize};
use storage::{Actor, ImportNumber};

use crate::command::{Command, CommandError, Context};

/// Begins an import: gives it its number.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeginImport {
    /// What it is to read, as it was typed.
    pub sources: Vec<String>,
}

impl Command for BeginImport {
    type Reply = ImportNumber;

    const NAME: &'static str = "import-begin";

    fn words(&self) -> &'static str {
        "import"
    }

    fn subject(&self) -> Option<String> {
        self.sources.first().cloned()
    }

    fn run(self, context: &mut Context<'_>) -> Result<ImportNumber, CommandError> {
        let by = match &context.by {
            Some(Actor::Host(person)) => Some(person),
            Some(Actor::User(_)) | None => None,
        };
        Ok(context.store.begin_import(self.sources, by)?)
    }
}
