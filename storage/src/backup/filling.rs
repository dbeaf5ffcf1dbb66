//! The directory of a backup while it is filled.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use durable::{Access, At, make_directory, remove, sync_directory, sync_parent, write_whole};
use oci::{Algorithm, Digest};

use super::content::Blobs;
use super::database::DatabaseFiles;
use super::mark::Mark;
use super::{SmallFiles, read_directory, read_small};
use crate::clock::wall_seconds;
use crate::content::Content;
use crate::error::StorageError;
use crate::in_memory::lock::StoreLock;
use crate::layout::{FORMAT, Layout};

/// A directory that is filled with the backup of one store.
///
/// Crash argument: a backup that is cut short leaves the one before as it was, or, for the moments
/// in which that cannot be, none that passes for one. Who may go on with it is argued in
/// [`super::generation`].
///
/// 1. Blobs that are new get their names; those of the backup before stay, and no blob ever
///    changes. The database of the backup before names none of the new ones.
/// 2. The new database is written and synced under another name, and takes the place of the old
///    one by a rename: either of them finds all its blobs.
/// 3. Certificates and keys are several files that must fit each other, and the log of a database
///    belongs to that database alone. When either has to change, FORMAT goes before and comes back
///    last, and without FORMAT there is no backup. Both are rare: certificates last a year, and a
///    log is there only when somebody opened the backup as a registry and was cut short, or when
///    the registry's disk was read-only or had no room to move it into the database. And it is
///    short: a log is copied under another name before.
/// 4. Only then do the blobs go that the new database does not name.
#[derive(Debug)]
pub struct Filling {
    layout: Layout,
    blobs: Blobs,
    mark: Mark,
    _lock: StoreLock,
}

impl Filling {
    /// A directory whose mark says that this run writes there.
    pub(super) fn new(layout: Layout, blobs: Blobs, mark: Mark, lock: StoreLock) -> Self {
        Self { layout, blobs, mark, _lock: lock }
    }

    /// Its blobs.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Writes the files of the host that lie outside of the store, by their names from
    /// [`super::name_in_backup`].
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
                make_directory(&directory, Access::mode(0o700))?;
                sync_parent(&directory)?;
            }
            place_file(&path, content)?;
            sync_parent(&path)?;
        }
        Ok(())
    }

    /// Puts the database with its log, certificates and keys, and the first password in place. All
    /// blobs that the database names are here and durable by now. The crash argument is that of the
    /// type.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn place(
        &mut self,
        database: &DatabaseFiles,
        tls: &SmallFiles,
        init_password: Option<&[u8]>,
    ) -> Result<(), StorageError> {
        let (root, to) = (self.layout.root(), self.layout.database());
        let (new, new_log) = (to.with_extension("db.new"), to.with_extension("wal.new"));
        database.copy_database(&new)?;
        remove(&new_log)?;
        database.copy_log(&new_log)?;
        let logs = self.layout.database_logs();
        let is_tls_same = read_directory(&self.layout.tls())? == *tls;
        if !is_tls_same || database.has_log() || logs.iter().any(|path| path.exists()) {
            self.layout.unfinish()?;
        }
        for path in &logs {
            remove(path)?;
        }
        if database.has_log() {
            fs::rename(&new_log, self.layout.database_log()).at("rename", &new_log)?;
        }
        self.place_tls(tls)?;
        sync_directory(root)?;
        fs::rename(&new, &to).at("rename", &new)?;
        match init_password {
            Some(content) => {
                write_whole(&self.layout.init_password(), &mut &content[..], Access::PRIVATE)?;
            }
            None => drop(remove(&self.layout.init_password())?),
        }
        sync_directory(root)?;
        if self.layout.format()? != Some(FORMAT) {
            self.layout.finish()?;
        }
        self.mark.made_at = Some(wall_seconds());
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
        let content = Content::new(&self.layout);
        let named: BTreeSet<&Digest> = named.iter().collect();
        let listing = content.list(algorithm, prefix)?;
        let mut count = 0;
        for digest in listing.blobs.iter().filter(|digest| !named.contains(digest)) {
            count += u64::from(content.remove(digest)?);
        }
        for path in listing.foreign {
            count += u64::from(remove(&path)?);
        }
        Ok(count)
    }

    fn place_tls(&self, tls: &SmallFiles) -> Result<(), StorageError> {
        let directory = self.layout.tls();
        make_directory(&directory, Access::mode(0o700))?;
        for name in read_directory(&directory)?.keys().filter(|name| !tls.contains_key(*name)) {
            remove(&directory.join(name))?;
        }
        for (name, content) in tls {
            place_file(&directory.join(name), content)?;
        }
        // Also where nothing is new: a backup that was cut short may not have come to that.
        Ok(sync_directory(&directory)?)
    }
}

/// Writes a small file, unless it is there and the same.
fn place_file(path: &Path, content: &[u8]) -> Result<(), StorageError> {
    match read_small(path)?.as_deref() == Some(content) {
        true => Ok(()),
        false => Ok(write_whole(path, &mut &content[..], Access::PRIVATE)?),
    }
}
