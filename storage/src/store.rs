//! The store: one directory, one owner, and every verb the registry needs. The verbs stand in
//! `store/`, by what they are about.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::content::Content;
use crate::db::list::Counts;
use crate::db::{Database, OnFatal, OnTrouble, Reading};
use crate::error::{OpenError, StorageError};
use crate::in_memory::claims::Claims;
use crate::in_memory::deletion_holds::DeletionHolds;
use crate::in_memory::hot_manifests::HotManifests;
use crate::in_memory::lock::{LockHolder, OnHeld, StoreLock};
use crate::in_memory::promises::Promises;
use crate::in_memory::sessions::Sessions;
use crate::in_memory::told_digests::ToldDigests;
use crate::in_memory::users_version::UsersVersion;
use crate::layout::Layout;
use crate::medium::{self, Medium, is_read_only};
use crate::space::Space;

mod backup;
mod blob;
mod bundle_note;
mod export;
mod finished;
mod image;
mod import;
mod manifest;
mod matching;
mod publish;
mod push;
mod repository;
mod snapshot;
mod tag;
#[cfg(test)]
mod tests;
mod upload;
mod user;
mod verify;

pub use image::{ImagePart, PartState};
pub use import::{ImportedImage, RepositoryBlobs};
pub use manifest::ManifestContent;
pub use push::Pushed;
pub use snapshot::Snapshot;

use publish::Groups;

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
    /// Bytes of manifests that were read lately and are answered again from memory, at most.
    pub hot_manifest_bytes: usize,
    /// Asked once, when another process owns the store, whether to wait for it.
    pub on_held: &'a dyn Fn(&LockHolder) -> OnHeld,
    /// Whether it may lie behind a network or another program.
    pub allow_network_fs: bool,
    /// Called when the database failed in a way that only a new process can mend.
    pub on_fatal: OnFatal,
    /// Called when moving the database's log into the database failed. What was acknowledged is
    /// safe, and each write tries again; but the log grows until one succeeds. Called also when
    /// something turned out to be lost as it was asked for, with what whoever asked is told.
    pub on_trouble: OnTrouble,
}

impl OpenOptions<'_> {
    fn reading(&self) -> Reading {
        Reading { connections: self.idle_connections, most_wait: self.read_pause_time }
    }
}

/// How a store was found.
struct Start {
    is_new: bool,
    promises: Option<Promises>,
    lock: StoreLock,
}

/// An open store. This process owns it until the value is dropped.
///
/// All verbs block on the disk; none of them waits for a client.
pub struct Store {
    pub(crate) layout: Layout,
    pub(crate) content: Content,
    pub(crate) sessions: Sessions,
    pub(crate) database: Database,
    pub(crate) claims: Claims,
    pub(crate) groups: Groups,
    pub(crate) told: ToldDigests,
    pub(crate) space: Arc<Space>,
    users_version: UsersVersion,
    hot_manifests: HotManifests,
    on_trouble: OnTrouble,
    /// Tags that pushes named since the store was opened.
    tags_pushed: AtomicU64,
    is_new: bool,
    is_closed: AtomicBool,
    deletion_holds: DeletionHolds,
    has_snapshot: Arc<AtomicBool>,
    // Last, because fields are dropped in order: the lock goes when nothing is open any more.
    _lock: StoreLock,
}

impl Store {
    /// Opens the store at `root`, waiting while another process owns it.
    ///
    /// A store that is made here is complete only after [`Store::finish_creation`]; a crash
    /// before that is mended by the next open. One whose disk is read-only is opened to be read:
    /// nothing is written to it, and whatever would is refused with [`StorageError::ReadOnly`].
    ///
    /// # Errors
    /// [`OpenError::NoStore`], [`OpenError::HalfRestored`],
    /// [`OpenError::ForeignDirectory`], [`OpenError::ForeignDisk`] and
    /// [`crate::Trouble::NewerFormat`] before anything was written; [`OpenError::SplitDisk`]; else
    /// trouble with the disk.
    pub fn open(root: &Path, options: &OpenOptions<'_>) -> Result<Self, OpenError> {
        let layout = Layout::new(root);
        // Also where it is only read: what lies on another host may change meanwhile.
        Medium::check(root, options.allow_network_fs)?;
        if layout.exists()? && is_read_only(root) {
            return Self::open_to_read(layout, options);
        }
        Self::open_to_write(layout, options).map_err(OpenError::of_own_disk)
    }

