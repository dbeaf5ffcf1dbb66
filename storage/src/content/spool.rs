//! A file without a name for what comes slowly and is short-lived: it costs no memory, and it is
//! gone with whoever has it open, also when the process is killed.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use durable::{At, IoError};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use super::upload::id::UploadId;
use crate::error::StorageError;
use crate::space::Space;

/// Bytes that were received so far of something that is to be read as a whole.
#[derive(Debug)]
pub struct Spool {
    file: File,
    directory: PathBuf,
    space: Arc<Space>,
}

impl Spool {
    /// An empty one on the disk of `directory`, which takes no more of it than uploads may.
    pub(crate) fn new(directory: &Path, space: Arc<Space>) -> Result<Self, StorageError> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = match open(directory, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => File::from(file),
            // Not every file system has files without a name.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => nameless(directory)?,
            Err(error) => {
                let error = IoError::new("create a file in", directory, &error.into());
                return Err(error.into());
            }
        };
        Ok(Self { file, directory: directory.to_owned(), space })
    }

    /// Adds pieces in their order.
    ///
    /// # Errors
    /// [`StorageError::NoRoom`] leaves it as it was; other trouble with the disk does not.
    pub fn append(&self, pieces: &[Bytes]) -> Result<(), StorageError> {
        self.space.check(pieces.iter().map(|piece| piece.len() as u64).sum())?;
        let written = pieces.iter().try_for_each(|piece| (&self.file).write_all(piece));
        Ok(written.at("write a file in", &self.directory)?)
    }

    /// All that was added.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn whole(&self) -> Result<Bytes, StorageError> {
        let read = || {
            let length = self.file.metadata()?.len();
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            self.file.read_exact_at(&mut bytes, 0)?;
            Ok::<_, std::io::Error>(Bytes::from(bytes))
        };
        Ok(read().at("read a file in", &self.directory)?)
    }
}

/// A file whose name is taken away at once. After a crash in between it is an upload that nobody
/// knows, which the next start removes.
fn nameless(directory: &Path) -> Result<File, StorageError> {
    let id = UploadId::random().at("name a file in", directory)?;
    let path = directory.join(id.to_string());
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let file = options.open(&path).at("create", &path)?;
    fs::remove_file(&path).at("remove", &path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;

    fn space(root: &Path, floor_bytes: u64) -> Arc<Space> {
        Arc::new(Space::new(&Layout::new(root), floor_bytes))
    }

    #[test]
    fn what_was_added_comes_back_and_nothing_stays() {
        let home = tempfile::tempdir().unwrap();
        let (directory, space) = (home.path().join("uploads"), space(home.path(), 0));
        fs::create_dir(&directory).unwrap();
        let make = |number| match number {
            0 => Spool::new(&directory, Arc::clone(&space)).unwrap(),
            _ => Spool {
                file: nameless(&directory).unwrap(),
                directory: directory.clone(),
                space: Arc::clone(&space),
            },
        };
        for number in 0..2 {
            let spool = make(number);
            assert_eq!(spool.whole().unwrap(), "");
            spool.append(&["one ".into(), "two ".into()]).unwrap();
            spool.append(&["three".into()]).unwrap();
            assert_eq!(spool.whole().unwrap(), "one two three");
            assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        }
    }
}
