//! Copying a registry into a backup, and a backup into a data directory.
//!
//! What both are on disk, and how each file gets there, is the store's to know
//! (`storage::backup`). Here is who does what with whose rights: one side works as whoever runs the
//! command, the other as the owner of the data or of the backup, and opened files go across
//! (`owner_thread`).
//!
//! Modules in reading order: `make` brings a backup up to date, with `source` as the registry and
//! `run` as the way from one to the other; `restore` goes back; below them `destination` says
//! where a copy may lie, and `listener` who hears how far it is.

mod destination;
mod listener;
mod make;
mod owner_thread;
mod restore;
mod run;
mod source;

pub(crate) use destination::lies_inside;
pub(crate) use listener::{Event, Listener};
pub(crate) use make::{BackupOrder, make_backup};
pub(crate) use owner_thread::{OwnerThread, with_owner_thread};
pub(crate) use restore::{RestoreReport, RestoreSummary, restore};
pub(crate) use run::BackupSummary;
pub(crate) use storage::backup::name_in_backup;
