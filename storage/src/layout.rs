//! The tree on disk: every path, the format's version, and what a first start makes.
//!
//! ```text
//! DATA/FORMAT                     version of this layout, written last when a store is made
//! DATA/registry.db                SQLite in WAL mode: names, manifests, tags, links, users
//! DATA/blobs/sha256/ab/<hex>      one file a blob, in the directory of its first two digits;
//! DATA/blobs/sha512/ab/<hex>      all 2 x 256 directories are made and synced with the store
//! DATA/damaged/<algorithm>-<hex>  files that were put aside because their bytes are wrong
//! DATA/uploads/<id> <id>.meta     bytes of open uploads, and whose they are
//! DATA/uploads/import-<id>/       what an import under way has read and not published
//! DATA/tls/                       certificates and their keys (crate `certs`)
//! DATA/reserve                    room on the disk for deletes and collection when it is full
//! DATA/promises                   what clients were told, while no process owns the store
//! DATA/lock                       locked by the one process that owns the store
//! DATA/registry.sock              where that process takes commands
//! DATA/init-password              the first user's password, if it was made up here
//! DATA/backup.db                  a copy of the database, while a backup takes it
//! DATA/restore-unfinished         there until a restore has ended, and FORMAT is not
//! ```
//!
//! The directory of a backup has the same layout, and `backup.json` says whose backup it is; it and
//! one that is being restored have `part`, a blob that is being copied.

use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, Read};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use durable::{
    Access, At, IoError, Links, make_directory, make_with_parents, open_regular, remove_durably,
    sync_directory, sync_parent, write_whole,
};
use oci::{Algorithm, Digest};

use crate::content::upload::id::UploadId;
use crate::error::{OpenError, StorageError, Trouble};

/// The version of the layout that this program writes.
pub(crate) const FORMAT: u32 = 1;

