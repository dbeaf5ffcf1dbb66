//! The directory that an export is written to, or the pipe.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::bail;
use archive::bundle::{OpenBlob, SyncedFile, Volume, WriteError, write_directory, write_tar};
use durable::{At, DiskSpace, IoError, Links, open_regular, remove, sync_directory, sync_parent};

use super::names::{BLOBS, PART, VOLUME, is_of_export};
use crate::backup::lies_inside;
use crate::text::format::bytes;

/// A directory that is being filled.
///
/// Crash argument: a file in it says that what is there is not whole. It is durable before anything
/// else is written, and goes after everything is; and each archive has its name when it is whole.
/// So what a run leaves that is cut short is told from a bundle, and the next run may take it away
/// or go on with it: it is an export's, whatever became of the names in it.
///
/// The file is locked as long as an export is at work, so that no two write to one directory; and
/// it is the same one at the end, or the disk was changed for another on the way.
pub(super) struct Destination {
    root: PathBuf,
    mark: File,
    /// Whether an export that was cut short left something.
    is_resumed: bool,
}

impl Destination {
    /// Checks that a directory may be filled: that it is empty, or holds what an export left that
    /// was cut short, or can be made. Nothing is changed.
    pub(super) fn check(root: &Path, data: &Path) -> anyhow::Result<()> {
        if lies_inside(root, data)? {
            bail!(
                "{} lies inside the registry's own data in {}: choose a directory elsewhere",
                root.display(),
                data.display()
            );
        }
        if !root.exists() {
            let above = root.parent().filter(|above| !above.as_os_str().is_empty());
            return match above.is_none_or(Path::is_dir) {
                true => Ok(()),
                false => bail!(
                    "{} is not there, and neither is the directory above it: is the disk mounted?",
                    root.display()
                ),
            };
        }
        if is_unfinished(root) { Ok(()) } else { check_empty(root) }
    }

    /// Takes such a directory, and makes it if it is not there.
    pub(super) fn take(root: &Path, data: &Path) -> anyhow::Result<Self> {
        Self::check(root, data)?;
        match fs::create_dir(root) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => {
                made.at("make the directory", root)?;
                sync_parent(root)?;
            }
        }
        let path = root.join(UNFINISHED);
        let found = open_regular(&path, Links::Refuse)?;
        let is_resumed = found.is_some();
        let mark = found.map_or_else(|| create(&path), Ok)?;
        let destination = Self { root: root.to_owned(), mark, is_resumed };
        // Some file systems know no locks.
        let is_locked = matches!(destination.mark.try_lock(), Err(TryLockError::WouldBlock));
        // Another may have come to its end since it was opened.
        if is_locked || !destination.is_same().at("look at", &path)? {
            bail!(
                "another export is writing to {}: wait for its end, or choose another directory",
                root.display()
            );
        }
        if !is_resumed {
            (&destination.mark).write_all(WARNING.as_bytes()).at("write", &path)?;
            destination.mark.sync_all().at("sync", &path)?;
            sync_directory(root)?;
        }
        Ok(destination)
    }

    /// Whether the mark of this run still lies where it was laid.
    fn is_same(&self) -> io::Result<bool> {
        let own = self.mark.metadata()?;
        match self.root.join(UNFINISHED).symlink_metadata() {
            Ok(found) => Ok((found.dev(), found.ino()) == (own.dev(), own.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes what an export left that was cut short, but for what has one of these names, or
    /// belongs to a layout that is to be written to the directory itself.
    pub(super) fn clear(&self, names: &[String], is_layout: bool) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.root).at("list", &self.root)? {
            let entry = entry.at("list", &self.root)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let stays = names.contains(&name) || (is_layout && name == BLOBS);
            if stays || !is_of_export(&name) {
                continue;
            }
            let path = entry.path();
            match entry.file_type().at("look at", &path)?.is_dir() {
                true => fs::remove_dir_all(&path).at("remove", &path)?,
                false => drop(remove(&path)?),
            }
        }
        Ok(())
    }

    /// Refuses to begin what the disk has no space for. What is there already of an earlier run may
    /// be part of it, and is not counted: then the disk itself says so.
    pub(super) fn check_space(&self, needed: u64) -> anyhow::Result<()> {
        let free = DiskSpace::of(&self.root)?.free_bytes;
        if self.is_resumed || free >= needed {
            return Ok(());
        }
        // Nobody is to find a directory that says it holds half an export.
        remove(&self.root.join(UNFINISHED))?;
        bail!(
            "there is no space in {}: {} are needed and {} are free; free some, choose another \
             disk, or export less at once",
            self.root.display(),
            bytes(needed),
            bytes(free)
        )
    }

    /// Writes a volume as a directory: this one, if it has no name of its own.
    pub(super) fn directory(
        &self,
        name: Option<&str>,
        volume: &Volume,
        open: OpenBlob<'_>,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<(), WriteError> {
        let root = name.map_or_else(|| self.root.clone(), |name| self.root.join(name));
        if name.is_some() {
            match fs::create_dir(&root) {
                // A link could lead to somebody's files.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && is_directory(&root) => {}
                made => made.at("make the directory", &root)?,
            }
            sync_directory(&self.root)?;
        }
        write_directory(&root, volume, open, on_bytes)
    }

    /// Writes a volume as an archive.
    pub(super) fn archive(
        &self,
        name: &str,
        volume: &Volume,
        open: OpenBlob<'_>,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<(), WriteError> {
        let (path, part) = (self.root.join(name), self.root.join(format!("{name}{PART}")));
        remove(&part)?;
        let mut out = BufWriter::with_capacity(PIECE_BYTES, SyncedFile::new(create(&part)?));
        let written = write_tar(&mut out, &part, volume, open, on_bytes).and_then(|()| {
            synced(out).at("sync", &part)?;
            fs::rename(&part, &path).at("rename", &part)?;
            Ok(sync_directory(&self.root)?)
        });
        if written.is_err() {
            // What is full becomes no emptier by it.
            let _ = fs::remove_file(&part);
        }
        written
    }

    /// Says that all is there.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        if !self.is_same().at("look at", &self.root)? {
            bail!(
                "{} is not what it was when this export began, so the bundle is not whole: was \
                 the disk changed? Mount the first one again and type the same again",
                self.root.display()
            );
        }
        sync_directory(&self.root)?;
        remove(&self.root.join(UNFINISHED))?;
        Ok(sync_directory(&self.root)?)
    }
}

