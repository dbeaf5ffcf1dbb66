//! Reading the file of a blob again: from the disk and not from memory, not faster than is allowed.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use durable::At;
use oci::{Digest, Hasher};
use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;

use super::Damage;
use crate::error::StorageError;

/// Which file it was, so that another one in its place is not taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Identity {
    /// The file at a path; none if there is none that can be looked at.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::of(&metadata))
    }

    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// A file that was read to see what is wrong with it.
#[derive(Debug)]
pub(crate) struct Seen {
    /// What is wrong with it, if anything.
    pub(crate) damage: Option<Damage>,
    /// Which file it was; none if there was none.
    pub(crate) identity: Option<Identity>,
    /// Its size in bytes.
    pub(crate) length: u64,
    /// Open, so that its inode's number is not given to another file.
    pub(crate) file: Option<File>,
}

impl Seen {
    /// Whether the file may be good and could only not be read now.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self.damage, Some(Damage::Unreadable(_)))
    }
}

/// Reads the file at `path`, which should hold the `size` bytes that `digest` names. `on_piece`
/// hears how many bytes were read, and says whether to go on.
pub(crate) fn look(
    path: &Path,
    digest: &Digest,
    size: u64,
    on_piece: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<ControlFlow<(), Seen>, StorageError> {
    let seen = |damage, identity, file| {
        Ok(ControlFlow::Continue(Seen { damage: Some(damage), identity, length: 0, file }))
    };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return seen(damage_of(&error).ok_or(error).at("look at", path)?, None, None),
    };
    if !metadata.is_file() {
        return seen(Damage::NoFile, Some(Identity::of(&metadata)), None);
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => {
            let damage = damage_of(&error).ok_or(error).at("open", path)?;
            return seen(damage, Some(Identity::of(&metadata)), None);
        }
    };
    let metadata = file.metadata().at("look at", path)?;
    let (identity, length) = (Some(Identity::of(&metadata)), metadata.len());
    match hash(&file, digest, length, on_piece) {
        Ok(ControlFlow::Break(())) => Ok(ControlFlow::Break(())),
        Ok(ControlFlow::Continue(damage)) => {
            // Right bytes have the right size, whatever is recorded of them.
            let damage = match damage {
                Some(_) if length != size => Some(Damage::Size { expected: size, found: length }),
                damage => damage,
            };
            Ok(ControlFlow::Continue(Seen { damage, identity, length, file: Some(file) }))
        }
        Err(error) => {
            let damage = damage_of(&error).ok_or(error).at("read", path)?;
            seen(damage, identity, Some(file))
        }
    }
}

fn hash(
    file: &File,
    digest: &Digest,
    size: u64,
    on_piece: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> io::Result<ControlFlow<(), Option<Damage>>> {
    // What is in memory says nothing about the disk; what this reads, nobody will ask for again
    // soon. Both are hints, and reading works without them.
    let forget = || fadvise(file, 0, None, Advice::DontNeed);
    let _ = forget();
    let mut hasher = Hasher::new(digest.algorithm());
    let mut piece = vec![0; PIECE_BYTES];
    let mut offset = 0;
    while offset < size {
        let wanted = usize::try_from(size - offset).unwrap_or(usize::MAX).min(piece.len());
        let read = match file.read_at(&mut piece[..wanted], offset) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&piece[..read]);
        let _ = fadvise(file, offset, NonZeroU64::new(read as u64), Advice::DontNeed);
        offset += read as u64;
        if on_piece(read).is_break() {
            let _ = forget();
            return Ok(ControlFlow::Break(()));
        }
    }
    let _ = forget();
    Ok(ControlFlow::Continue(if offset < size {
        Some(Damage::Size { expected: size, found: offset })
    } else if hasher.finish() != *digest {
        Some(Damage::Bytes)
    } else {
        None
    }))
}

/// What a failure says about a file; none if it says more about this process than about the disk.
fn damage_of(error: &io::Error) -> Option<Damage> {
    if error.kind() == ErrorKind::NotFound {
        return Some(Damage::Missing);
    }
    // Nor does a file go out that somebody else owns now, or a link to itself.
    let is_of_the_name = error.kind() == ErrorKind::PermissionDenied
        || error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
    (is_of_the_name || is_of_the_disk(error)).then(|| Damage::Unreadable(error.to_string()))
}

/// Whether a failure is the disk's or the file system's, and comes again.
pub(crate) fn is_of_the_disk(error: &io::Error) -> bool {
    let codes = [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::NODATA, Errno::REMOTEIO];
    error.raw_os_error().is_some_and(|code| codes.iter().any(|known| known.raw_os_error() == code))
}

/// Keeps reading within a rate.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: Option<NonZeroU64>,
    next: Instant,
}

impl Pace {
    pub(crate) fn new(bytes_per_second: Option<NonZeroU64>) -> Self {
        Self { bytes_per_second, next: Instant::now() }
    }

    /// Counts what was read.
    pub(crate) fn took(&mut self, bytes: usize) {
        let Some(rate) = self.bytes_per_second else { return };
        let time = Duration::from_secs_f64(bytes as f64 / rate.get() as f64);
        // What was not read while nothing was wanted is not made up for.
        let now = Instant::now();
        self.next = self.next.max(now).checked_add(time).unwrap_or(now);
    }

    /// How long to wait now, at most so long that a stop is heard soon.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let rest = self.next.saturating_duration_since(Instant::now());
        (!rest.is_zero()).then(|| rest.min(SHORT_WAIT))
    }
}

/// How much is read at once.
const PIECE_BYTES: usize = 256 * 1024;
/// How long nobody is asked whether to go on.
const SHORT_WAIT: Duration = Duration::from_millis(100);
