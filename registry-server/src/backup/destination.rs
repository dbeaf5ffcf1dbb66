//! Where a backup or what is restored may lie, and whether there is room for it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use durable::DiskSpace;

use crate::text::format::bytes;

/// Refuses a directory inside the data, and one that is lost together with them.
pub(super) fn check_place(directory: &Path, data: &Path, may_be_same: bool) -> anyhow::Result<()> {
    if lies_inside(directory, data)? {
        bail!(
            "{} lies inside the registry's own data in {}: choose a directory on another disk",
            directory.display(),
            data.display()
        );
    }
    if id(&existing(directory)?)?.0 == id(data)?.0 && !may_be_same {
        bail!(
            "{} is on the same file system as the registry in {} and would be lost with it: mount \
             the disk that is meant for backups, or choose a directory on another one; \
             --same-file-system makes a copy here even so",
            directory.display(),
            data.display()
        );
    }
    Ok(())
}

/// Whether a directory, which may not be there yet, is this one or lies in it, by whatever name.
pub(crate) fn lies_inside(directory: &Path, outer: &Path) -> anyhow::Result<bool> {
    let outer = id(outer)?;
    for above in existing(directory)?.ancestors() {
        if id(above)? == outer {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The directory itself, or the closest above that is there.
fn existing(directory: &Path) -> anyhow::Result<PathBuf> {
    let there = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    there.canonicalize().with_context(|| there.display().to_string())
}

/// What tells a directory from all others, and first its file system.
fn id(path: &Path) -> anyhow::Result<(u64, u64)> {
    let found = path.metadata().with_context(|| format!("cannot look at {}", path.display()))?;
    Ok((found.dev(), found.ino()))
}

/// Refuses to begin what the disk has no space for.
pub(super) fn check_space(directory: &Path, needed: u64) -> anyhow::Result<()> {
    let free = DiskSpace::of(directory)?.free_bytes;
    if free < needed {
        bail!(
            "there is no space in {}: {} are needed and {} are free; free some, or choose another \
             disk",
            directory.display(),
            bytes(needed),
            bytes(free)
        );
    }
    Ok(())
}

/// What a file of so many bytes takes of a disk, mostly.
pub(super) fn on_disk(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(bytes)
}

/// What file systems count files in, mostly.
const BLOCK_BYTES: u64 = 4096;
