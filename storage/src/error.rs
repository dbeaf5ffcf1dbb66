//! What can go wrong in the store, as one closed enum that callers match and tests compare.

use std::io::ErrorKind;
use std::path::PathBuf;

use durable::{IoError, ReadError};
use oci::{Digest, RepoName, Tag};
use thiserror::Error;

use crate::byte_count::ByteCount;
use crate::db::schema_fault::SchemaFault;
use crate::medium::foreign::Foreign;
use crate::process::lock::holder::LockHolder;
use crate::shell::shell_word;

/// A failure of the store.
///
/// What a client asked for and is not there is `None` or `false` in a verb's result; an error
/// here is a refusal with a reason, or trouble with the disk.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StorageError {
    /// The bytes of a blob are not those that its digest names.
    #[error(
        "the content has the digest {actual}, not {expected}: this upload has ended, begin a new \
         one and send the content again"
    )]
    DigestMismatch {
        /// What the client promised.
        expected: Digest,
        /// What its bytes hash to.
        actual: Digest,
    },
    /// There is no such upload session of this user in this repository.
    #[error("there is no such upload session: it ended or expired, begin a new one")]
    UploadUnknown,
    /// Another request has taken over the upload session.
    #[error("another request continued this upload: ask for its status and go on from there")]
    UploadTaken,
    /// An image manifest names blobs that its repository does not hold.
    #[error("the repository does not hold {}: push the blobs before the manifest", list(.0))]
    MissingBlobs(Vec<Digest>),
    /// The repository holds the blob, but its file is missing or holds other bytes.
    #[error("the registry lost the blob {0}: push the image again")]
    BlobLost(Digest),
    /// The repository holds the manifest, but what it needs to be pulled is lost.
    #[error("the registry lost {}: push the image again", needed(lost, manifest))]
    ManifestLost {
        /// The manifest that was asked for.
        manifest: Digest,
        /// A blob or a manifest that it needs, or itself.
        lost: Digest,
    },
    /// A blob cannot be deleted while a manifest of the repository names it.
    #[error("the manifest {manifest} of this repository names the blob: delete the manifest first")]
    BlobInUse {
        /// One manifest that names the blob.
        manifest: Digest,
    },
    /// A protected tag, or what it needs, would change.
    #[error(
        "the tag {repository}:{tag} is protected, and with it all that it names: on the \
         registry's host, `registry tag unprotect {repository}:{tag}` ends that"
    )]
    TagProtected {
        /// Its repository.
        repository: RepoName,
        /// The tag.
        tag: Tag,
    },
    /// A command is about a tag that is not there.
    #[error(
        "there is no tag {repository}:{tag}: see `registry ls {repository}`, or what it named \
         with `registry tag history {repository}:{tag}`"
    )]
    NoTag {
        /// The repository.
        repository: RepoName,
        /// The tag.
        tag: Tag,
    },
    /// A command is about a manifest that is not there.
    #[error(
        "there is no manifest {repository}@{digest}: see `registry ls {repository}`, or what was \
         deleted with `registry tag history {repository}`"
    )]
    NoManifest {
        /// The repository.
        repository: RepoName,
        /// The manifest.
        digest: Digest,
    },
    /// A tag has no history that could be undone.
    #[error(
        "no change of {repository}:{tag} is known that could be undone, and what is long past is \
         forgotten: see `registry tag history {repository}`, say with --to what it is to name, or \
         push it again"
    )]
    NothingToUndo {
        /// The repository.
        repository: RepoName,
        /// The tag.
        tag: Tag,
    },
    /// A tag is to be as it was when it was not there.
    #[error(
        "{repository}:{tag} did not exist at that time: choose one from `registry tag history \
         {repository}:{tag}`, or remove the tag with `registry rm {repository}:{tag}`"
    )]
    NotThereThen {
        /// The repository.
        repository: RepoName,
        /// The tag.
        tag: Tag,
    },
    /// A manifest that is to be restored is not there any more.
    #[error(
        "{repository}@{digest} cannot be restored: collection took it, or it never was here; push \
         it again"
    )]
    Collected {
        /// The repository.
        repository: RepoName,
        /// The manifest.
        digest: Digest,
    },
    /// Blobs of a manifest that is to be restored are not there any more.
    #[error(
        "{digest} cannot be restored, since the repository holds no more {}: push the image again",
        list(.blobs)
    )]
    BlobsCollected {
        /// The manifest.
        digest: Digest,
        /// What it lacks.
        blobs: Vec<Digest>,
    },
    /// A user of this name exists already.
    #[error("this user exists already: change the password with `registry user passwd`")]
    UserExists,
    /// The file system or the user's quota is full.
    #[error(
        "the disk of the registry is full: delete images and run `registry gc` on its host, or \
         enlarge the disk, then try again"
    )]
    Full,
    /// The file system has room left, but not for this upload.
    #[error(
        "the disk of the registry is too full for {} ({} are free, and uploads leave {} of that): \
         delete images and run `registry gc` on its host, or enlarge the disk, then try again",
        coming(*.wanted_bytes), ByteCount(*.free_bytes), ByteCount(*.kept_bytes)
    )]
    NoRoom {
        /// What the upload would add; 0 if it would only begin.
        wanted_bytes: u64,
        /// What is free.
        free_bytes: u64,
        /// What uploads leave free.
        kept_bytes: u64,
    },
    /// The file system of the store is read-only: what is there can be read, and that is all.
    #[error(
        "the disk of the registry is read-only, so it can be pulled from and nothing else: on its \
         host, look into the kernel's log, mend the disk, mount it writable, and restart the \
         registry"
    )]
    ReadOnly,
    /// The database has to be changed once for this program, and its disk is read-only.
    #[error(
        "the database in {} is of an earlier version and has to be changed once, which its disk, \
         being read-only, does not allow: mount it writable, or run the version before",
        .0.display()
    )]
    OldAndReadOnly(PathBuf),
    /// The database has to be changed once for this program, and its disk has no room for that.
    #[error(
        "the database in {} is of an earlier version and has to be changed once, for which the \
         disk needs {} free and has {}: make room on it or enlarge it, then start the registry \
         again; until then the database stays as it is", .path.display(), ByteCount(*.needed_bytes),
        ByteCount(*.free_bytes)
    )]
    NoRoomToUpgrade {
        /// The store's directory.
        path: PathBuf,
        /// What the change needs at once.
        needed_bytes: u64,
        /// What is there for it, with what the registry gives up.
        free_bytes: u64,
    },
    /// The directory lies behind a network or another program.
    #[error(
        "{} lies on {kind}, where locks and synced writes are somebody else's promise: choose a \
         directory on a disk of this host; --allow-network-fs keeps the registry there even so",
        .path.display()
    )]
    ForeignDisk {
        /// The directory.
        path: PathBuf,
        /// What it lies on.
        kind: Foreign,
    },
    /// Something links or is mounted from the store's directory to another place.
    #[error(
        "{} is another file system, or another mount of it, than {}, and no file can be moved from \
         one to the other: take away the link or the mount, and move {} as a whole to the disk \
         that has the room", .directory.display(), .root.display(), .root.display()
    )]
    SplitDisk {
        /// The store's directory.
        root: PathBuf,
        /// The directory that lies elsewhere.
        directory: PathBuf,
    },
    /// Another process owns the store.
    #[error("{0} owns this registry: stop it, or wait until it ends")]
    Owned(LockHolder),
    /// The directory holds a store of a later version.
    #[error(
        "{} has format {found}, this program knows {known}: use a later program", .path.display()
    )]
    NewerFormat {
        /// The store's directory.
        path: PathBuf,
        /// The version that stands in FORMAT.
        found: u32,
        /// The latest version this program knows.
        known: u32,
    },
    /// The directory holds no store, and one is not to be made.
    #[error(
        "{} holds no registry (there is no FORMAT in it): if it is a mount point, mount its file \
         system; if the registry is elsewhere, name that directory with --data-dir", .0.display()
    )]
    NoStore(PathBuf),
    /// The directory holds something else.
    #[error(
        "{} holds {entry:?}, which is not a registry's: choose an empty directory", .path.display()
    )]
    ForeignDirectory {
        /// The directory.
        path: PathBuf,
        /// One thing in it.
        entry: String,
    },
    /// A restore into the directory was cut short.
    #[error(
        "a restore into {} was cut short: run `registry restore` again, which goes on with it",
        .0.display()
    )]
    HalfRestored(PathBuf),
    /// The directory is a backup, in which no command changes anything.
    #[error(
        "{} is a backup: to look into it, restore it somewhere else (registry restore {} \
         --data-dir DIR); `registry serve` makes it a registry of its own", .0.display(),
        shell_word(&.0.display().to_string())
    )]
    IsBackup(PathBuf),
    /// A file that the store wrote cannot be read back.
    #[error("{} is damaged ({what}): restore it from a backup", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The operating system refused an operation.
    #[error(transparent)]
    Io(IoError),
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
        /// The database.
        path: PathBuf,
        /// What was found first.
        fault: SchemaFault,
    },
    /// The database could not be synced: what the disk holds of it is not known.
    #[error("the database cannot be synced: {0}")]
    NotSynced(String),
    /// The store is being closed.
    #[error("the registry is stopping: try again in a moment")]
    Closed,
}

