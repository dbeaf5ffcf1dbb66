//! Blobs on disk: reading them, and giving them their final name.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use durable::{At, IoError};
use oci::{Algorithm, Digest, Hasher};
use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, pread};

use crate::error::StorageError;
use crate::layout::Layout;

/// A blob that is open for reading. It stays readable even if it is deleted meanwhile.
#[derive(Debug)]
pub struct BlobReader {
    file: File,
    path: PathBuf,
    size: u64,
}

impl BlobReader {
    /// Opens the file of a blob whose row says that it has `size` bytes; `None` if the file is
    /// missing or has another size, so that it can be pushed again.
    pub(crate) fn open(
        layout: &Layout,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Self>, StorageError> {
        let path = layout.blob(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(IoError::new("open", &path, &error).into()),
        };
        if file.metadata().at("read the size of", &path)?.len() != size {
            return Ok(None);
        }
        // Only a hint: reading works without it.
        let _ = fadvise(&file, 0, None, Advice::Sequential);
        Ok(Some(Self { file, path, size }))
    }

    /// The size of the blob in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads at most `length` bytes from `offset`, and fewer only at the end of the blob.
    ///
    /// # Errors
    /// Fails when the disk does, and when the file ends before its recorded size.
    pub fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, StorageError> {
        let rest = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = length.min(rest);
        // Not zeroed first: that costs a tenth of sending a blob.
        let mut piece = Vec::with_capacity(wanted);
        while piece.len() < wanted {
            let position = offset + piece.len() as u64;
            match pread(&self.file, spare_capacity(&mut piece), position) {
                Err(Errno::INTR) => {}
                Ok(0) => {
                    let error = io::Error::from(ErrorKind::UnexpectedEof);
                    return Err(IoError::new("read", &self.path, &error).into());
                }
                outcome => drop(outcome.at("read", &self.path)?),
            }
        }
        // The allocator may have given more room than was asked for.
        piece.truncate(wanted);
        Ok(piece)
    }

    /// Reads all of the blob; `None` if its bytes are not those that `digest` names, or end early.
    pub(crate) fn whole(&self, digest: &Digest) -> Result<Option<Bytes>, StorageError> {
        match self.read_at(0, usize::MAX) {
            Ok(bytes) => {
                let is_right = Digest::of(digest.algorithm(), &bytes) == *digest;
                Ok(is_right.then(|| Bytes::from(bytes)))
            }
            Err(StorageError::Io(IoError { kind: ErrorKind::UnexpectedEof, .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A blob on its way out.
#[derive(Debug)]
pub enum BlobContent {
    /// All of its bytes, which were held against the digest.
    Whole(Bytes),
    /// Its file, of which nothing was read yet.
    File(BlobReader),
}

/// Hashes a file from its beginning, and counts its bytes.
pub(crate) fn hash_file(
    file: &File,
    path: &Path,
    algorithm: Algorithm,
    length: u64,
) -> Result<Hasher, StorageError> {
    let mut hasher = Hasher::new(algorithm);
    let mut piece = vec![0; HASH_PIECE_BYTES];
    let mut offset = 0;
    while offset < length {
        let wanted = usize::try_from(length - offset).unwrap_or(usize::MAX).min(piece.len());
        file.read_exact_at(&mut piece[..wanted], offset).at("read", path)?;
        hasher.update(&piece[..wanted]);
        offset += wanted as u64;
    }
    Ok(hasher)
}

/// The size of the file of a blob; `None` if there is none.
pub(crate) fn file_size(layout: &Layout, digest: &Digest) -> Result<Option<u64>, StorageError> {
    let path = layout.blob(digest);
    match fs::metadata(&path) {
        Ok(file) => Ok(file.is_file().then_some(file.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(IoError::new("look at", &path, &error).into()),
    }
}

/// Whether the file of a blob is there and has this size. A disk that cannot tell is trouble, and
/// no reason to take the blob for lost.
pub(crate) fn has_file(layout: &Layout, digest: &Digest, size: u64) -> Result<bool, StorageError> {
    Ok(file_size(layout, digest)? == Some(size))
}

/// Why an upload did not become a blob.
pub(crate) struct Unpublished {
    /// What failed.
    pub(crate) error: StorageError,
    /// What is left of the upload.
    pub(crate) left: Left,
}

/// What a failure leaves of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It is where it was, as it was: to be tried again when there is space, for example.
    Intact,
    /// Its file has the name of the blob, complete and synced, but the row could not be written
    /// that makes it one: what was noted beside the upload tells where it is.
    Placed,
    /// Nothing that may be used: after a failed sync nothing of it is to be synced again.
    Nothing,
}

impl From<StorageError> for Unpublished {
    fn from(error: StorageError) -> Self {
        Self { error, left: Left::Intact }
    }
}

/// A checked upload whose content is synced, on its way to its final name.
pub(crate) struct Synced<'a> {
    from: &'a Path,
    to: PathBuf,
    /// The directory of the final name.
    shard: PathBuf,
    directory: File,
}

impl<'a> Synced<'a> {
    /// Syncs the content of a checked upload.
    pub(crate) fn new(
        layout: &Layout,
        file: &File,
        from: &'a Path,
        digest: &Digest,
    ) -> Result<Self, Unpublished> {
        let to = layout.blob(digest);
        let shard = to.parent().unwrap_or(layout.root()).to_owned();
        let directory = File::open(&shard).at("open", &shard).map_err(StorageError::from)?;
        file.sync_data().at("sync", from).map_err(|error| broken(error.into()))?;
        Ok(Self { from, to, shard, directory })
    }

    /// Gives it the name of a blob that no row names yet.
    ///
    /// Crash argument: the content is synced before the rename and the directory after it. A crash
    /// before the last step leaves either the upload or a complete blob that no row names; neither
    /// is visible. The row is written only after this returns. Who holds the claim is alone with
    /// the name, so what is removed after a failed sync is nobody's but ours.
    pub(crate) fn place(self) -> Result<Placed<'a>, Unpublished> {
        self.rename()?;
        match self.sync_directory() {
            Ok(()) => Ok(Placed { from: self.from, to: self.to }),
            Err(error) => {
                // Whoever asks for it would be answered from a name that may not last.
                let _ = fs::remove_file(&self.to);
                Err(broken(error))
            }
        }
    }

    /// Gives it the name of a blob that a row names, over the file that is there.
    ///
    /// Crash argument: the name leads to the old file or to the new one at any moment, and the new
    /// one is complete and synced. So nothing is worse than it was if the sync of the directory
    /// fails: the file stays, because the row names it, and the upload is over.
    pub(crate) fn replace(self) -> Result<(), Unpublished> {
        self.rename()?;
        self.sync_directory().map_err(broken)
    }

    /// What is not renamed is where it was; the directory may have no room for one more name.
    fn rename(&self) -> Result<(), StorageError> {
        Ok(fs::rename(self.from, &self.to).at("rename", self.from)?)
    }

    fn sync_directory(&self) -> Result<(), StorageError> {
        Ok(self.directory.sync_all().at("sync", &self.shard)?)
    }
}

/// A blob that is in place and has no row yet.
pub(crate) struct Placed<'a> {
    from: &'a Path,
    to: PathBuf,
}

impl Placed<'_> {
    /// Makes it the upload again that it was, after `error` kept its row from being written.
    ///
    /// Crash argument: whichever of the two names a crash leaves, no row names the file, so it is
    /// the upload's, which knows both.
    pub(crate) fn put_back(self, error: StorageError) -> Unpublished {
        let is_back = fs::rename(&self.to, self.from).is_ok();
        Unpublished { error, left: if is_back { Left::Intact } else { Left::Placed } }
    }
}

fn broken(error: StorageError) -> Unpublished {
    Unpublished { error, left: Left::Nothing }
}

/// How much is read at once to hash a file.
const HASH_PIECE_BYTES: usize = 256 * 1024;
