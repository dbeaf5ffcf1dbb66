//! The directory that becomes a store again.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::Path;

use super::content::{self, Taken};
use super::{BackupError, SmallFiles, mark};
use crate::db::copy::{self, BlobIndex, NamedBlob};
use crate::digest::{Algorithm, Digest};
use crate::durable::{make_directory, sync_directory, write_whole};
use crate::error::{IoContext, StorageError};
use crate::layout::{LOST_AND_FOUND, Layout};
use crate::lock::{OnHeld, StoreLock};

/// A directory into which a backup is restored. Its caller runs as its owner.
///
/// Crash argument: FORMAT is written last, and until then `restore-unfinished` lies in the
/// directory, so that nothing takes it for a store or for a first start that was cut short. What
/// is there when the restore is run again has its name because it is whole, and is kept.
#[derive(Debug)]
pub struct Restoring {
    layout: Layout,
    _lock: StoreLock,
}

impl Restoring {
    /// Begins, or goes on with a restore that was cut short.
    ///
    /// # Errors
    /// [`BackupError::StoreThere`], [`BackupError::NotEmpty`]; else trouble with the disk.
    pub fn begin(directory: &Path) -> Result<Self, BackupError> {
        let layout = Layout::new(directory);
        check(&layout)?;
        let lock = StoreLock::acquire(&layout.lock(), &|_| OnHeld::GiveUp)?;
        // Whoever held the lock until now may have made a store.
        check(&layout)?;
        mark::begin_restoring(&layout)?;
        super::remove(&layout.part())?;
        layout.make_directories()?;
        Ok(Self { layout, _lock: lock })
    }

    /// Whether a blob is there with the size that it should have.
    pub fn has(&self, digest: &Digest, size: u64) -> bool {
        content::has(&self.layout, digest, size)
    }

    /// Copies a blob here. `on_bytes` hears of each piece, and says whether to go on.
    ///
    /// # Errors
    /// [`BackupError::Stopped`], else trouble with the disk.
    pub fn take(
        &self,
        digest: &Digest,
        from: File,
        on_bytes: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Taken, BackupError> {
        content::take(&self.layout, digest, from, on_bytes)
    }

    /// Makes the names of blobs in one directory below `blobs/` durable.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn sync_shard(&self, algorithm: Algorithm, prefix: u8) -> Result<(), StorageError> {
        self.layout.sync_shard(algorithm, prefix)
    }

    /// Puts the database, its log, certificates and keys, and the first password in place.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn place(
        &self,
        (database, log): (&File, Option<&File>),
        tls: &SmallFiles,
        init_password: Option<&[u8]>,
    ) -> Result<(), StorageError> {
        let root = self.layout.root();
        for name in ["registry.db-wal", "registry.db-shm", "registry.db-journal"] {
            super::remove(&root.join(name))?;
        }
        content::copy_file(database, &self.layout.database())?;
        if let Some(log) = log {
            content::copy_file(log, &root.join("registry.db-wal"))?;
        }
        // A backup that a command looked into needs a file beside it to be read.
        copy::settle(&self.layout.database())?;
        sync_file(&self.layout.database())?;
        // Everybody may read the CA there.
        make_directory(&self.layout.tls(), 0o755)?;
        for (name, content) in tls {
            write_whole(&self.layout.tls().join(name), content)?;
        }
        if let Some(content) = init_password {
            write_whole(&self.layout.init_password(), content)?;
        }
        sync_directory(root)
    }

    /// The blobs that the restored database names and a repository holds, but that are not there:
    /// pushing them again brings them back.
    ///
    /// # Errors
    /// Trouble with the disk or the database.
    pub fn missing(&self) -> Result<Vec<Digest>, StorageError> {
        let index = BlobIndex::open(&self.layout.database())?;
        let mut missing = Vec::new();
        for (algorithm, prefix) in Layout::shards() {
            let blobs = index.shard(algorithm, prefix)?.into_iter();
            let is_missing = |blob: &NamedBlob| blob.is_held && !self.has(&blob.digest, blob.size);
            missing.extend(blobs.filter(is_missing).map(|blob| blob.digest));
        }
        Ok(missing)
    }

    /// Makes the directory a store.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn finish(self) -> Result<(), StorageError> {
        self.layout.finish()?;
        mark::end_restoring(&self.layout)
    }
}

fn sync_file(path: &Path) -> Result<(), StorageError> {
    File::open(path).and_then(|file| file.sync_all()).at("sync", path)
}

/// Refuses a directory with anything in it but what an earlier restore left.
fn check(layout: &Layout) -> Result<(), BackupError> {
    let path = layout.root();
    if layout.format()?.is_some() {
        return Err(BackupError::StoreThere(path.to_owned()));
    }
    if layout.is_restoring() {
        return Ok(());
    }
    for entry in fs::read_dir(path).at("list", path)? {
        let entry = entry.at("list", path)?.file_name().to_string_lossy().into_owned();
        // What the beginning of a restore leaves when it is cut short.
        if ![LOST_AND_FOUND, "lock", "restore-unfinished.new"].contains(&entry.as_str()) {
            return Err(BackupError::NotEmpty { path: path.to_owned(), entry });
        }
    }
    Ok(())
}
