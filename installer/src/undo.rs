//! Undoing the steps of an installation, from what was entered before each of them.
//!
//! Every entry can be undone when its step was taken whole, in part or not at all, and again.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use durable::{At, IoError};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, chownat, openat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use serde::{Deserialize, Serialize};

use crate::error::InstallError;
use crate::file;
use crate::owner::as_owner_of;
use crate::systemd;
use crate::user::{self, Ids};

/// What undoes a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "undo", rename_all = "kebab-case")]
pub enum Undo {
    /// Removes a user.
    User {
        /// Its name.
        name: String,
        /// The number of the group of the same name, if that was there before.
        group: Option<u32>,
    },
    /// Removes a directory.
    Directory {
        /// Where.
        path: PathBuf,
    },
    /// Removes everything in a directory.
    Content {
        /// The directory.
        path: PathBuf,
    },
    /// Gives a directory and what is in it back.
    Give {
        /// The directory.
        path: PathBuf,
        /// Whose it was.
        uid: u32,
        /// The group's number.
        gid: u32,
    },
    /// Gives a directory its mode back.
    Mode {
        /// The directory.
        path: PathBuf,
        /// What it was.
        mode: u32,
    },
    /// Removes a file.
    File {
        /// Where.
        path: PathBuf,
    },
    /// Gives a file back what was kept of it.
    Kept {
        /// Where.
        path: PathBuf,
        /// The directory of somebody else that it is in; then its owner does it.
        inside: Option<PathBuf>,
    },
    /// Moves a file back.
    Move {
        /// The directory of somebody else that it was in.
        inside: PathBuf,
        /// Where it was.
        from: PathBuf,
        /// Where it went.
        to: PathBuf,
    },
    /// Stops a service, and lets nothing start it any more.
    Stop {
        /// The service.
        unit: String,
    },
    /// Lets systemd read its units as they are again, and lets a service start with the host and
    /// run, as before.
    Service {
        /// The service.
        unit: String,
        /// Whether it started with the host.
        was_enabled: bool,
        /// Whether it ran.
        was_active: bool,
    },
}

impl Undo {
    /// Undoes the step.
    pub(crate) fn run(&self) -> Result<(), InstallError> {
        match self {
            Self::User { name, group } => user::remove(name, *group),
            Self::Directory { path } => file::remove_directory(path).map(|_| ()),
            Self::Content { path } => file::empty(path),
            Self::Give { path, uid, gid } => match file::metadata(path)? {
                Some(_) => give(path, Ids { uid: *uid, gid: *gid }),
                None => Ok(()),
            },
            Self::Mode { path, mode } => match file::metadata(path)? {
                Some(_) => file::set_mode(path, *mode),
                None => Ok(()),
            },
            Self::File { path } => file::discard(path),
            Self::Kept { path, inside: None } => file::restore(path),
            Self::Kept { path, inside: Some(inside) } => as_owner(inside, || file::restore(path)),
            Self::Move { inside, from, to } => move_back(inside, from, to).map(|_| ()),
            Self::Stop { unit } => {
                systemd::stop_if_there(unit)?;
                systemd::disable_if_there(unit)
            }
            Self::Service { unit, was_enabled, was_active } => {
                systemd::reload()?;
                if *was_enabled {
                    systemd::enable(unit)?;
                }
                match *was_active && !systemd::state(unit)?.is_active {
                    true => systemd::restart(unit),
                    false => Ok(()),
                }
            }
        }
    }
}

/// Does something in a directory that belongs to somebody who is not root, as its owner: whatever
/// links lie in there, they lead no further than the owner gets.
pub(crate) fn as_owner<T: Send>(
    directory: &Path,
    work: impl FnOnce() -> Result<T, InstallError> + Send,
) -> Result<T, InstallError> {
    as_owner_of(directory, work).map_err(|error| InstallError::Caller(error.to_string()))?
}

/// Gives a directory and everything in it to an owner. Nothing leads out of the directory: each
/// part is opened from the one above it, and links are not followed.
pub(crate) fn give(path: &Path, to: Ids) -> Result<(), InstallError> {
    let directory = File::open(path).at("open", path)?;
    let (uid, gid) = (Uid::from_raw(to.uid), Gid::from_raw(to.gid));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut open = vec![directory];
    while let Some(directory) = open.pop() {
        for entry in Dir::read_from(&directory).at("list", path)? {
            let entry = entry.at("list", path)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b".." | b"lost+found") {
                continue;
            }
            chownat(&directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .at("change the owner below", path)?;
            // Some file systems do not tell what an entry is; opening it as a directory does.
            if matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
                match openat(&directory, name, flags, Mode::empty()) {
                    Ok(below) => open.push(File::from(below)),
                    Err(Errno::NOTDIR | Errno::LOOP) => {}
                    Err(error) => {
                        let error = IoError::new("open a directory below", path, &error.into());
                        return Err(error.into());
                    }
                }
            }
        }
    }
    // Last, so that whoever finds it given finds all of it given.
    let given = std::os::unix::fs::lchown(path, Some(to.uid), Some(to.gid));
    Ok(given.at("change the owner of", path)?)
}

/// Moves a file of somebody else's directory to where only root sees it. It is never nowhere: the
/// new one is durable before the old one goes.
pub(crate) fn move_to_root(inside: &Path, from: &Path, to: &Path) -> Result<(), InstallError> {
    let Some(content) = as_owner(inside, || file::read_small(from))? else { return Ok(()) };
    file::write(to, &mut content.as_slice(), 0o600, Ids::ROOT)?;
    as_owner(inside, || file::remove(from))
}

/// Undoes [`move_to_root`]: the file becomes the property of the owner of `inside`. Says whether it
/// is there; it stays where it is when the directory that it goes to is gone or no directory.
pub(crate) fn move_back(inside: &Path, from: &Path, to: &Path) -> Result<bool, InstallError> {
    let Some(content) = file::read(to)? else { return file::discard(to).map(|()| true) };
    // Not through a link: it would be for whoever laid it to say where the file goes.
    let directory = from.parent().map_or(Ok(None), file::metadata)?;
    if !directory.is_some_and(|directory| directory.is_dir()) {
        return Ok(false);
    }
    let owner = inside.metadata().at("look at", inside)?;
    let owner = Ids { uid: owner.uid(), gid: owner.gid() };
    as_owner(inside, || file::write(from, &mut content.as_slice(), 0o600, owner))?;
    file::discard(to)?;
    Ok(true)
}
