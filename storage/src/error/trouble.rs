//! Trouble of the disk and of what lies on it: nobody asked for anything wrong.

use std::path::PathBuf;

use durable::IoError;
use thiserror::Error;

use crate::db::schema_fault::SchemaFault;

/// What the disk, the database or a file of the store does wrong.
#[expect(missing_docs, reason = "fields whose names say what they are")]
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Trouble {
    /// The operating system refused an operation.
    #[error(transparent)]
    Io(IoError),
    /// A file that the store wrote cannot be read back.
    #[error("{} is damaged ({what}): restore it from a backup", .path.display())]
    Damaged {
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The directory holds a store of a later version.
    #[error(
        "{} has format {found}, this program knows {known}: use a later program", .path.display()
    )]
    NewerFormat {
        path: PathBuf,
        /// The version that stands in FORMAT.
        found: u32,
        /// The latest version this program knows.
        known: u32,
    },
    /// The database refused an operation.
    #[error("the database failed: {0}")]
    Database(String),
    /// The database could not be written.
    #[error("the database cannot be written: {0}")]
    NotWritten(String),
    /// The database's own structure is broken, or SQLite takes a disk that cannot be read for that.
    #[error(
        "the database is damaged, or its disk cannot be read ({0}): look into the kernel's log, \
         and restore it from a backup if it stays so"
    )]
    DatabaseDamaged(String),
    /// The database holds tables, or what can run, that the registry did not make.
    #[error(
        "{} holds {fault}, which the registry did not make: nothing in it is read or run; find out \
         who wrote to it, and restore it from a backup", .path.display()
    )]
    ForeignSchema {
        path: PathBuf,
        /// What was found first.
        fault: SchemaFault,
    },
    /// The database could not be synced: what the disk holds of it is not known.
    #[error("the database cannot be synced: {0}")]
    NotSynced(String),
}
