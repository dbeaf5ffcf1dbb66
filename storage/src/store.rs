//! The store: one directory, one owner, and every verb the registry needs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::blob::{self, BlobReader};
use crate::db::list::{self, Counts, Referrer};
use crate::db::manifest::{self, StoredManifest};
use crate::db::user::{self, User};
use crate::db::{Connection, Database, OnFatal, OnTrouble, repository};
use crate::digest::{Algorithm, Digest};
use crate::error::StorageError;
use crate::exclusive::Exclusive;
use crate::layout::Layout;
use crate::lock::{Holder, OnHeld, StoreLock};
use crate::manifest::Manifest;
use crate::name::{Reference, RepoName, Tag, UploadId, UserName};
use crate::sessions::Sessions;
use crate::space::Space;
use crate::upload::UploadWriter;

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
    /// Asked once, when another process owns the store, whether to wait for it.
    pub on_held: &'a dyn Fn(&Holder) -> OnHeld,
    /// Called when the database failed in a way that only a new process can mend.
    pub on_fatal: OnFatal,
    /// Called when moving the database's log into the database failed. What was acknowledged is
    /// safe, and each write tries again; but the log grows until one succeeds.
    pub on_trouble: OnTrouble,
}

/// An open store. This process owns it until the value is dropped.
///
/// All verbs block on the disk; none of them waits for a client.
pub struct Store {
    layout: Layout,
    sessions: Sessions,
    database: Database,
    space: Arc<Space>,
    commits: Exclusive,
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
        let space = Arc::new(Space::new(&layout, options.reserve_bytes));
        // A registry on a full disk must start: how else would anything be deleted?
        let OpenOptions { on_fatal, on_trouble, .. } = *options;
        let open = || Database::open(&layout, &space, is_new, on_fatal, on_trouble);
        let database = space.with_reserve(open)?;
        space.restore_reserve();
        let sessions = Sessions::new(layout.clone(), options.uploads_per_user);
        let (users_version, commits) = (AtomicU64::new(0), Exclusive::default());
        Ok(Self { layout, sessions, database, space, commits, users_version, is_new, _lock: lock })
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

