//! Why the names in the database of a Quay are not read.

use std::path::PathBuf;

use durable::ReadError;
use thiserror::Error;

/// Why nothing of a Quay's database counts.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QuayError {
    /// It is no regular file, or cannot be opened.
    #[error(transparent)]
    File(#[from] ReadError),
    /// It is not there.
    #[error("{} is not there", .0.display())]
    NotThere(PathBuf),
    /// Changes lie beside it that are not in it.
    #[error(
        "{} has changes that are not in the database yet: stop that Quay, which writes them into \
         it; if it died, start it and stop it once more, or let `sqlite3 quay.db 'PRAGMA \
         wal_checkpoint(TRUNCATE)'` do so as its owner", .0.display()
    )]
    InUse(PathBuf),
    /// A table of a Quay is not there, or something else is called so.
    #[error("its database has no table {0:?}: it is no Quay's, or one of another version")]
    NoTable(&'static str),
    /// A column of a Quay is not there, or is computed.
    #[error(
        "its database has no column {column:?} in the table {table:?}: it is of a version of Quay \
         that is not known"
    )]
    NoColumn {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// More than any Quay beside a mirror has.
    #[error("its database has more than {limit} {what}: mirror from that Quay with skopeo instead")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// It has no end that is found.
    #[error(
        "its database is not read after {limit_steps} steps: it leads in circles, or is no Quay's; \
         mirror from that Quay with skopeo instead"
    )]
    Endless {
        /// The most steps of SQLite's machine.
        limit_steps: u64,
    },
    /// It takes too long.
    #[error(
        "its database is not read after {limit_seconds} seconds: it leads in circles, or lies on a \
         disk that is too slow; copy its directory to a faster one, or mirror from that Quay with \
         skopeo instead"
    )]
    Slow {
        /// The most time.
        limit_seconds: u64,
    },
    /// Somebody wrote to it.
    #[error("{} was changed while it was read: stop that Quay, and try again", .0.display())]
    Changed(PathBuf),
    /// SQLite cannot read it.
    #[error("its database cannot be read ({0}): stop that Quay and copy its directory again")]
    Unreadable(String),
}

/// Why a tag of a Quay has no name here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QuayFault {
    /// Its repository or itself is called as none can be.
    #[error("no image can be called so: give it another name in that Quay")]
    Name,
    /// The row of its repository or its namespace is not there.
    #[error("its database does not say in which repository it is")]
    Repository,
    /// Its namespace is disabled, and serves nothing.
    #[error("its namespace is disabled there: enable it in that Quay")]
    Disabled,
    /// The row of its manifest is not there, or has no digest.
    #[error("its database does not say which manifest it names: push it to that Quay again")]
    Manifest,
    /// It names two manifests at once.
    #[error("its database lets it name two manifests at once: push it to that Quay again")]
    Twice,
}
