//! The directory that a backup goes to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::content::{self, Blobs};
use super::mark::Mark;
use super::{BackupError, read_directory};
use crate::db::unix_now;
use crate::digest::{Algorithm, Digest};
use crate::durable::{make_directory, remove, sync_directory, sync_parent, write_whole};
use crate::error::{IoContext, StorageError};
use crate::layout::{FORMAT, LOST_AND_FOUND, Layout};
use crate::lock::{OnHeld, StoreLock};

/// Small files by their names.
pub type SmallFiles = BTreeMap<String, Vec<u8>>;

/// A directory that becomes, or is, the backup of one store. Nobody else writes there meanwhile.
///
/// Crash argument: a backup that is cut short leaves the one before as it was, or, for the moments
/// in which that cannot be, none that passes for one.
///
/// 1. Blobs that are new get their names; those of the backup before stay, and no blob ever
///    changes. The database of the backup before names none of the new ones.
/// 2. The new database is written and synced under another name, and takes the place of the old
///    one by a rename: either of them finds all its blobs.
/// 3. Certificates and keys are several files that must fit each other, and the log of a database
///    belongs to that database alone. When either has to change, FORMAT goes before and comes back
///    last, and without FORMAT there is no backup. Both are rare: certificates last a year, and a
///    log is there only when somebody opened the backup as a registry and was cut short.
/// 4. Only then do the blobs go that the new database does not name.
#[derive(Debug)]
pub struct Target {
    layout: Layout,
    blobs: Blobs,
    mark: Mark,
    _lock: StoreLock,
}

impl Target {
    /// Takes a directory for the backup of the store with this identity. It may be missing, empty,
    /// or hold earlier backups of the same store.
    ///
    /// # Errors
    /// [`BackupError::Foreign`], [`BackupError::Store`], [`BackupError::Other`],
    /// [`BackupError::DamagedMark`] and [`BackupError::NotYours`] before anything was written;
    /// else trouble with the disk.
    pub fn open(directory: &Path, identity: &str) -> Result<Self, BackupError> {
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
        check(&layout, identity)?;
        fs::set_permissions(directory, Permissions::from_mode(0o700))
            .at("set the mode of", directory)?;
        let lock = StoreLock::acquire(&layout.lock(), &|_| OnHeld::GiveUp)?;
        // Whoever held the lock until now may have served it.
        let mark = match check(&layout, identity)? {
            Some(mark) => mark,
            None => {
                let mark = Mark { identity: identity.to_owned(), made_at: None };
                mark.write(&layout)?;
                mark
            }
        };
        let blobs = Blobs::of(&layout)?;
        Ok(Self { layout, blobs, mark, _lock: lock })
    }

    /// Its blobs.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Writes the files of the host that lie outside of the store; their names are paths without
    /// the first slash.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn place_outside(&self, files: &SmallFiles) -> Result<(), StorageError> {
        let root = self.layout.root();
        for (name, content) in files {
            let path = root.join(name);
            let inside = Path::new(name).ancestors().skip(1).collect::<Vec<_>>();
            for directory in inside.into_iter().rev().filter(|path| !path.as_os_str().is_empty()) {
                let directory = root.join(directory);
                make_directory(&directory, 0o700)?;
                sync_parent(&directory)?;
            }
            place_file(&path, content)?;
            sync_parent(&path)?;
        }
        Ok(())
    }

    /// Puts the database, certificates and keys, and the first password in place. All blobs that
    /// the database names are here and durable by now. The crash argument is that of the type.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn place(
        &mut self,
        database: &File,
        tls: &SmallFiles,
        init_password: Option<&[u8]>,
    ) -> Result<(), StorageError> {
        let (root, to) = (self.layout.root(), self.layout.database());
        let new = to.with_extension("db.new");
        content::copy_file(database, &new)?;
        // Whoever serves the backup as it is answers for what is here.
        self.blobs.note_lost(&new)?;
        let logs = self.layout.database_logs();
        let is_tls_same = read_directory(&self.layout.tls())? == *tls;
        if !is_tls_same || logs.iter().any(|path| path.exists()) {
            self.layout.unfinish()?;
        }
        for path in &logs {
            remove(path)?;
        }
        self.place_tls(tls)?;
        sync_directory(root)?;
        fs::rename(&new, &to).at("rename", &new)?;
        match init_password {
            Some(content) => write_whole(&self.layout.init_password(), content)?,
            None => drop(remove(&self.layout.init_password())?),
        }
        sync_directory(root)?;
        if self.layout.format()? != Some(FORMAT) {
            self.layout.finish()?;
        }
        self.mark.made_at = Some(unix_now());
        self.mark.write(&self.layout)
    }

    /// Removes everything from one directory below `blobs/` but these, once the database that
    /// names them is in place. Says how many blobs went.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn keep_only(
        &self,
        algorithm: Algorithm,
        prefix: u8,
        named: &[Digest],
    ) -> Result<u64, StorageError> {
        let directory = self.layout.shard(algorithm, prefix);
        let named: BTreeSet<String> = named.iter().map(Digest::hex).collect();
        let mut count = 0;
        for entry in fs::read_dir(&directory).at("list", &directory)? {
            let entry = entry.at("list", &directory)?;
            if !named.contains(&*entry.file_name().to_string_lossy()) {
                count += u64::from(remove(&entry.path())?);
            }
        }
        Ok(count)
    }

    fn place_tls(&self, tls: &SmallFiles) -> Result<(), StorageError> {
        let directory = self.layout.tls();
        make_directory(&directory, 0o700)?;
        for name in read_directory(&directory)?.keys().filter(|name| !tls.contains_key(*name)) {
            remove(&directory.join(name))?;
        }
        for (name, content) in tls {
            place_file(&directory.join(name), content)?;
        }
        // Also where nothing is new: a backup that was cut short may not have come to that.
        sync_directory(&directory)
    }
}

/// Writes a small file, unless it is there and the same.
fn place_file(path: &Path, content: &[u8]) -> Result<(), StorageError> {
    match super::read_small(path)?.as_deref() == Some(content) {
        true => Ok(()),
        false => write_whole(path, content),
    }
}

/// The mark of a directory that may be used; none if it is empty.
fn check(layout: &Layout, identity: &str) -> Result<Option<Mark>, BackupError> {
    let path = layout.root();
    let mark = Mark::read(layout).map_err(|error| match error {
        StorageError::Damaged { what, .. } => {
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