/// The paths of one store.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The paths below `root`. Touches nothing.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The store's directory, DATA.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The socket where the owner of the store takes commands.
    pub fn socket(&self) -> PathBuf {
        self.root.join("registry.sock")
    }

    /// The directory of certificates and keys.
    pub fn tls(&self) -> PathBuf {
        self.root.join("tls")
    }

    /// The file that holds the first user's password, if the program made it up.
    pub fn init_password(&self) -> PathBuf {
        self.root.join("init-password")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("registry.db")
    }

    /// The log of the database, which may hold rows that the database lacks.
    pub fn database_log(&self) -> PathBuf {
        self.root.join("registry.db-wal")
    }

    /// The files that SQLite keeps beside the database; they belong to that database alone.
    pub(crate) fn database_logs(&self) -> [PathBuf; 3] {
        ["registry.db-wal", "registry.db-shm", "registry.db-journal"]
            .map(|name| self.root.join(name))
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    pub(crate) fn promises(&self) -> PathBuf {
        self.root.join("promises")
    }

    pub(crate) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    pub(crate) fn upload(&self, id: UploadId) -> PathBuf {
        self.uploads().join(id.to_string())
    }

    pub(crate) fn upload_meta(&self, id: UploadId) -> PathBuf {
        self.uploads().join(format!("{id}.meta"))
    }

    /// The directory of an import that is under way.
    pub(crate) fn staging(&self, id: UploadId) -> PathBuf {
        self.uploads().join(format!("{STAGING}{id}"))
    }

    /// The import whose directory is called so, if it is one's.
    pub(crate) fn staging_named(name: &str) -> Option<UploadId> {
        name.strip_prefix(STAGING)?.parse().ok()
    }

    /// Where an import puts something until it is published.
    pub(crate) fn staged(&self, id: UploadId, digest: &Digest) -> PathBuf {
        self.staging(id).join(format!("{}-{}", digest.algorithm(), digest.hex()))
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.shard_named(digest.algorithm(), &hex[..2]).join(hex)
    }

    /// The directory of files that are put aside because their bytes are wrong.
    pub(crate) fn damaged(&self) -> PathBuf {
        self.root.join("damaged")
    }

    /// Where the file of a damaged blob is put.
    pub(crate) fn damaged_blob(&self, digest: &Digest) -> PathBuf {
        self.damaged().join(format!("{}-{}", digest.algorithm(), digest.hex()))
    }

    /// Where a backup finds its copy of the database.
    pub fn snapshot(&self) -> PathBuf {
        self.root.join("backup.db")
    }

    /// The file of a blob, for whoever copies it.
    pub fn blob_file(&self, digest: &Digest) -> PathBuf {
        self.blob(digest)
    }

    /// Every directory below `blobs/`: the algorithm, and the first byte of the digests in it.
    pub fn shards() -> impl Iterator<Item = (Algorithm, u8)> {
        Algorithm::ALL
            .into_iter()
            .flat_map(|algorithm| (0..=u8::MAX).map(move |prefix| (algorithm, prefix)))
    }

    pub(crate) fn backup_mark(&self) -> PathBuf {
        self.root.join("backup.json")
    }

    pub(crate) fn restore_mark(&self) -> PathBuf {
        self.root.join("restore-unfinished")
    }

    pub(crate) fn part(&self) -> PathBuf {
        self.root.join("part")
    }

    fn format_file(&self) -> PathBuf {
        self.root.join("FORMAT")
    }

    /// The directory of the blobs whose digests begin with this byte.
    pub(crate) fn shard(&self, algorithm: Algorithm, prefix: u8) -> PathBuf {
        self.shard_named(algorithm, &format!("{prefix:02x}"))
    }

    fn shard_named(&self, algorithm: Algorithm, prefix: &str) -> PathBuf {
        self.root.join("blobs").join(algorithm.name()).join(prefix)
    }

    /// Whether a store stands here.
    ///
    /// # Errors
    /// Fails when FORMAT cannot be read, is no number, or names a later version.
    pub fn exists(&self) -> Result<bool, StorageError> {
        Ok(self.format()?.is_some())
    }

    /// Checks that a store stands here, and says why if none does. Writes nothing.
    ///
    /// # Errors
    /// [`OpenError::HalfRestored`] or [`OpenError::NoStore`], and those of
    /// [`Layout::exists`].
    pub fn require(&self) -> Result<(), OpenError> {
        match self.exists()? {
            true => Ok(()),
            false if self.is_restoring() => Err(OpenError::HalfRestored(self.root.clone())),
            false => Err(OpenError::NoStore(self.root.clone())),
        }
    }

    /// Whether a restore into the directory was begun and has not ended.
    pub(crate) fn is_restoring(&self) -> bool {
        self.restore_mark().exists()
    }

    /// Whether the directory is a backup, which only `registry backup` changes.
    pub fn is_backup(&self) -> bool {
        self.backup_mark().exists()
    }

    /// The version of the store that stands here.
    pub(crate) fn format(&self) -> Result<Option<u32>, StorageError> {
        let path = self.format_file();
        // Root reads it too, where others could have laid a link, a pipe or no end of bytes.
        let file = match open_regular(&path, Links::Refuse) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut text = String::new();
        let is_text = match file.take(FORMAT_BYTES).read_to_string(&mut text) {
            Err(error) if error.kind() == ErrorKind::InvalidData => false,
            read => read.map(|_| true).at("read", &path)?,
        };
        let damaged = || {
            StorageError::Failed(Trouble::Damaged {
                path: path.clone(),
                what: "it should hold one number, 1 or greater".to_owned(),
            })
        };
        let found =
            text.trim().parse::<NonZero<u32>>().ok().filter(|_| is_text).ok_or_else(damaged)?.get();
        if found > FORMAT {
            let path = self.root.clone();
            return Err(StorageError::Failed(Trouble::NewerFormat { path, found, known: FORMAT }));
        }
        Ok(Some(found))
    }

    /// Makes the directory of a new store, or refuses one that holds something else.
    ///
    /// The directory itself may exist and be empty, or hold what an interrupted first start left.
    pub(crate) fn prepare(&self) -> Result<(), OpenError> {
        if !self.root.is_dir() {
            if let Some(parent) = self.root.parent().filter(|parent| !parent.as_os_str().is_empty())
            {
                make_with_parents(parent)?;
            }
            make_directory(&self.root, Access::mode(DATA_MODE))?;
        }
        self.has_remains().map(|_| ())
    }

    /// Whether a first start that was interrupted left anything in a directory without FORMAT;
    /// an error if anything else is there.
    pub(crate) fn has_remains(&self) -> Result<bool, OpenError> {
        // Before what else lies there is looked at, since a restore leaves more than a first start.
        if self.is_restoring() {
            return Err(OpenError::HalfRestored(self.root.clone()));
        }
        let mut has_remains = false;
        for entry in fs::read_dir(&self.root).at("list", &self.root)? {
            let name = entry.at("list", &self.root)?.file_name().to_string_lossy().into_owned();
            if !OWN_ENTRIES.contains(&name.as_str()) {
                return Err(OpenError::ForeignDirectory { path: self.root.clone(), entry: name });
            }
            has_remains |= name != LOST_AND_FOUND;
        }
        Ok(has_remains)
    }

    /// Every directory of a store, but its own.
    pub(crate) fn directories(&self) -> impl Iterator<Item = PathBuf> + use<'_> {
        let blobs = self.root.join("blobs");
        let algorithms = Algorithm::ALL.map(|algorithm| blobs.join(algorithm.name()));
        let shards = Self::shards().map(|(algorithm, prefix)| self.shard(algorithm, prefix));
        [self.uploads(), self.damaged(), blobs].into_iter().chain(algorithms).chain(shards)
    }

    /// Makes every directory of a store and syncs them, so that a commit has only its own
    /// directory to sync.
    pub(crate) fn make_directories(&self) -> Result<(), StorageError> {
        make_directory(&self.uploads(), PRIVATE)?;
        make_directory(&self.damaged(), PRIVATE)?;
        let blobs = self.root.join("blobs");
        make_directory(&blobs, PRIVATE)?;
        for algorithm in Algorithm::ALL {
            let directory = blobs.join(algorithm.name());
            make_directory(&directory, PRIVATE)?;
            // One list instead of hundreds of looks: each start comes by here.
            let there = directories_in(&directory)?;
            let is_missing = |prefix: &u8| !there.contains(format!("{prefix:02x}").as_str());
            for prefix in (0..=u8::MAX).filter(is_missing) {
                make_directory(&self.shard(algorithm, prefix), PRIVATE)?;
            }
            sync_directory(&directory)?;
        }
        sync_directory(&blobs)?;
        Ok(sync_directory(&self.root)?)
    }

    /// Removes FORMAT: there is no store here until [`Layout::finish`].
    pub(crate) fn unfinish(&self) -> Result<(), StorageError> {
        Ok(remove_durably(&self.format_file())?)
    }

    /// Writes FORMAT, the last step of making a store: only now does it exist.
    ///
    /// Crash argument: without FORMAT the next start repeats every step, and each of them leaves
    /// alone what is there; FORMAT is renamed into place after everything before it was synced.
    pub(crate) fn finish(&self) -> Result<(), StorageError> {
        let format = format!("{FORMAT}\n");
        write_whole(&self.format_file(), &mut format.as_bytes(), Access::PRIVATE)?;
        Ok(sync_parent(&self.root)?)
    }
}

