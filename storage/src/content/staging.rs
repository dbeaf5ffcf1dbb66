//! Staging: what an import has read and hashed, in a directory of its own below `uploads/`, until
//! the owner of the store publishes it.
//!
//! The command that imports writes here itself, as the owner of the data, while a server may own
//! the store: so bytes go to the disk once, and nothing but names goes over the socket. A file here
//! is nobody's blob; it becomes one by [`crate::Store::publish_staged`], which relies on what the
//! importer says of it: that it hashed these bytes and synced them. Whoever may write here may
//! write into `blobs/` too.
//!
//! The directory is locked for as long as its import lives. Whoever cleans uploads removes those
//! that nobody holds, and what was published by then is found by its row: nothing of a dead import
//! is needed again.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use durable::{Access, At, IoError, Links, create_private, make_directory, open_regular};
use oci::Digest;
use rustix::fs::{Mode, OFlags, ioctl_ficlone, open};

use super::upload::id::UploadId;
use super::{Content, SizedDigest};
use crate::error::{StorageError, Trouble};
use crate::layout::Layout;
use crate::space::Space;

mod file;
mod staged;

pub use file::{CheckedFile, StagedFile};
pub(crate) use staged::Staged;

/// The directory of an import that is under way. It is removed when this is dropped, or, after a
/// crash, by whoever cleans uploads next.
#[derive(Debug)]
pub struct Staging {
    layout: Layout,
    reserve_bytes: u64,
    id: UploadId,
    _lock: File,
}

impl Staging {
    /// Makes a directory for an import, which leaves `reserve_bytes` of the disk free as uploads
    /// do, and removes those of imports that are dead.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn begin(layout: &Layout, reserve_bytes: u64) -> Result<Self, StorageError> {
        Content::new(layout).remove_dead_imports()?;
        for _ in 0..TRIES {
            let id = UploadId::random().at("name a directory in", &layout.uploads())?;
            let path = layout.staging(id);
            // Whoever cleans may come between any two of these, and takes it for a dead one's.
            match make_directory(&path, Access::mode(0o700)) {
                Err(error) if error.kind == ErrorKind::NotFound => continue,
                made => made?,
            };
            if let Some(lock) = lock(&path)?.filter(|lock| is_still(lock, &path)) {
                let layout = layout.clone();
                return Ok(Self { layout, reserve_bytes, id, _lock: lock });
            }
        }
        let (path, what) = (layout.uploads(), "what is made in it is removed at once".to_owned());
        Err(Trouble::Damaged { path, what }.into())
    }

    /// What it is called.
    pub fn id(&self) -> UploadId {
        self.id
    }

    /// Whether the disk of a store has room for an import of so many bytes, which leaves
    /// `reserve_bytes` of it free as uploads do. It is a look and not a booking.
    ///
    /// # Errors
    /// [`StorageError::NoRoom`] if not.
    pub fn check_room(
        layout: &Layout,
        reserve_bytes: u64,
        wanted_bytes: u64,
    ) -> Result<(), StorageError> {
        let (free_bytes, kept_bytes) = Space::new(layout, reserve_bytes).free_and_kept()?;
        match free_bytes < kept_bytes.saturating_add(wanted_bytes) {
            true => Err(StorageError::NoRoom { wanted_bytes, free_bytes, kept_bytes }),
            false => Ok(()),
        }
    }

    /// The same of the disk of this directory, before something of so many bytes is written.
    ///
    /// # Errors
    /// [`StorageError::NoRoom`] if not.
    pub fn check_own_room(&self, wanted_bytes: u64) -> Result<(), StorageError> {
        Self::check_room(&self.layout, self.reserve_bytes, wanted_bytes)
    }

    /// Whether a file can be cloned into the directory: it lies on the same file system, and that
    /// one can do it. It gets no blocks of its own then.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn can_clone(&self, from: &File) -> Result<bool, StorageError> {
        let path = self.layout.staging(self.id).join(PROBE);
        let probe = create_private(&path)?;
        let is_cloned = ioctl_ficlone(&probe, from).is_ok();
        durable::remove(&path)?;
        Ok(is_cloned)
    }

    /// A file for the bytes of this digest, in the place of one that is there.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn create(&self, digest: &Digest) -> Result<StagedFile, StorageError> {
        StagedFile::create(self.layout.staged(self.id, digest), digest)
    }

    /// Removes what was read of this digest and is not published; nothing if there is none.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn remove(&self, digest: &Digest) -> Result<(), StorageError> {
        durable::remove(&self.layout.staged(self.id, digest))?;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What stays goes with the next look for dead ones.
        let _ = remove_directory(&self.layout.staging(self.id));
    }
}

impl Content {
    /// What an import has read of this digest and nobody has published.
    ///
    /// # Errors
    /// [`StorageError::NotStaged`] if there is none.
    pub(crate) fn staged(&self, id: UploadId, digest: &Digest) -> Result<Staged, StorageError> {
        let path = self.layout.staged(id, digest);
        let file = open_regular(&path, Links::Refuse)?.ok_or(StorageError::NotStaged(*digest))?;
        let size = file.metadata().at("look at", &path)?.len();
        Ok(Staged::new(path, file, SizedDigest { digest: *digest, size }))
    }