    fn open_to_read(layout: Layout, options: &OpenOptions<'_>) -> Result<Self, OpenError> {
        let lock = StoreLock::acquire_read_only(&layout.lock(), options.on_held)?;
        let space = Arc::new(Space::new(&layout, options.reserve_bytes));
        let database = Database::open_read_only(&layout, &space, options.reading())?;
        // What the last process left stays for the next one that can take it.
        let start = Start { is_new: false, promises: None, lock };
        Ok(Self::of(layout, options, space, database, start))
    }

    fn open_to_write(layout: Layout, options: &OpenOptions<'_>) -> Result<Self, OpenError> {
        match layout.require() {
            Err(OpenError::NoStore(_)) if options.may_create => layout.prepare()?,
            outcome => outcome?,
        }
        let lock = StoreLock::acquire(&layout.lock(), options.on_held)?;
        // Whoever held the lock until now may have made the store.
        let is_new = !layout.exists()?;
        // What a backup left that was cut short.
        snapshot::remove_copy(&layout.snapshot())?;
        // Every time, since a copy of a store may lack the directories that are empty.
        layout.make_directories()?;
        medium::check_one(&layout)?;
        // What imports left that are dead. Whatever keeps it there is no reason not to open.
        let _ = Content::new(&layout).remove_dead_imports();
        let space = Arc::new(Space::new(&layout, options.reserve_bytes));
        // A registry on a full disk must start: how else would anything be deleted?
        let OpenOptions { on_fatal, on_trouble, .. } = *options;
        let reading = options.reading();
        let open = || Database::open(&layout, &space, is_new, reading, on_fatal, on_trouble);
        let database = space.with_reserve(open)?;
        space.restore_reserve();
        // The last step that can fail: what is taken is left again when the store is closed.
        let promises = Promises::take(&layout, &database)?;
        Ok(Self::of(layout, options, space, database, Start { is_new, promises, lock }))
    }

    fn of(
        layout: Layout,
        options: &OpenOptions<'_>,
        space: Arc<Space>,
        database: Database,
        start: Start,
    ) -> Self {
        let clock = database.clock();
        let content = Content::new(&layout);
        let sessions = Sessions::new(content.clone(), options.uploads_per_user, Arc::clone(clock));
        let told = ToldDigests::new(Arc::clone(clock), start.promises);
        let versions = Arc::clone(database.versions());
        Self {
            layout,
            content,
            sessions,
            database,
            claims: Claims::default(),
            groups: Groups::default(),
            told,
            space,
            users_version: UsersVersion::default(),
            hot_manifests: HotManifests::new(versions, options.hot_manifest_bytes),
            on_trouble: options.on_trouble,
            tags_pushed: AtomicU64::new(0),
            is_new: start.is_new,
            is_closed: AtomicBool::new(false),
            deletion_holds: DeletionHolds::default(),
            has_snapshot: Arc::default(),
            _lock: start.lock,
        }
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

    /// Whether the store can be read and, as far as that is known without waiting for the disk,
    /// written.
    ///
    /// # Errors
    /// [`StorageError::ReadOnly`], else trouble with the database.
    pub fn ping(&self) -> Result<(), StorageError> {
        self.database.read(|reader| reader.ping())?;
        if self.is_read_only() { Err(StorageError::ReadOnly) } else { Ok(()) }
    }

    /// Whether the store's disk is read-only: it was when the store was opened, or a write found it
    /// so since. It stays so until the store is opened anew.
    pub fn is_read_only(&self) -> bool {
        self.space.is_read_only()
    }

    /// Keeps where the store's own clock stands: what passes until the next call is lost if the
    /// process is killed. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn keep_time(&self) -> Result<(), StorageError> {
        self.database.keep_time()
    }

    /// Ends the store in order, when no client is to be answered any more: leaves what clients were
    /// told to whoever opens it next, and with it the right to collect at once. What cannot be
    /// written is left out, and the next process waits as it does after a crash; nothing is on a
    /// disk that was found to be read-only. The end of the value does the same.
    pub fn close(&self) {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let promises = self.told.close();
        if self.space.check_writable().is_ok() {
            promises.leave(&self.layout, &self.database);
        }
    }

    /// Counts what the store holds.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn counts(&self) -> Result<Counts, StorageError> {
        self.database.read(|reader| reader.counts())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}
