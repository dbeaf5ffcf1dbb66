//! The lock that makes one process the owner of a store.
//!
//! It is two: one on the directory itself, which nobody removes, and one on a file in it, which
//! also says who holds them and is all that programs before this one take. They are taken in this
//! order, and nobody waits for the first with the second in hand: no two ever wait for each other.

use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use durable::{At, IoError, Links, open_regular};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::error::StorageError;
use crate::medium::is_read_only;
use crate::shell::shell_word;

/// Who holds a store, as far as that can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    directory: PathBuf,
    named: Option<Named>,
}

/// A process as the lock file names it, which is more than a number only for people.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    process: Pid,
    command: String,
}

impl Holder {
    /// Who holds the store whose lock file is `path` now, if anybody does. Makes and changes
    /// nothing.
    pub(crate) fn of(path: &Path) -> Result<Option<Self>, StorageError> {
        let directory = directory_of(path);
        if is_held(directory)? || is_held(path)? { Ok(Some(Self::read(path))) } else { Ok(None) }
    }

    /// Who the lock file says it is, where that is true: the file itself is locked, which only the
    /// owner of the directory can do, and the process that it names lives. One that came to a disk
    /// that is read-only could not write who it is. The text only informs; the wait is the same.
    fn read(path: &Path) -> Self {
        let directory = directory_of(path);
        let is_told = matches!(is_held(path), Ok(true)) && !is_read_only(directory);
        let named = is_told.then(|| Named::read(path)).flatten();
        Self { directory: directory.to_owned(), named }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.named {
            Some(named) => named.fmt(f),
            None => write!(
                f,
                "an unknown process (as root, `fuser -v {}` or `lslocks` finds it)",
                shell_word(&self.directory.display().to_string())
            ),
        }
    }
}

impl Named {
    /// This process.
    fn own() -> Self {
        let command = std::env::args().nth(1).unwrap_or_default();
        let command = command.chars().filter(is_of_command).take(COMMAND_CHARACTERS).collect();
        Self { process: rustix::process::getpid(), command }
    }

    /// Whom the file names, if such a process lives.
    fn read(path: &Path) -> Option<Self> {
        let mut text = String::new();
        let file = open_regular(path, Links::Refuse).ok().flatten()?;
        file.take(HOLDER_BYTES).read_to_string(&mut text).ok()?;
        Self::parse(text.trim()).filter(Self::is_alive)
    }

    /// Parses what [`fmt::Display`] writes. It goes to people's terminals, and may be somebody
    /// else's text.
    fn parse(text: &str) -> Option<Self> {
        let (process, command) = text.strip_prefix(BEFORE_PROCESS)?.split_once(BEFORE_COMMAND)?;
        let command = command.strip_suffix(AFTER_COMMAND)?;
        let process = process.parse().ok().and_then(Pid::from_raw)?;
        let is_one = command.chars().all(|c| is_of_command(&c));
        is_one.then(|| Self { process, command: command.to_owned() })
    }

    fn is_alive(&self) -> bool {
        // Of another user's process we hear that it is not ours to signal.
        !matches!(test_kill_process(self.process), Err(Errno::SRCH))
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let process = self.process.as_raw_nonzero();
        write!(f, "{BEFORE_PROCESS}{process}{BEFORE_COMMAND}{}{AFTER_COMMAND}", self.command)
    }
}

/// What to do when another process owns a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHeld {
    /// Wait until it ends.
    Wait,
    /// Fail with [`StorageError::Owned`].
    GiveUp,
}

/// The lock on a store, held until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct StoreLock {
    _file: Option<File>,
    _directory: File,
}

impl StoreLock {
    /// Takes the lock whose file is `path`, in the store's directory; if another process has it,
    /// asks `on_held` whether to wait for it.
    pub(crate) fn acquire(
        path: &Path,
        on_held: &dyn Fn(&Holder) -> OnHeld,
    ) -> Result<Self, StorageError> {
        close_to_others(directory_of(path))?;
        let directory = lock_directory(path, on_held)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .at("open", path)?;
        lock(&file, path, path, on_held)?;
        file.set_permissions(Permissions::from_mode(0o600)).at("set the mode of", path)?;
        let holder = format!("{}\n", Named::own());
        // The text only informs; a full disk must not keep the store closed for want of it.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(holder.as_bytes()));
        Ok(Self { _file: Some(file), _directory: directory })
    }

