//! The files of blobs: whether they are there, opening them, and taking them away.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use durable::{At, IoError, Links, open_regular, remove, sync_directory};
use oci::Digest;

use super::hash_file::hash_all;
use super::reader::BlobReader;
use super::{Content, SizedDigest};
use crate::error::StorageError;

impl Content {
    /// The size of the file of a blob; `None` if there is none.
    pub(crate) fn file_size(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        let path = self.layout.blob(digest);
        match fs::metadata(&path) {
            Ok(file) => Ok(file.is_file().then_some(file.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(IoError::new("look at", &path, &error).into()),
        }
    }

    /// Whether the file of a blob is there and has this size. A disk that cannot tell is trouble,
    /// and no reason to take the blob for lost.
    pub(crate) fn has_file(&self, digest: &Digest, size: u64) -> Result<bool, StorageError> {
        Ok(self.file_size(digest)? == Some(size))
    }

    /// The size of whatever has the name of a blob, which may be no file, or a link that is not
    /// followed; none if nothing has.
    pub(crate) fn bytes_under_name(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        let path = self.layout.blob(digest);
        match fs::symlink_metadata(&path) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(IoError::new("look at", &path, &error).into()),
        }
    }

    /// Whether a regular file of this size has the name of a blob; no link is followed.
    pub(crate) fn has_own_file(&self, digest: &Digest, size: u64) -> bool {
        let found = fs::symlink_metadata(self.layout.blob(digest));
        found.is_ok_and(|found| found.is_file() && found.len() == size)
    }

    /// Opens the file of a blob whose row says that it has `size` bytes; `None` if the file is
    /// missing or has another size, so that it can be pushed again.
    pub(crate) fn open(
        &self,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<BlobReader>, StorageError> {
        let path = self.layout.blob(digest);
        let file = self.open_sized(&path, size)?;
        Ok(file.map(|file| BlobReader::new(file, path, size)))
    }

    /// Opens the file of a blob where somebody else may have laid something in its place; `None`
    /// if there is none, and no link is followed.
    pub(crate) fn open_own(&self, digest: &Digest) -> Result<Option<File>, StorageError> {
        Ok(open_regular(&self.layout.blob(digest), Links::Refuse)?)
    }

    /// Removes the file of a blob; false if there is none. The caller holds the claim on it.
    pub(crate) fn remove(&self, digest: &Digest) -> Result<bool, StorageError> {
        Ok(remove(&self.layout.blob(digest))?)
    }

    /// Whether the file of a blob has the right bytes, which are durable then. The caller holds the
    /// claim.
    ///
    /// Crash argument: the process that put the file there may have died before it synced the name;
    /// that is done before the row is mended.
    pub(crate) fn make_durable(&self, blob: SizedDigest) -> Result<bool, StorageError> {
        let SizedDigest { digest, size } = blob;
        let path = self.layout.blob(&digest);
        let Some(file) = self.open_sized(&path, size)? else { return Ok(false) };
        if hash_all(&file, &path, digest.algorithm(), size)?.finish() != digest {
            return Ok(false);
        }
        self.sync_blob(&file, &path)?;
        Ok(true)
    }

    /// Makes the file of a blob and its name durable.
    pub(super) fn sync_blob(&self, file: &File, path: &Path) -> Result<(), StorageError> {
        file.sync_all().at("sync", path)?;
        Ok(path.parent().map_or(Ok(()), sync_directory)?)
    }

    fn open_sized(&self, path: &Path, size: u64) -> Result<Option<File>, StorageError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(IoError::new("open", path, &error).into()),
        };
        let length = file.metadata().at("read the size of", path)?.len();
        Ok((length == size).then_some(file))
    }
}
