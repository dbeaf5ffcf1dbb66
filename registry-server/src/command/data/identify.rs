//! What tells a registry from others.

use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandError, Context};

/// Asks what tells the registry from all others.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identify {}

impl Command for Identify {
    type Reply = String;

    const NAME: &'static str = "identity";

    fn words(&self) -> &'static str {
        "export"
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<String, CommandError> {
        Ok(context.store.identity()?)
    }
}