    /// The same where nothing can be written: whoever comes second is not told by whom it is held.
    pub(crate) fn acquire_read_only(
        path: &Path,
        on_held: &dyn Fn(&Holder) -> OnHeld,
    ) -> Result<Self, StorageError> {
        let directory = lock_directory(path, on_held)?;
        let file = match path.is_file() {
            true => Some(File::open(path).at("open", path)?),
            false => None,
        };
        if let Some(file) = &file {
            lock(file, path, path, on_held)?;
        }
        Ok(Self { _file: file, _directory: directory })
    }
}

/// Takes from everybody but the owner of a directory what lets him open it: whoever can open one
/// can lock it, for as long as he likes. To pass through it, to the CA, takes less.
fn close_to_others(directory: &Path) -> Result<(), StorageError> {
    let permissions = directory.metadata().at("look at", directory)?.permissions();
    match permissions.mode() & OPENING {
        0 => Ok(()),
        _ => {
            let closed = Permissions::from_mode(permissions.mode() & !OPENING);
            Ok(fs::set_permissions(directory, closed).at("set the mode of", directory)?)
        }
    }
}

fn lock_directory(path: &Path, on_held: &dyn Fn(&Holder) -> OnHeld) -> Result<File, StorageError> {
    let directory = directory_of(path);
    let file = File::open(directory).at("open", directory)?;
    lock(&file, directory, path, on_held)?;
    Ok(file)
}

/// Locks what is opened at `at`; `path` is the file that names who holds it.
fn lock(
    file: &File,
    at: &Path,
    path: &Path,
    on_held: &dyn Fn(&Holder) -> OnHeld,
) -> Result<(), StorageError> {
    match try_lock(file) {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let holder = Holder::read(path);
            match on_held(&holder) {
                OnHeld::Wait => Ok(file.lock().at("lock", at)?),
                OnHeld::GiveUp => Err(StorageError::Owned(holder)),
            }
        }
        Err(TryLockError::Error(error)) => Err(IoError::new("lock", at, &error).into()),
    }
}

/// Tries for a moment: whoever only looks whether it is held holds it meanwhile.
fn try_lock(file: &File) -> Result<(), TryLockError> {
    for _ in 0..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
    file.try_lock()
}

/// Whether somebody has locked what is here, if anything is.
fn is_held(path: &Path) -> Result<bool, StorageError> {
    let is_directory = match path.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Ok(found) if !found.is_file() && !found.is_dir() => return Ok(false),
        found => found.at("look at", path)?.is_dir(),
    };
    // A pipe that somebody puts in its place just now would be waited for.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.at("open", path)?;
    // Gone with the file: who wants the lock at this moment tries again. Of a directory it is the
    // whole one, since somebody who is no registry may hold a shared one; for that of a file, NFS
    // would have it opened for writing.
    let tried = if is_directory { try_lock(&file) } else { file.try_lock_shared() };
    match tried {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(IoError::new("lock", path, &error).into()),
    }
}

/// The store's directory.
fn directory_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn is_of_command(c: &char) -> bool {
    c.is_ascii_graphic() || *c == ' '
}

/// What a mode lets others do who open a directory, or change it.
const OPENING: u32 = 0o066;
/// How the lock file names a process.
const BEFORE_PROCESS: &str = "process ";
const BEFORE_COMMAND: &str = " (registry ";
const AFTER_COMMAND: &str = ")";
/// The most characters of a command that are told.
const COMMAND_CHARACTERS: usize = 64;
/// More bytes than the name of a holder has: the file is another user's, and may be of any length.
const HOLDER_BYTES: u64 = 1024;
/// How often a lock is tried, and how long it is waited between two, before it counts as held: a
/// look takes a thousandth of that.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(5);
