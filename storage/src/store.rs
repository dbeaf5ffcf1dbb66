//! The store: one directory, one owner, and every verb the registry needs. The verbs stand in
//! `store/`, by what they are about.

use std::path::Path;
use std::sync::atomic::AtomicU64;

use crate::claims::Claims;
use crate::db::list::{self, Counts};
use crate::db::{Database, OnFatal};
use crate::error::{IoContext, StorageError};
use crate::layout::Layout;
use crate::lock::{Holder, OnHeld, StoreLock};
use crate::recent::Recent;
use crate::sessions::Sessions;

mod blob;
mod manifest;
mod upkeep;
mod upload;
mod user;
mod verify;

/// How a store is opened.
pub struct OpenOptions<'a> {
    /// Whether a directory that holds no store becomes one. If not, it is refused and not one
    /// file appears in it.
    pub may_create: bool,
    /// Upload sessions of one user that may be open at once.
    pub uploads_per_user: usize,
    /// Asked once, when another process owns the store, whether to wait for it.
    pub on_held: &'a dyn Fn(&Holder) -> OnHeld,
    /// Called when the database failed in a way that only a new process can mend.
    pub on_fatal: OnFatal,
}

/// An open store. This process owns it until the value is dropped.
///
/// All verbs block on the disk; none of them waits for a client.
pub struct Store {
    pub(crate) layout: Layout,
    pub(crate) sessions: Sessions,
    pub(crate) database: Database,
    pub(crate) claims: Claims,
    pub(crate) recent: Recent,
    /// Grows with each change of a user, so that whoever remembers a password can tell.
    users_version: AtomicU64,
    is_new: bool,
    // Last, because fields are dropped in order: the lock goes when nothing is open any more.
    _lock: StoreLock,
}

impl Store {
    /// Opens the store at `root`, waiting while another process owns it.
    ///
    /// A store that is made here is complete only after [`Store::finish_creation`]; a crash
    /// before that is mended by the next open.
    ///
    /// # Errors
    /// [`StorageError::NoStore`], [`StorageError::ForeignDirectory`] and
    /// [`StorageError::NewerFormat`] before anything was written; else trouble with the disk.
    pub fn open(root: &Path, options: &OpenOptions<'_>) -> Result<Self, StorageError> {
        let layout = Layout::new(root);
        if !layout.exists()? {
            if !options.may_create {
                return Err(StorageError::NoStore(root.to_owned()));
            }
            layout.prepare()?;
        }
        let lock = StoreLock::acquire(&layout.lock(), options.on_held)?;
        // Whoever held the lock until now may have made the store.
        let is_new = !layout.exists()?;
        // Every time, since a copy of a store may lack the directories that are empty.
        layout.make_directories()?;
        let database = Database::open(&layout, is_new, options.on_fatal)?;
        let sessions = Sessions::new(layout.clone(), options.uploads_per_user);
        Ok(Self {
            layout,
            sessions,
            database,
            claims: Claims::default(),
            recent: Recent::new(),
            users_version: AtomicU64::new(0),
            is_new,
            _lock: lock,
        })
    }

    /// Whether this open made the store.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Marks a new store as complete, after everything that belongs to a first start.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn finish_creation(&self) -> Result<(), StorageError> {
        if self.is_new { self.layout.finish() } else { Ok(()) }
    }

    /// The paths of this store.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn ping(&self) -> Result<(), StorageError> {
        self.database.read(|connection| Ok(connection.query_row("SELECT 1", [], |_| Ok(()))?))
    }

    /// Counts what the store holds.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn counts(&self) -> Result<Counts, StorageError> {
        self.database.read(list::counts)
    }
}

/// Space on the file system of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// All bytes of the file system.
    pub total_bytes: u64,
    /// Bytes that this process could still write.
    pub free_bytes: u64,
}

impl DiskSpace {
    /// Asks the file system that holds `root`.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn of(root: &Path) -> Result<Self, StorageError> {
        let space = rustix::fs::statvfs(root).at("read the free space of", root)?;
        Ok(Self {
            total_bytes: space.f_blocks * space.f_frsize,
            free_bytes: space.f_bavail * space.f_frsize,
        })
    }
}
