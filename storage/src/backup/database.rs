//! The files of a database that nobody writes to, opened, as they go from one side to the other.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use durable::{At, Links, create_private, open_regular, remove};

use crate::error::{StorageError, Trouble};

/// A database, and its log, if not all of it is in the database.
#[derive(Debug)]
pub struct DatabaseFiles {
    database: Announced,
    log: Option<Announced>,
}

/// A file, and how long it was when it was opened, and when it was written last. Whoever owns it
/// may write to it meanwhile: then it is not taken, and no more of it is copied than was
/// announced, for which there is room.
#[derive(Debug)]
struct Announced {
    file: File,
    length: u64,
    written: (i64, i64),
}

impl DatabaseFiles {
    /// Opens the files at these paths. A log that is empty or not there is none.
    ///
    /// # Errors
    /// [`Trouble::Damaged`] if one is no regular file or the database is not there, else
    /// trouble with the disk.
    pub fn open(database: &Path, log: &Path) -> Result<Self, StorageError> {
        let Some(opened) = Announced::open(database)? else {
            let what = "it is missing".to_owned();
            return Err(StorageError::Failed(Trouble::Damaged { path: database.to_owned(), what }));
        };
        let log = Announced::open(log)?.filter(|log| log.length > 0);
        Ok(Self { database: opened, log })
    }

    /// The bytes of all of it.
    pub fn bytes(&self) -> u64 {
        let log = self.log.as_ref().map_or(0, |log| log.length);
        self.database.length.saturating_add(log)
    }

    /// Whether a log belongs to the database.
    pub(super) fn has_log(&self) -> bool {
        self.log.is_some()
    }

    /// Copies the database, durably but for its name.
    pub(super) fn copy_database(&self, to: &Path) -> Result<(), StorageError> {
        self.database.copy(to)
    }

    /// Copies the log, if there is one, durably but for its name.
    pub(super) fn copy_log(&self, to: &Path) -> Result<(), StorageError> {
        self.log.as_ref().map_or(Ok(()), |log| log.copy(to))
    }
}

impl Announced {
    fn open(path: &Path) -> Result<Option<Self>, StorageError> {
        let Some(file) = open_regular(path, Links::Refuse)? else { return Ok(None) };
        let found = file.metadata().at("look at", path)?;
        Ok(Some(Self { file, length: found.len(), written: written(&found) }))
    }

    fn copy(&self, to: &Path) -> Result<(), StorageError> {
        remove(to)?;
        let mut file = create_private(to)?;
        let mut from = (&self.file).take(self.length.saturating_add(1));
        let copied = io::copy(&mut from, &mut file).at("write", to)?;
        let is_same = written(&self.file.metadata().at("look at", to)?) == self.written;
        if copied != self.length || !is_same {
            remove(to)?;
            let what = "it changed while it was copied".to_owned();
            return Err(StorageError::Failed(Trouble::Damaged { path: to.to_owned(), what }));
        }
        Ok(file.sync_all().at("sync", to)?)
    }
}

/// When a file was written last.
fn written(found: &Metadata) -> (i64, i64) {
    (found.mtime(), found.mtime_nsec())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn what_is_written_after_it_was_announced_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for content in [Some(&b"longer"[..]), Some(b"less"), Some(b"other"), None] {
            fs::write(path("db"), b"whole").unwrap();
            let files = DatabaseFiles::open(&path("db"), &path("none")).unwrap();
            assert_eq!((files.bytes(), files.has_log()), (5, false));
            if let Some(content) = content {
                fs::write(path("db"), content).unwrap();
                // Not within the same tick of the kernel.
                let file = File::options().append(true).open(path("db")).unwrap();
                file.set_modified(SystemTime::now() + Duration::from_secs(1)).unwrap();
            }
            let to = path("copy");
            let what = "it changed while it was copied".to_owned();
            let expected = match content {
                None => Ok(()),
                Some(_) => Err(StorageError::Failed(Trouble::Damaged { path: to.clone(), what })),
            };
            assert_eq!(files.copy_database(&to), expected);
            assert_eq!(to.exists(), expected.is_ok());
        }
    }
}
