//! Files of the host: written whole, with exactly the mode and owner that were asked for,
//! whatever the umask.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use durable::{
    Access, At, IoError, Links, ReadError, read_within, sync_parent, unfinished, write_whole,
};
use rustix::fs::access;

use crate::command;
use crate::error::InstallError;
use crate::owner::as_owner_of;
use crate::user::Ids;

/// Gives a file this content. After a crash at any moment it is the old one or the new one, whole
/// and with its mode and owner.
pub(crate) fn write(
    path: &Path,
    content: &mut dyn Read,
    mode: u32,
    owner: Ids,
) -> Result<(), InstallError> {
    write_whole(path, content, Access { mode, owner: Some((owner.uid, owner.gid)) })?;
    label(path);
    Ok(())
}

/// Makes a directory with this mode and owner in a parent that exists.
pub(crate) fn make_directory(path: &Path, mode: u32, owner: Ids) -> Result<(), InstallError> {
    if !durable::make_directory(path, Access { mode, owner: Some((owner.uid, owner.gid)) })? {
        let error = ErrorKind::AlreadyExists.into();
        return Err(IoError::new("make the directory", path, &error).into());
    }
    sync_parent(path)?;
    label(path);
    Ok(())
}

/// Sets the mode of a directory as its owner: it may be somebody else's, and no longer what it was.
pub(crate) fn set_mode(directory: &Path, mode: u32) -> Result<(), InstallError> {
    let set = || fs::set_permissions(directory, Permissions::from_mode(mode));
    let set = as_owner_of(directory, set);
    let set = set.map_err(|error| InstallError::Caller(error.to_string()))?;
    Ok(set.at("set the mode of", directory)?)
}

/// The content of a file, `None` if there is none. A link is not followed and a pipe is not waited
/// for: where others may write, they could lead to any file of the host, or to nowhere.
///
/// # Errors
/// [`InstallError::NoFile`] for what is no regular file, or larger than [`MAX_BYTES`].
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, InstallError> {
    read_up_to(path, MAX_BYTES)
}

/// The same of what is no larger than a key or a certificate, in a directory of somebody else.
pub(crate) fn read_small(path: &Path) -> Result<Option<Vec<u8>>, InstallError> {
    read_up_to(path, MAX_SMALL_BYTES)
}

fn read_up_to(path: &Path, most_bytes: u64) -> Result<Option<Vec<u8>>, InstallError> {
    read_within(path, most_bytes, Links::Refuse).map_err(|error| match error {
        ReadError::Io(error) => error.into(),
        ReadError::NotRegular(path) | ReadError::TooLarge { path, .. } => {
            InstallError::NoFile(path)
        }
    })
}

/// Refuses a directory in which nothing can be written; one that is not there yet is where the
/// nearest one above it is.
pub(crate) fn check_writable(path: &Path) -> Result<(), InstallError> {
    let there = path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    match access(there, rustix::fs::Access::WRITE_OK) {
        Ok(()) => Ok(()),
        Err(_) => Err(InstallError::ReadOnly(there.to_owned())),
    }
}

/// Whether there is a file with exactly this mode and owner.
pub(crate) fn has(path: &Path, mode: u32, owner: Option<Ids>) -> Result<bool, InstallError> {
    let Some(metadata) = metadata(path)? else { return Ok(false) };
    let ids = Ids { uid: metadata.uid(), gid: metadata.gid() };
    Ok(metadata.is_file() && metadata.mode() & 0o7777 == mode && owner == Some(ids))
}

/// What the system says of a path itself, without following a link; `None` if it is not there.
pub(crate) fn metadata(path: &Path) -> Result<Option<fs::Metadata>, InstallError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(IoError::new("look at", path, &error).into()),
    }
}

/// Removes a file, if it is there, durably.
pub(crate) fn remove(path: &Path) -> Result<(), InstallError> {
    if durable::remove(path)? {
        sync_parent(path)?;
    }
    Ok(())
}

/// Removes a file and what [`write`] leaves beside it when it is cut short.
pub(crate) fn discard(path: &Path) -> Result<(), InstallError> {
    remove(&unfinished(path))?;
    remove(path)
}

/// Removes a directory if it is there and empty. Says whether it is gone.
pub(crate) fn remove_directory(path: &Path) -> Result<bool, InstallError> {
    match fs::remove_dir(path) {
        Ok(()) => {
            sync_parent(path)?;
            Ok(true)
        }
        Err(error) if is_absent(&error) => Ok(true),
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(false),
        Err(error) => Err(IoError::new("remove", path, &error).into()),
    }
}

/// Removes everything in a directory, if it is there, but for what a file system keeps at its
/// root.
pub(crate) fn empty(path: &Path) -> Result<(), InstallError> {
    for entry in entries(path)? {
        let is_directory = metadata(&entry)?.is_some_and(|metadata| metadata.is_dir());
        let removed =
            if is_directory { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
        removed.at("remove", &entry)?;
    }
    Ok(())
}

/// What is in a directory, but for what a file system keeps at its root; nothing if it is not
/// there.
pub(crate) fn entries(path: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let listed = match fs::read_dir(path) {
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        listed => listed.and_then(Iterator::collect::<io::Result<Vec<_>>>).at("list", path)?,
    };
    let paths = listed.into_iter().map(|entry| entry.path());
    Ok(paths.filter(|path| !path.ends_with("lost+found")).collect())
}

/// Keeps what a file is now under another name beside it, until [`restore`] or [`remove`]. The
/// name is new; the bytes are not copied.
pub(crate) fn keep(path: &Path) -> Result<(), InstallError> {
    let kept = before(path);
    remove(&kept)?;
    fs::hard_link(path, &kept).at("keep", path)?;
    Ok(sync_parent(path)?)
}

/// Gives a file back what [`keep`] kept; if nothing is kept, nothing was changed. What [`write`]
/// leaves beside it when it is cut short goes.
pub(crate) fn restore(path: &Path) -> Result<(), InstallError> {
    remove(&unfinished(path))?;
    let kept = before(path);
    if metadata(&kept)?.is_none() {
        return Ok(());
    }
    fs::rename(&kept, path).at("restore", path)?;
    Ok(sync_parent(path)?)
}

/// Where a file is kept while another takes its place.
pub(crate) fn before(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.before-install"))
}

/// Gives a path the SELinux type that the host's policy has for it. Where there is no SELinux
/// there is no such program; where the file system knows no labels it fails, and none are needed.
fn label(path: &Path) {
    if let Some(path) = path.to_str().filter(|_| command::exists(RESTORECON)) {
        let _ = command::run(RESTORECON, &[path]);
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// What a mode lets others do who open a directory, which lets them lock it, or change it.
pub(crate) const OPENING: u32 = 0o066;
/// The largest file that is read, in bytes: several times this program.
const MAX_BYTES: u64 = 256 << 20;
/// The largest key or certificate that is read, in bytes.
const MAX_SMALL_BYTES: u64 = 1 << 20;
const RESTORECON: &str = "restorecon";
