//! The directory that becomes a store again.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::Path;

use durable::{Access, At, make_directory, remove, sync_directory, write_whole};
use oci::Digest;

use super::content::{self, Blobs};
use super::{BackupError, DatabaseFiles, SmallFiles, mark};
use crate::db::copy::{self, BlobIndex};
use crate::error::{OpenError, StorageError};
use crate::in_memory::lock::{OnHeld, StoreLock};
use crate::layout::{LOST_AND_FOUND, Layout};

/// A directory into which a backup is restored. Its caller runs as its owner.
///
/// Crash argument: FORMAT is written last, and until then `restore-unfinished` lies in the
/// directory, so that nothing takes it for a store or for a first start that was cut short. What
/// is there when the restore is run again has its name because it is whole, and is kept.
#[derive(Debug)]
pub struct Restoring {
    layout: Layout,
    blobs: Blobs,
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
        let blobs = Blobs::of(&layout)?;
        Ok(Self { layout, blobs, _lock: lock })
    }

    /// Its blobs.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Puts the database, its log, certificates and keys, and the first password in place, once
    /// all blobs are. Tells which blobs the database names and a repository holds, but are not
    /// there: they are lost, and no manifest that needs them is answered until they are pushed
    /// again. Those that are there are not lost, whatever the registry thought that was backed up.
    ///
    /// The store goes on with no backup by itself, also not with this one: the registry that wrote
    /// it may live on.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn place(
        &self,
        database: &DatabaseFiles,
        tls: &SmallFiles,
        init_password: Option<&[u8]>,
    ) -> Result<Vec<Digest>, OpenError> {
        let root = self.layout.root();
        for path in self.layout.database_logs() {
            remove(&path)?;
        }
        let path = self.layout.database();
        database.copy_database(&path)?;
        database.copy_log(&self.layout.database_log())?;
        // A backup with a log, or that a command looked into, needs a file beside it to be read.
        copy::settle(&path)?;
        copy::check_copy(&path, &mut || ControlFlow::Continue(()))?;
        let index = BlobIndex::open(&path)?;
        let missing =
            content::missing(&self.layout, |algorithm, prefix| index.shard(algorithm, prefix))?;
        drop(index);
        copy::begin_anew(&self.layout, &missing)?;
        File::open(&path).and_then(|file| file.sync_all()).at("sync", &path)?;
        // Everybody may read the CA there.
        make_directory(&self.layout.tls(), Access::mode(0o755))?;
        for (name, content) in tls {
            write_whole(&self.layout.tls().join(name), &mut &content[..], Access::PRIVATE)?;
        }
        if let Some(content) = init_password {
            write_whole(&self.layout.init_password(), &mut &content[..], Access::PRIVATE)?;
        }
        sync_directory(root)?;
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
