//! Who holds the lock on a store, for whoever has to wait or to refuse.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durable::{At, IoError, Links, open_regular};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::medium::read_only::is_read_only;
use crate::shell::shell_word;

/// Who holds a store, as far as that can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockHolder {
    directory: PathBuf,
    named: Option<Named>,
}

/// A process as the lock file names it, which is more than a number only for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    process: Pid,
    command: String,
}

impl LockHolder {
    /// Who holds the store whose lock file is `path` now, if anybody does. Makes and changes
    /// nothing.
    pub(crate) fn of(path: &Path) -> Result<Option<Self>, IoError> {
        let directory = directory_of(path);
        if is_held(directory)? || is_held(path)? { Ok(Some(Self::read(path))) } else { Ok(None) }
    }

    /// Who the lock file says it is, where that is true: the file itself is locked, which only the
    /// owner of the directory can do, and the process that it names lives. One that came to a disk
    /// that is read-only could not write who it is. The text only informs; the wait is the same.
    pub(super) fn read(path: &Path) -> Self {
        let directory = directory_of(path);
        let is_told = matches!(is_held(path), Ok(true)) && !is_read_only(directory);
        let named = is_told.then(|| Named::read(path)).flatten();
        Self { directory: directory.to_owned(), named }
    }
}

impl fmt::Display for LockHolder {
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
    pub(super) fn own() -> Self {
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

/// Tries for a moment: whoever only looks whether it is held holds it meanwhile.
pub(super) fn try_lock(file: &File) -> Result<(), TryLockError> {
    for _ in 0..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
    file.try_lock()
}

/// Whether somebody has locked what is here, if anything is.
fn is_held(path: &Path) -> Result<bool, IoError> {
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
        Err(TryLockError::Error(error)) => Err(IoError::new("lock", path, &error)),
    }
}

/// The store's directory.
pub(super) fn directory_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn is_of_command(c: &char) -> bool {
    c.is_ascii_graphic() || *c == ' '
}

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