/// The names of the directories in a directory, as far as its list says that they are some.
fn directories_in(path: &Path) -> Result<HashSet<String>, IoError> {
    let mut names = HashSet::new();
    for entry in fs::read_dir(path).at("list", path)? {
        let entry = entry.at("list", path)?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

/// The directories in it are for the owner only.
const PRIVATE: Access = Access::mode(0o700);
/// The mode of a data directory. Everybody may pass through it, to the CA; whoever could open it
/// could also hold its lock.
pub const DATA_MODE: u32 = 0o711;
/// More bytes than the number in FORMAT has.
const FORMAT_BYTES: u64 = 32;
/// How the name of an import's directory begins.
const STAGING: &str = "import-";
/// What some file systems put at their root.
pub(crate) const LOST_AND_FOUND: &str = "lost+found";

/// What a directory without FORMAT may hold and still become a store: what an interrupted first
/// start leaves, and what file systems put at their root.
const OWN_ENTRIES: [&str; 17] = [
    "FORMAT.new",
    "blobs",
    "damaged",
    "init-password",
    "init-password.new",
    "lock",
    LOST_AND_FOUND,
    "promises",
    "promises.new",
    "registry.db",
    "registry.db-journal",
    "registry.db-shm",
    "registry.db-wal",
    "registry.sock",
    "reserve",
    "tls",
    "uploads",
];
