//! Giving the bytes of an upload the name of a blob.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use durable::{At, Directory, IoError};
use oci::Digest;

use crate::error::StorageError;
use crate::layout::Layout;

/// Why an upload did not become a blob.
pub(crate) struct Unpublished {
    /// What failed.
    pub(crate) error: StorageError,
    /// What is left of the upload.
    pub(crate) left: UploadRemains,
}

/// What a failure leaves of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UploadRemains {
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
        Self { error, left: UploadRemains::Intact }
    }
}

/// A checked upload whose content is synced, on its way to its final name.
pub(crate) struct Synced<'a> {
    from: &'a Path,
    to: PathBuf,
    /// That of the final name.
    directory: Directory,
}

impl<'a> Synced<'a> {
    /// Syncs the content of a file that is to become this blob.
    pub(super) fn new(
        layout: &Layout,
        file: &File,
        from: &'a Path,
        digest: &Digest,
    ) -> Result<Self, Unpublished> {
        let synced = Self::as_told(layout, from, digest)?;
        file.sync_data().at("sync", from).map_err(|error| broken(error.into()))?;
        Ok(synced)
    }

    /// A file that is to become this blob, and whose content is synced, as whoever wrote it says.
    pub(super) fn as_told(
        layout: &Layout,
        from: &'a Path,
        digest: &Digest,
    ) -> Result<Self, StorageError> {
        let to = layout.blob(digest);
        let directory = Directory::open(to.parent().unwrap_or(layout.root()))?;
        Ok(Self { from, to, directory })
    }

    /// Gives it the name of a blob that no row names yet.
    ///
    /// Crash argument: the content is synced before the rename and the directory after it. A crash
    /// before the last step leaves either the upload or a complete blob that no row names; neither
    /// is visible. The row is written only after [`Named::sync`] returns, however many others are
    /// renamed in between: nothing is said of them here. Who holds the claim is alone with the
    /// name, so what is removed after a failed sync is nobody's but ours.
    pub(crate) fn name(self) -> Result<Named<'a>, Unpublished> {
        self.rename()?;
        Ok(Named(self))
    }

    /// Gives it the name of a blob that a row names, over the file that is there.
    ///
    /// Crash argument: the name leads to the old file or to the new one at any moment, and the new
    /// one is complete and synced. So nothing is worse than it was if the sync of the directory
    /// fails: the file stays, because the row names it, and the upload is over.
    pub(crate) fn replace(self) -> Result<(), Unpublished> {
        self.replace_name()?.sync(&mut SyncedShards::default())
    }

    /// The first step of [`Synced::replace`].
    pub(crate) fn replace_name(self) -> Result<Replaced, StorageError> {
        self.rename()?;
        Ok(Replaced { to: self.to, directory: self.directory })
    }

    /// What is not renamed is where it was; the directory may have no room for one more name.
    fn rename(&self) -> Result<(), StorageError> {
        Ok(fs::rename(self.from, &self.to).at("rename", self.from)?)
    }
}

/// An upload that has the name of a blob, which may not last.
pub(crate) struct Named<'a>(Synced<'a>);

impl<'a> Named<'a> {
    /// Syncs the name.
    pub(crate) fn sync(self) -> Result<Placed<'a>, Unpublished> {
        self.sync_once(&mut SyncedShards::default())
    }

    /// Syncs the name, unless its directory is one of those that were synced since it was given.
    pub(crate) fn sync_once(self, shards: &mut SyncedShards) -> Result<Placed<'a>, Unpublished> {
        let Synced { from, to, directory } = self.0;
        match shards.sync(&directory, &to) {
            Ok(()) => Ok(Placed { from, to }),
            Err(error) => {
                // Whoever asks for it would be answered from a name that may not last.
                let _ = fs::remove_file(&to);
                Err(broken(error.into()))
            }
        }
    }
}

/// An upload that has the name of a blob which has a row.
pub(crate) struct Replaced {
    to: PathBuf,
    directory: Directory,
}

impl Replaced {
    /// Syncs the name, unless its directory is one of those that were synced since it was given.
    pub(crate) fn sync(self, shards: &mut SyncedShards) -> Result<(), Unpublished> {
        shards.sync(&self.directory, &self.to).map_err(|error| broken(error.into()))
    }
}

/// The directories of files that got their names together: each is synced once, when all have
/// theirs. One that failed is not tried again.
#[derive(Default)]
pub(crate) struct SyncedShards(HashMap<PathBuf, Result<(), IoError>>);

impl SyncedShards {
    fn sync(&mut self, directory: &Directory, to: &Path) -> Result<(), IoError> {
        let shard = to.parent().unwrap_or(to).to_owned();
        self.0.entry(shard).or_insert_with(|| directory.sync()).clone()
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
        Unpublished {
            error,
            left: if is_back { UploadRemains::Intact } else { UploadRemains::Placed },
        }
    }
}

fn broken(error: StorageError) -> Unpublished {
    Unpublished { error, left: UploadRemains::Nothing }
}
