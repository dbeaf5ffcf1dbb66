//! The store: one directory, one owner, and every verb the registry needs. The verbs stand in
//! `store/`, by what they are about.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use crate::claims::Claims;
use crate::db::list::{self, Counts};
use crate::db::{Database, OnFatal, OnTrouble, Reading};
use crate::error::StorageError;
use crate::hold::Holds;
use crate::layout::Layout;
use crate::lock::{Holder, OnHeld, StoreLock};
use crate::recent::Recent;
use crate::sessions::Sessions;
use crate::space::Space;

mod backup;
mod blob;
mod finished;
mod image;
mod manifest;
mod matching;
mod publish;
mod snapshot;
mod tag;
#[cfg(test)]
mod tests;
mod upload;
mod user;
mod verify;

pub use image::{ImagePart, PartState};
pub use snapshot::Snapshot;

/// How a store is opened.
pub struct OpenOptions<'a> {
    /// Whether a directory that holds no store becomes one. If not, it is refused and not one
    /// file appears in it.
    pub may_create: bool,
    /// Upload sessions of one user that may be open at once.
    pub uploads_per_user: usize,
    /// Bytes of the file system that uploads leave free for everything else, but never more than
    /// a twentieth of it.
    pub reserve_bytes: u64,
    /// Connections to the database that are kept while nobody reads: as many as read at once, so
    /// that none is opened under load. Each takes two descriptors.
    pub idle_connections: usize,
    /// How long a read waits at most while the database's log is truncated, which happens when
    /// readers that overlap have let it grow.
    pub read_pause_time: Duration,
    /// Asked once, when another process owns the store, whether to wait for it.
    pub on_held: &'a dyn Fn(&Holder) -> OnHeld,
    /// Called when the database failed in a way that only a new process can mend.
    pub on_fatal: OnFatal,
    /// Called when moving the database's log into the database failed. What was acknowledged is
    /// safe, and each write tries again; but the log grows until one succeeds. Called also when
    /// something turned out to be lost as it was asked for, with what whoever asked is told.
    pub on_trouble: OnTrouble,
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
    pub(crate) space: Arc<Space>,
    /// Grows with each change of a user, so that whoever remembers a password can tell.
    users_version: AtomicU64,
    on_trouble: OnTrouble,
    /// Tags that pushes named since the store was opened.
    tags_pushed: AtomicU64,
    is_new: bool,
    holds: Holds,
    has_snapshot: Arc<AtomicBool>,
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
    /// [`StorageError::NoStore`], [`StorageError::HalfRestored`],
    /// [`StorageError::ForeignDirectory`] and [`StorageError::NewerFormat`] before anything was
    /// written; else trouble with the disk.
    pub fn open(root: &Path, options: &OpenOptions<'_>) -> Result<Self, StorageError> {
        let layout = Layout::new(root);
        match layout.require() {
            Err(StorageError::NoStore(_)) if options.may_create => layout.prepare()?,
            outcome => outcome?,
        }
        let lock = StoreLock::acquire(&layout.lock(), options.on_held)?;
        // Whoever held the lock until now may have made the store.
        let is_new = !layout.exists()?;
        // What a backup left that was cut short.
        snapshot::remove_copy(&layout.snapshot())?;
        // Every time, since a copy of a store may lack the directories that are empty.
        layout.make_directories()?;
        let space = Arc::new(Space::new(&layout, options.reserve_bytes));
        // A registry on a full disk must start: how else would anything be deleted?
        let OpenOptions { on_fatal, on_trouble, .. } = *options;
        let reading =
            Reading { connections: options.idle_connections, most_wait: options.read_pause_time };
        let open = || Database::open(&layout, &space, is_new, reading, on_fatal, on_trouble);
        let database = space.with_reserve(open)?;
        space.restore_reserve();
        let sessions = Sessions::new(layout.clone(), options.uploads_per_user);
        Ok(Self {
            layout,
            sessions,
            database,
            claims: Claims::default(),
            recent: Recent::new(),
            space,
            users_version: AtomicU64::new(0),
            on_trouble,
            tags_pushed: AtomicU64::new(0),
            is_new,
            holds: Holds::default(),
            has_snapshot: Arc::default(),
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

    /// Keeps where the store's own clock stands: what passes until the next call is lost if the
    /// process is killed. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn keep_time(&self) -> Result<(), StorageError> {
        self.database.keep_time()
    }

    /// Counts what the store holds.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn counts(&self) -> Result<Counts, StorageError> {
        self.database.read(list::counts)
    }
}