    /// Removes the directories of imports that nobody goes on with.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub(crate) fn remove_dead_imports(&self) -> Result<(), StorageError> {
        let uploads = self.layout.uploads();
        for entry in fs::read_dir(&uploads).at("list", &uploads)? {
            let name = entry.at("list", &uploads)?.file_name();
            let Some(id) = name.to_str().and_then(Layout::staging_named) else { continue };
            let path = self.layout.staging(id);
            // Held until the directory is gone.
            if let Some(_lock) = lock(&path)? {
                remove_directory(&path)?;
            }
        }
        Ok(())
    }
}

/// Removes the directory of an import, in which there are files alone; it may be gone already,
/// since whoever has opened it may get its lock when another one has removed it.
fn remove_directory(path: &Path) -> Result<(), IoError> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.at("list", path)?,
    };
    for entry in entries {
        durable::remove(&entry.at("list", path)?.path())?;
    }
    fs::remove_dir(path).at("remove", path)
}

/// Locks the directory of an import; none if somebody holds it, or it is gone.
fn lock(path: &Path) -> Result<Option<File>, StorageError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match open(path, flags, Mode::empty()) {
        Ok(directory) => File::from(directory),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(IoError::new("open", path, &error.into()).into()),
    };
    match directory.try_lock() {
        Ok(()) => Ok(Some(directory)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(IoError::new("lock", path, &error).into()),
    }
}

/// Whether what is locked still has this name.
fn is_still(locked: &File, path: &Path) -> bool {
    let (Ok(own), Ok(named)) = (locked.metadata(), fs::symlink_metadata(path)) else {
        return false;
    };
    (own.dev(), own.ino()) == (named.dev(), named.ino())
}

/// What is cloned to find out whether that is possible.
const PROBE: &str = "probe";
/// How often a directory is made that somebody removes before it is locked.
const TRIES: usize = 8;

#[cfg(test)]
mod tests {
    use oci::Algorithm;

    use super::*;

    fn layout() -> (tempfile::TempDir, Layout) {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new(home.path());
        fs::create_dir(layout.uploads()).unwrap();
        (home, layout)
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn only_what_has_the_right_bytes_stays() {
        let (_home, layout) = layout();
        let staging = Staging::begin(&layout, 0).unwrap();
        let digest = Digest::of(Algorithm::Sha512, b"onetwo");
        let filled = |pieces: &[&str]| {
            let mut file = staging.create(&digest).unwrap();
            pieces.iter().for_each(|piece| file.write(piece.as_bytes()).unwrap());
            file.checked()
        };
        let is_empty = || names(&layout.staging(staging.id())).is_empty();
        assert_eq!(filled(&["one", "two"]).map(|file| file.bytes()), Some(6));
        assert!(is_empty(), "it was not kept");
        filled(&["one", "two"]).unwrap().sync().unwrap();
        assert!(!is_empty());
        filled(&["one", "two"]).unwrap().keep_to_be_read();
        assert!(!is_empty());
        for pieces in [["two", "one"], ["one", ""]] {
            assert!(filled(&pieces).is_none());
            assert!(is_empty());
        }
        let content = Content::new(&layout);
        let missing = content.staged(staging.id(), &digest).map(|staged| staged.blob());
        assert_eq!(missing, Err(StorageError::NotStaged(digest)));
        drop(staging.create(&digest).unwrap());
        assert_eq!(names(&layout.staging(staging.id())), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_cloned_can_still_be_written() {
        let (home, layout) = layout();
        let staging = Staging::begin(&layout, 0).unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"content");
        // No file system gives a file the blocks of another one's pipe.
        let (reader, _writer) = std::io::pipe().unwrap();
        let reader = File::from(std::os::fd::OwnedFd::from(reader));
        let mut file = staging.create(&digest).unwrap();
        assert_eq!(file.fill_as_clone(&reader, &mut |_| {}), Ok(false));
        file.write(b"content").unwrap();
        assert_eq!(file.checked().map(|file| file.bytes()), Some(7));
        // Whether this one can clone or not, the outcome is told of the bytes.
        let source = home.path().join("source");
        fs::write(&source, b"content!").unwrap();
        let mut file = staging.create(&digest).unwrap();
        let mut read = 0;
        let source = File::open(&source).unwrap();
        let is_clone = file.fill_as_clone(&source, &mut |count| read += count).unwrap();
        assert_eq!(read, if is_clone { 8 } else { 0 });
        assert!(file.checked().is_none());
    }

    #[test]
    fn the_directories_of_the_dead_go_and_no_others() {
        let (_home, layout) = layout();
        let alive = Staging::begin(&layout, 0).unwrap();
        let dead = layout.staging(UploadId::random().unwrap());
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("sha256-00"), "torn").unwrap();
        fs::create_dir(layout.uploads().join("import-of-somebody")).unwrap();
        Content::new(&layout).remove_dead_imports().unwrap();
        assert!(!dead.exists() && layout.staging(alive.id()).exists());
        let path = layout.staging(alive.id());
        drop(alive);
        assert!(!path.exists());
        // Somebody else may have removed it since it was locked.
        assert_eq!(remove_directory(&path), Ok(()));
        assert_eq!(names(&layout.uploads()), ["import-of-somebody"]);
    }

    #[test]
    fn room_is_left_for_everything_else() {
        let (_home, layout) = layout();
        assert_eq!(Staging::check_room(&layout, 0, 0), Ok(()));
        let refused = Staging::check_room(&layout, 0, u64::MAX);
        assert!(matches!(refused, Err(StorageError::NoRoom { wanted_bytes: u64::MAX, .. })));
    }
}
