//! Taking back what an import did to tags.

use oci::{Digest, ImageName};
use serde::{Deserialize, Serialize};
use storage::{ImportNumber, Page, UndoneChange};

use crate::advice::told;
use crate::command::names::named;
use crate::command::{Command, CommandError, Context};

/// Takes back a page of an import's changes, the newest first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoImport {
    /// Its number.
    pub import: ImportNumber,
    /// Where the page begins; none for the newest.
    pub before: Option<i64>,
}

/// A tag that an import set, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoneTag {
    /// The tag, with its repository.
    pub image: ImageName,
    /// What the import let it name.
    pub from: Option<Digest>,
    /// What it named before; none if it was not there.
    pub to: Option<Digest>,
    /// What it names now; none if it is not there.
    pub names: Option<Digest>,
    /// Why it could not be taken back.
    pub refused: Option<String>,
}

impl UndoneTag {
    /// Whether it is as it was before the import.
    pub fn is_back(&self) -> bool {
        self.names == self.to
    }
}

impl Command for UndoImport {
    type Reply = Page<UndoneTag, i64>;

    const NAME: &'static str = "import-undo";

    fn words(&self) -> &'static str {
        "import --undo"
    }

    fn subject(&self) -> Option<String> {
        Some(self.import.to_string())
    }

    fn is_continued(&self) -> bool {
        self.before.is_some()
    }

    fn run(self, context: &mut Context<'_>) -> Result<Self::Reply, CommandError> {
        let page = context.store.undo_import(self.import, self.before, context.by.as_ref())?;
        let undone = |UndoneChange { repository, change, names, refused }| UndoneTag {
            image: named(&repository, &change.tag),
            from: change.after,
            to: change.before,
            names,
            refused: refused.map(|error| told(&error)),
        };
        Ok(Page { entries: page.entries.into_iter().map(undone).collect(), next: page.next })
    }
}