/// Writes a volume to a pipe.
pub(super) fn to_pipe(
    pipe: File,
    volume: &Volume,
    open: OpenBlob<'_>,
    on_bytes: &mut dyn FnMut(u64),
) -> Result<(), WriteError> {
    let path = Path::new("the pipe");
    // It is a file where somebody typed >, and a pipe has nothing to be synced.
    match pipe.metadata().at("look at", path)?.is_file() {
        false => {
            let mut out = BufWriter::with_capacity(PIECE_BYTES, pipe);
            write_tar(&mut out, path, volume, open, on_bytes)
        }
        true => {
            let mut out = BufWriter::with_capacity(PIECE_BYTES, SyncedFile::new(pipe));
            write_tar(&mut out, path, volume, open, on_bytes)?;
            Ok(synced(out).at("sync", path)?)
        }
    }
}

/// Writes and syncs what is left.
fn synced(out: BufWriter<SyncedFile>) -> io::Result<()> {
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync()
}

/// Whether an export into a directory was cut short.
fn is_unfinished(root: &Path) -> bool {
    root.join(UNFINISHED).symlink_metadata().is_ok_and(|found| found.is_file())
}

fn is_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

fn check_empty(root: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(root).at("list", root)? {
        let name = entry.at("list", root)?.file_name().to_string_lossy().into_owned();
        if OF_FILE_SYSTEMS.contains(&name.as_str()) {
            continue;
        }
        let what = if is_of_export(&name) { "holds a bundle already" } else { "is not empty" };
        bail!(
            "{} {what}, and an export overwrites nothing: choose another directory, such as {}",
            root.display(),
            root.join(VOLUME).display()
        );
    }
    Ok(())
}

/// Makes a new file as any program does: the umask says who reads it. A mode of its own is nothing
/// that the file system of a stick could keep.
fn create(path: &Path) -> Result<File, IoError> {
    OpenOptions::new().write(true).create_new(true).open(path).at("create", path)
}

/// What says that a directory is not whole.
const UNFINISHED: &str = "registry-bundle.unfinished";
/// What it tells people.
const WARNING: &str = "This export is not whole: it is still being written, or was cut short. The \
                       same `registry export` again makes it whole.\n";
/// What lies in every file system of some kinds, and is nobody's.
const OF_FILE_SYSTEMS: [&str; 2] = ["lost+found", "System Volume Information"];
/// What is written at once, in bytes.
const PIECE_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_exports_write_to_one_directory() {
        let (data, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let take = || Destination::take(place.path(), data.path());
        let refused = |taken: anyhow::Result<Destination>| {
            taken.map(|_| ()).unwrap_err().to_string().contains("another export is writing to")
        };
        let first = take().unwrap();
        assert!(refused(take()));
        first.finish().unwrap();
        assert!(!place.path().join(UNFINISHED).exists());
        // One that was cut short is gone on with.
        drop(take().unwrap());
        assert!(take().unwrap().is_resumed);
    }

    #[test]
    fn a_disk_that_was_changed_for_another_holds_no_whole_bundle() {
        let (data, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = place.path().join("root");
        for is_marked in [false, true] {
            let taken = Destination::take(&root, data.path()).unwrap();
            fs::rename(&root, place.path().join(format!("first-{is_marked}"))).unwrap();
            fs::create_dir(&root).unwrap();
            if is_marked {
                fs::write(root.join(UNFINISHED), WARNING).unwrap();
            }
            let said = taken.finish().unwrap_err().to_string();
            assert!(said.contains("was the disk changed?"), "{said}");
            assert_eq!(root.join(UNFINISHED).exists(), is_marked);
            fs::remove_dir_all(&root).unwrap();
        }
    }
}
