//! What lies on a host's disk, so that a test can say that two states of it are the same.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};

use super::Host;

/// Every path of a host's root but for what changes by itself, with what is known of it but for
/// its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    entries: BTreeMap<PathBuf, Entry>,
}

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    kind: &'static str,
    mode: u32,
    owner: u32,
    group: u32,
    /// Of a regular file: its size and the digest of its content. Of a link: its target. Of a
    /// device: its number.
    content: String,
}

impl Snapshot {
    /// Looks at everything, whether the host is on or off.
    pub(crate) fn of(host: &Host) -> Self {
        let root = host.path("/");
        let (mut entries, mut left) = (BTreeMap::new(), vec![root.clone()]);
        while let Some(directory) = left.pop() {
            // What goes away while we look is not there.
            for child in present(fs::read_dir(&directory)).into_iter().flatten() {
                let path = child.expect("an entry").path();
                let name = Path::new("/").join(path.strip_prefix(&root).expect("a path below"));
                if changes_by_itself(&name) {
                    continue;
                }
                let Some(entry) = present(Entry::of(&path)) else { continue };
                if entry.kind == "directory" {
                    left.push(path);
                }
                entries.insert(name, entry);
            }
        }
        Self { entries }
    }

    /// How a later state differs from this one, a line for each path: none if they are the same.
    pub(crate) fn difference(&self, later: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, entry) in &self.entries {
            match later.entries.get(path) {
                None => lines.push(format!("removed {}: {entry}", path.display())),
                Some(other) if entry != other => {
                    lines.push(format!("changed {}: {entry} -> {other}", path.display()));
                }
                Some(_) => {}
            }
        }
        for (path, entry) in &later.entries {
            if !self.entries.contains_key(path) {
                lines.push(format!("added {}: {entry}", path.display()));
            }
        }
        lines
    }
}

impl Entry {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        let kind = metadata.file_type();
        let (kind, content) = if kind.is_file() {
            ("file", format!("{} bytes {}", metadata.len(), digest(path, &metadata)?))
        } else if kind.is_symlink() {
            ("link", fs::read_link(path)?.display().to_string())
        } else if kind.is_dir() {
            ("directory", String::new())
        } else if kind.is_block_device() || kind.is_char_device() {
            ("device", metadata.rdev().to_string())
        } else {
            ("socket or pipe", String::new())
        };
        let mode = metadata.mode() & 0o7777;
        Ok(Self { kind, mode, owner: metadata.uid(), group: metadata.gid(), content })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, mode, owner, group, content } = self;
        write!(f, "{kind} {mode:04o} {owner}:{group} {content}")
    }
}

/// The beginning of the digest of a file. A file that nobody touched is read once for all
/// snapshots of this process: it keeps its number and the time of its last change, which nobody
/// can set.
fn digest(path: &Path, metadata: &Metadata) -> io::Result<String> {
    static KNOWN: Mutex<Option<HashMap<[i64; 3], String>>> = Mutex::new(None);
    let number = metadata.ino().cast_signed();
    let key = [number, metadata.ctime(), metadata.ctime_nsec()];
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(digest) = known().get_or_insert_default().get(&key) {
        return Ok(digest.clone());
    }
    let (mut file, mut context) = (File::open(path)?, Context::new(&SHA256));
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        context.update(&buffer[..count]);
    }
    let digest = context.finish();
    let digest: String = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    known().get_or_insert_default().insert(key, digest.clone());
    Ok(digest)
}

fn present<T>(found: io::Result<T>) -> Option<T> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => Some(found.expect("what lies there")),
    }
}

fn changes_by_itself(path: &Path) -> bool {
    // What adduser and its like leave beside the files of users.
    let backup = path.parent() == Some(Path::new("/etc"))
        && (path.as_os_str().as_encoded_bytes().ends_with(b"-") || path.ends_with(".pwd.lock"));
    backup || CHANGING.iter().any(|place| path.starts_with(place))
}

/// What the kernel shows, what lies in memory, what is temporary, logs, caches, and what systemd
/// remembers.
const CHANGING: [&str; 10] = [
    "/dev",
    "/proc",
    "/sys",
    "/run",
    "/tmp",
    "/var/tmp",
    "/var/log",
    "/var/cache",
    "/var/lib/systemd",
    "/root/.cache",
];
