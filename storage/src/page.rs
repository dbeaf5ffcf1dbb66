//! A page of what there may be much of.

use serde::{Deserialize, Serialize};

/// A page of a list, with where the next one begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T, Cursor> {
    /// The entries.
    pub entries: Vec<T>,
    /// Where the next page begins; none if this is the last one.
    pub next: Option<Cursor>,
}

impl<T, Cursor> Page<T, Cursor> {
    /// A page of a list of which `limit` entries were asked for at most: another one follows a full
    /// one, and begins after its last entry.
    pub fn of(entries: Vec<T>, limit: usize, cursor: impl FnOnce(&T) -> Cursor) -> Self {
        let next = entries.last().filter(|_| entries.len() == limit).map(cursor);
        Self { entries, next }
    }
}

impl<T, Cursor> Default for Page<T, Cursor> {
    fn default() -> Self {
        Self { entries: Vec::new(), next: None }
    }
}
