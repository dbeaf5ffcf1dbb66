//! Blobs on disk: reading them, and giving them their final name.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, pread};

use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{IoContext, StorageError};
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
            Err(error) => return Err(error).at("open", &path),
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
                    return Err(error).at("read", &self.path);
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
            Err(StorageError::Io { kind: ErrorKind::UnexpectedEof, .. }) => Ok(None),
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
        Err(error) => Err(error).at("look at", &path),
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
    /// Whether the upload is where it was, as it was: to be tried again when there is space, for
    /// example. After a failed sync it is not, and nothing of it is to be synced again.
    pub(crate) is_intact: bool,
}

impl From<StorageError> for Unpublished {
    fn from(error: StorageError) -> Self {
        Self { error, is_intact: true }
    }
}

/// Syncs a checked upload and gives it its final name.
///
/// Crash argument: the content is synced before the rename and the directory after it. A crash
/// before the last step leaves either the upload or a complete blob that no row names; neither is
/// visible, and collection reclaims both. The row is written only after this returns.
pub(crate) fn publish(
    layout: &Layout,
    file: &File,
    from: &Path,
    digest: &Digest,
) -> Result<(), Unpublished> {
    let to = layout.blob(digest);
    let shard = to.parent().unwrap_or(layout.root());
    let broken = |error| Unpublished { error, is_intact: false };
    let directory = File::open(shard).at("open", shard)?;
    file.sync_data().at("sync", from).map_err(broken)?;
    // What is not renamed is where it was; the directory may have no room for one more name.
    fs::rename(from, &to).at("rename", from)?;
    directory.sync_all().at("sync", shard).map_err(|error| {
        // Whoever asks for it would be answered from a name that may not last.
        let _ = fs::remove_file(&to);
        broken(error)
    })
}

/// Makes a published blob the upload again that it was, after `error` kept its row from being
/// written.
///
/// Crash argument: whichever of the two names a crash leaves, no row was acknowledged for it. Where
/// a row was there and its file was lost, the file is lost as before.
pub(crate) fn put_back(
    layout: &Layout,
    to: &Path,
    digest: &Digest,
    error: StorageError,
) -> Unpublished {
    let is_intact = fs::rename(layout.blob(digest), to).is_ok();
    Unpublished { error, is_intact }
}

/// How much is read at once to hash a file.
const HASH_PIECE_BYTES: usize = 256 * 1024;
