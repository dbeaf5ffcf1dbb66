//! The directory that a backup is to go to, before anything in it changes.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use durable::{At, sync_parent};

use super::BackupError;
use super::content::Blobs;
use super::filling::Filling;
use super::generation::{FoundBackup, Generation};
use super::mark::{LastRun, Mark};
use crate::clock::wall_seconds;
use crate::error::{StorageError, Trouble};
use crate::in_memory::lock::{OnHeld, StoreLock};
use crate::layout::{LOST_AND_FOUND, Layout};

/// A directory that becomes, or is, the backup of one store. Nobody else writes there meanwhile.
#[derive(Debug)]
pub struct Target {
    layout: Layout,
    identity: String,
    mark: Option<Mark>,
    lock: StoreLock,
}

impl Target {
    /// Takes a directory for the backup of the store with this identity. It may be missing, empty,
    /// or hold earlier backups of the same store.
    ///
    /// # Errors
    /// [`BackupError::Foreign`], [`BackupError::Store`], [`BackupError::Other`],
    /// [`BackupError::DamagedMark`] and [`BackupError::NotYours`] before anything was written;
    /// else trouble with the disk.
    pub fn open(directory: &Path, identity: String) -> Result<Self, BackupError> {
        let layout = Layout::new(directory);
        match fs::DirBuilder::new().mode(0o700).create(directory) {
            Ok(()) => sync_parent(directory)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => Err(error).at("make the directory", directory)?,
        }
        let owner = fs::metadata(directory).at("look at", directory)?.uid();
        if owner != rustix::process::geteuid().as_raw() {
            return Err(BackupError::NotYours { path: directory.to_owned(), owner });
        }
        check(&layout, &identity)?;
        fs::set_permissions(directory, Permissions::from_mode(0o700))
            .at("set the mode of", directory)?;
        let lock = StoreLock::acquire(&layout.lock(), &|_| OnHeld::GiveUp)?;
        // Whoever held the lock until now may have served it.
        let mark = check(&layout, &identity)?;
        Ok(Self { layout, identity, mark, lock })
    }

    /// What the store must know to go on with the backup that is there.
    pub fn found(&self) -> FoundBackup {
        match &self.mark {
            None => FoundBackup::Free,
            Some(Mark { last: None, .. }) => FoundBackup::Unmarked,
            Some(Mark { last: Some(last), .. }) => FoundBackup::Last(last.generation),
        }
    }

    /// The last run that wrote there, if it said so.
    pub fn last_run(&self) -> Option<&LastRun> {
        self.mark.as_ref()?.last.as_ref()
    }

    /// When the newest whole backup was made, in seconds since 1970.
    pub fn made_at(&self) -> Option<i64> {
        self.mark.as_ref()?.made_at
    }

    /// Begins to fill it: the run of this generation, which the store knows by now unless its disk
    /// is read-only, wrote there last. `of` says whose backup it is, for people.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn begin(
        self,
        generation: Generation,
        of: String,
        is_read_only: bool,
    ) -> Result<Filling, StorageError> {
        let made_at = self.made_at();
        let (begun_at, was_read_only) = (wall_seconds(), is_read_only);
        let last = Some(LastRun { generation, begun_at, of, was_read_only });
        let mark = Mark { identity: self.identity, made_at, last };
        mark.write(&self.layout)?;
        let blobs = Blobs::of(&self.layout)?;
        Ok(Filling::new(self.layout, blobs, mark, self.lock))
    }
}

/// The mark of a directory that may be used; none if it is empty.
fn check(layout: &Layout, identity: &str) -> Result<Option<Mark>, BackupError> {
    let path = layout.root();
    let mark = Mark::read(layout).map_err(|error| match error {
        StorageError::Failed(Trouble::Damaged { what, .. }) => {
            BackupError::DamagedMark { path: path.to_owned(), what }
        }
        error => error.into(),
    });
    match mark? {
        Some(mark) if mark.identity == identity => return Ok(Some(mark)),
        Some(_) => return Err(BackupError::Other(path.to_owned())),
        None => {}
    }
    if layout.format()?.is_some() {
        return Err(BackupError::Store(path.to_owned()));
    }
    for entry in fs::read_dir(path).at("list", path)? {
        let entry = entry.at("list", path)?.file_name().to_string_lossy().into_owned();
        // What the making of the mark leaves when it is cut short.
        if ![LOST_AND_FOUND, "lock", "backup.new"].contains(&entry.as_str()) {
            return Err(BackupError::Foreign { path: path.to_owned(), entry });
        }
    }
    Ok(None)
}
