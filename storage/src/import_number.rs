//! Which import brought something.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use thiserror::Error;

/// The number of an import: the first one of a store has 1, and none is given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImportNumber(NonZeroU64);

impl ImportNumber {
    /// The import whose row has this number; none if no row can have it.
    pub(crate) fn of_row(row: i64) -> Option<Self> {
        u64::try_from(row).ok().and_then(NonZeroU64::new).map(Self)
    }

    /// The number of its row.
    pub(crate) fn row(self) -> i64 {
        // One that no row can have is none's.
        i64::try_from(self.0.get()).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for ImportNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ImportNumber {
    type Err = ImportNumberError;

    fn from_str(text: &str) -> Result<Self, ImportNumberError> {
        text.parse().map(Self).map_err(|_| ImportNumberError)
    }
}

oci::travels_as_text!(ImportNumber);

/// A text is not the number of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an import has a number, as in 7: it is what the import said at its end")]
pub struct ImportNumberError;
