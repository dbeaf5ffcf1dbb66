//! Writing files whole, and removing them.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::{At, IoError, sync_parent};

/// Who may do what with a file or a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Its mode, whatever the umask.
    pub mode: u32,
    /// User and group that it is to belong to; none for whoever makes it.
    pub owner: Option<(u32, u32)>,
}

impl Access {
    /// This mode, for whoever makes it.
    pub const fn mode(mode: u32) -> Self {
        Self { mode, owner: None }
    }

    /// A file for its owner only.
    pub const PRIVATE: Self = Self::mode(0o600);
}

/// Opens a new, empty file that only its owner can use, for reading and writing.
///
/// # Errors
/// Trouble with the disk, and a file of that name.
pub fn create_private(path: &Path) -> Result<File, IoError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .at("create", path)?;
    file.set_permissions(Permissions::from_mode(0o600)).at("set the mode of", path)?;
    Ok(file)
}

/// Gives a file this content, durable on return. Whenever the process or the power ends, the file
/// is the old one or the new one, whole and with its access; [`unfinished`] may be left beside it.
///
/// # Errors
/// Trouble with the disk, and failures to read the content. The file is the old one then, or the
/// new one if only the last sync failed.
pub fn write_whole(path: &Path, content: &mut dyn Read, access: Access) -> Result<(), IoError> {
    let temporary = unfinished(path);
    remove(&temporary)?;
    let written = write_to(&temporary, content, access)
        .and_then(|()| fs::rename(&temporary, path).at("rename", &temporary));
    if written.is_err() {
        // It may hold a secret, and what is full becomes no emptier by it.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_parent(path)
}

/// What [`write_whole`] may leave of a file when it is cut short; the next one takes it away.
pub fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn write_to(path: &Path, content: &mut dyn Read, access: Access) -> Result<(), IoError> {
    // Private from its first moment on, and never through a link that somebody laid.
    let mut file = create_private(path)?;
    io::copy(content, &mut file).at("write", path)?;
    if let Some((user, group)) = access.owner {
        fchown(&file, Some(user), Some(group)).at("set the owner of", path)?;
    }
    file.set_permissions(Permissions::from_mode(access.mode)).at("set the mode of", path)?;
    file.sync_all().at("sync", path)
}

/// Removes a file, if it is there. Says whether it was. Its name is not synced yet.
///
/// # Errors
/// Trouble with the disk.
pub fn remove(path: &Path) -> Result<bool, IoError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        // A file system that is read-only refuses even to remove what is not there.
        Err(error) => match fs::symlink_metadata(path) {
            Err(missing) if is_absent(&missing) => Ok(false),
            _ => Err(IoError::new("remove", path, &error)),
        },
    }
}

/// Removes a file, which may be gone already, so that no power cut brings it back.
///
/// # Errors
/// Trouble with the disk.
pub fn remove_durably(path: &Path) -> Result<(), IoError> {
    remove(path)?;
    sync_parent(path)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_old_one_or_the_new_one() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.b");
        let write = |content: &mut dyn Read| write_whole(&path, content, Access::mode(0o640));
        // What a run left that was cut short is in nobody's way.
        fs::write(unfinished(&path), "half a").unwrap();
        write(&mut &b"first"[..]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(ErrorKind::TimedOut.into())
            }
        }
        let error = write(&mut b"sec".chain(Broken)).unwrap_err();
        assert_eq!((error.action, error.kind), ("write", ErrorKind::TimedOut));
        assert_eq!(fs::read(&path).unwrap(), b"first");
        let names = fs::read_dir(place.path()).unwrap().count();
        assert_eq!(names, 1, "what was written of it is gone");
    }

    #[test]
    fn what_is_not_there_need_not_be_removed() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a");
        assert_eq!(remove(&path), Ok(false));
        fs::write(&path, "").unwrap();
        assert_eq!(remove(&path.join("b")), Ok(false), "a file is no directory");
        assert_eq!(remove(&path), Ok(true));
        assert_eq!(remove(place.path()).unwrap_err().action, "remove");
    }
}
