//! What can be wrong with a schema.

use std::fmt;

/// What is wrong with the schema of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaFault {
    /// There is something that no migration makes.
    Foreign {
        /// What it calls itself: a table, an index, a trigger or a view.
        kind: String,
        /// Its name.
        name: String,
    },
    /// Something is not as the migrations make it.
    Altered {
        /// What it is.
        kind: String,
        /// Its name.
        name: String,
    },
    /// Something that the migrations make is not there.
    Missing {
        /// What it is.
        kind: String,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for SchemaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names are somebody else's: they are quoted, so that a terminal shows and obeys nothing.
        match self {
            Self::Foreign { kind, name } => write!(f, "a foreign {} {name:?}", kind.escape_debug()),
            Self::Altered { kind, name } => write!(f, "an altered {kind} {name:?}"),
            Self::Missing { kind, name } => write!(f, "no {kind} {name:?}"),
        }
    }
}