    /// The size of a blob, if the repository holds it and its file is there: who is told that a
    /// blob exists does not push it again, and only that brings a lost file back.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn blob_size(&self, name: &RepoName, digest: &Digest) -> Result<Option<u64>, StorageError> {
        let size =
            self.database.read(|connection| repository::blob_size(connection, name, digest))?;
        match size {
            Some(size) if self.has_file(digest, size)? => Ok(Some(size)),
            _ => Ok(None),
        }
    }

    /// Opens a blob, if the repository holds it.
    ///
    /// # Errors
    /// Trouble with the database or the disk.
    pub fn open_blob(
        &self,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<Option<BlobReader>, StorageError> {
        match self.database.read(|connection| repository::blob_size(connection, name, digest))? {
            Some(size) => BlobReader::open(&self.layout, digest, size),
            None => Ok(None),
        }
    }

    /// Takes a blob out of a repository; false if it was not there. Durable on return.
    ///
    /// # Errors
    /// [`StorageError::BlobInUse`] while a manifest of the repository names it.
    pub fn delete_blob(&self, name: &RepoName, digest: &Digest) -> Result<bool, StorageError> {
        self.space.with_reserve(|| {
            let (name, digest) = (name.clone(), *digest);
            self.database
                .write(move |connection| repository::remove_blob(connection, &name, &digest))
        })
    }

    /// Gives a blob of `from`, or of any repository, to `name`; false if none holds it, or its
    /// file is lost.
    /// Whether the user may pull from there is the caller's to check. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn mount_blob(
        &self,
        from: Option<&RepoName>,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<bool, StorageError> {
        if !self.is_stored(digest)? {
            return Ok(false);
        }
        let (from, name, digest) = (from.cloned(), name.clone(), *digest);
        self.database
            .write(move |connection| repository::mount(connection, from.as_ref(), &name, &digest))
    }

    /// Whether the disk has room for an upload of so many bytes more, above what uploads leave
    /// free. Whoever knows how much is to come asks before it comes.
    ///
    /// # Errors
    /// [`StorageError::NoRoom`] if not.
    pub fn check_room(&self, bytes: u64) -> Result<(), StorageError> {
        self.space.check(bytes)
    }

    /// Begins an upload session whose bytes are hashed with `algorithm` as they come.
    ///
    /// # Errors
    /// Trouble with the disk, [`StorageError::NoRoom`] in particular.
    pub fn create_upload(
        &self,
        name: &RepoName,
        user: &UserName,
        algorithm: Algorithm,
    ) -> Result<UploadId, StorageError> {
        self.check_room(0)?;
        self.sessions.create(name, user, algorithm)
    }

    /// The number of bytes that a session holds.
    ///
    /// # Errors
    /// [`StorageError::UploadUnknown`] if this user has no such session in this repository.
    pub fn upload_offset(
        &self,
        name: &RepoName,
        user: &UserName,
        id: UploadId,
    ) -> Result<u64, StorageError> {
        self.sessions.find(name, user, id)?.offset()
    }

    /// Takes a session over for writing.
    ///
    /// # Errors
    /// [`StorageError::UploadUnknown`] if this user has no such session in this repository.
    pub fn open_upload(
        &self,
        name: &RepoName,
        user: &UserName,
        id: UploadId,
    ) -> Result<UploadWriter, StorageError> {
        let session = self.sessions.find(name, user, id)?;
        let (layout, space) = (self.layout.clone(), Arc::clone(&self.space));
        UploadWriter::open(session, layout, space).inspect_err(|error| {
            if *error == StorageError::UploadUnknown {
                self.sessions.forget(id);
            }
        })
    }

    /// Makes the bytes of a session a blob of its repository. Durable on return.
    ///
    /// Crash argument: the file is complete, synced and in place before the row that makes it
    /// visible is written, and the row is synced before the caller hears of it.
    ///
    /// # Errors
    /// [`StorageError::DigestMismatch`] if the bytes are others. After that, and after trouble
    /// that leaves the bytes as they were, a full disk for one, the session stays open.
    pub fn commit_upload(
        &self,
        upload: &UploadWriter,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        let session = upload.session();
        let outcome = upload.commit(digest, |file, path, size| {
            // What is put back after a failure must not be what somebody else's row stands for.
            let _alone = self.commits.take(digest);
            let is_placed = !self.is_stored(digest)?;
            if is_placed {
                blob::publish(&self.layout, file, path, digest)?;
            }
            let (name, digest) = (session.repository.clone(), *digest);
            let entered = self
                .database
                .write(move |connection| repository::add_blob(connection, &name, &digest, size));
            entered.map_err(|error| match is_placed {
                true => blob::put_back(&self.layout, path, &digest, error),
                false => error.into(),
            })
        });
        if session.is_over() {
            self.sessions.forget(session.id);
        }
        outcome
    }

    /// Ends a session and throws its bytes away; false if it was over already.
    ///
    /// # Errors
    /// [`StorageError::UploadUnknown`] if this user has no such session in this repository.
    pub fn cancel_upload(
        &self,
        name: &RepoName,
        user: &UserName,
        id: UploadId,
    ) -> Result<bool, StorageError> {
        let session = self.sessions.find(name, user, id)?;
        Ok(self.sessions.cancel(&session))
    }

    /// Ends every session that nobody used for `idle`; returns how many ended. What was given up
    /// of the reserve is restored if there is room for it now.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn expire_uploads(&self, idle: Duration) -> Result<usize, StorageError> {
        let ended = self.sessions.sweep(idle);
        self.space.restore_reserve();
        ended
    }

    /// How many upload sessions are open, as far as this process has met them.
    pub fn open_uploads(&self) -> usize {
        self.sessions.count()
    }

    /// Reads a manifest, if the repository holds it.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn manifest(
        &self,
        name: &RepoName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>, StorageError> {
        self.database.read(|connection| manifest::get(connection, name, reference))
    }

    /// Stores a manifest and moves the tags to it, all or nothing. Durable on return.
    ///
    /// # Errors
    /// [`StorageError::MissingBlobs`] if the repository lacks blobs that the manifest needs.
    pub fn put_manifest(
        &self,
        name: &RepoName,
        manifest: Manifest,
        tags: Vec<Tag>,
    ) -> Result<(), StorageError> {
        // A row whose file is lost is no blob; only a new push brings it back.
        let mut lost = Vec::new();
        for edge in manifest.edges().iter().filter(|edge| edge.kind.is_required_blob()) {
            if blob::file_size(&self.layout, &edge.child)?.is_none() {
                lost.push(edge.child);
            }
        }
        let name = name.clone();
        self.database
            .write(move |connection| manifest::put(connection, &name, &manifest, &lost, &tags))
    }

    /// Removes a manifest and its tags from a repository; false if it was not there. Durable on
    /// return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn delete_manifest(&self, name: &RepoName, digest: &Digest) -> Result<bool, StorageError> {
        self.space.with_reserve(|| {
            let (name, digest) = (name.clone(), *digest);
            self.database.write(move |connection| manifest::remove(connection, &name, &digest))
        })
    }

    /// Removes a tag and nothing else; false if it was not there. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn delete_tag(&self, name: &RepoName, tag: &Tag) -> Result<bool, StorageError> {
        self.space.with_reserve(|| {
            let (name, tag) = (name.clone(), tag.clone());
            self.database.write(move |connection| manifest::remove_tag(connection, &name, &tag))
        })
    }

    /// At most `limit` repositories that hold a manifest, in ASCII order, after `after`.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn repositories(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RepoName>, StorageError> {
        self.database.read(|connection| list::repositories(connection, after, limit))
    }

    /// Whether anything was ever pushed to a repository of this name.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn repository_exists(&self, name: &RepoName) -> Result<bool, StorageError> {
        self.database.read(|connection| repository::exists(connection, name))
    }

    /// At most `limit` tags of a repository with what they name, in ASCII order, after `after`;
    /// `None` if there is no such repository.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn tags(
        &self,
        name: &RepoName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<Vec<(Tag, Digest)>>, StorageError> {
        self.database.read(|connection| list::tags(connection, name, after, limit))
    }

    /// A page of the manifests that refer to `subject`, in the order of their digests, after
    /// `after`, all or those of one artifact type; and whether there are more.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn referrers(
        &self,
        name: &RepoName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
    ) -> Result<(Vec<Referrer>, bool), StorageError> {
        self.database
            .read(|connection| list::referrers(connection, name, subject, artifact_type, after))
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

    /// Adds a user. Durable on return.
    ///
    /// # Errors
    /// [`StorageError::UserExists`].
    pub fn add_user(&self, user: User) -> Result<(), StorageError> {
        self.change_user(move |connection| user::add(connection, &user))
    }

    /// Changes a user's password hash; false if there is no such user. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn set_password(&self, name: &UserName, hash: String) -> Result<bool, StorageError> {
        let name = name.clone();
        self.change_user(move |connection| user::set_password(connection, &name, &hash))
    }

    /// Removes a user; false if there is no such user. Durable on return.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn remove_user(&self, name: &UserName) -> Result<bool, StorageError> {
        self.space.with_reserve(|| {
            let name = name.clone();
            self.change_user(move |connection| user::remove(connection, &name))
        })
    }

    /// Finds a user.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn user(&self, name: &UserName) -> Result<Option<User>, StorageError> {
        self.database.read(|connection| user::find(connection, name))
    }

    /// All users in the order of their names.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn users(&self) -> Result<Vec<User>, StorageError> {
        self.database.read(user::all)
    }

    /// A number that grows with each change of a user. Read it before the user, and what was
    /// concluded from that user holds for as long as the number stays.
    pub fn users_version(&self) -> u64 {
        self.users_version.load(Ordering::SeqCst)
    }

    fn change_user<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let outcome = self.database.write(work);
        self.users_version.fetch_add(1, Ordering::SeqCst);
        outcome
    }

    /// Whether the blob has a row, and the file that the row promises.
    fn is_stored(&self, digest: &Digest) -> Result<bool, StorageError> {
        let size = self.database.read(|connection| repository::stored_size(connection, digest))?;
        size.map_or(Ok(false), |size| self.has_file(digest, size))
    }

    /// Whether the file of a blob is there and has this size. A disk that cannot tell is trouble,
    /// and no reason to take the blob for lost.
    fn has_file(&self, digest: &Digest, size: u64) -> Result<bool, StorageError> {
        Ok(blob::file_size(&self.layout, digest)? == Some(size))
    }
}