impl StorageError {
    /// Whether the disk refused because it is read-only. For the store's own disk that is
    /// [`StorageError::ReadOnly`].
    pub fn is_read_only(&self) -> bool {
        matches!(
            self,
            Self::ReadOnly | Self::Io(IoError { kind: ErrorKind::ReadOnlyFilesystem, .. })
        )
    }

    /// What this means when it was the store's own disk that refused.
    pub(crate) fn of_own_disk(self) -> Self {
        if self.is_read_only() { Self::ReadOnly } else { self }
    }
}

impl From<IoError> for StorageError {
    fn from(error: IoError) -> Self {
        match error.kind {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(error),
        }
    }
}

impl From<ReadError> for StorageError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => error.into(),
            ReadError::NotRegular(path) => {
                Self::Damaged { path, what: "it is no regular file".to_owned() }
            }
            ReadError::TooLarge { path, most_bytes } => {
                Self::Damaged { path, what: format!("it has more than {most_bytes} bytes") }
            }
        }
    }
}

fn coming(bytes: u64) -> String {
    if bytes == 0 { "uploads".to_owned() } else { format!("{} more", ByteCount(bytes)) }
}

fn needed(lost: &Digest, manifest: &Digest) -> String {
    match lost == manifest {
        true => format!("the manifest {manifest}"),
        false => format!("{lost}, which {manifest} needs"),
    }
}

fn list(digests: &[Digest]) -> String {
    let named: Vec<_> = digests.iter().take(NAMED_DIGESTS).map(Digest::to_string).collect();
    let named = named.join(", ");
    match digests.len().saturating_sub(NAMED_DIGESTS) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Digests that one sentence names: a manifest can name thousands.
const NAMED_DIGESTS: usize = 10;
