//! Walking a directory as if it were an archive. No link is followed: what it leads to counts only
//! if it lies inside, and is found there.

use std::fs::{self, DirEntry};
use std::io::Read;
use std::path::{Path, PathBuf};

use durable::{At, Links, ReadError, open_regular, read_within};
use oci::Digest;

use crate::error::ScanError;
use crate::findings::{Findings, MANIFEST_BYTES, Want, may_be_manifest};
use crate::path::EntryPath;
use crate::role;
use crate::tar::{Entry, EntryKind};

/// Calls `take` for all that is in a directory, in the order of names.
///
/// # Errors
/// [`ScanError::Read`], [`ScanError::TooDeep`], [`ScanError::TooMany`], and those of `take`.
pub(super) fn walk(
    root: &Path,
    mut take: impl FnMut(&Path, &Entry) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    let mut count = 0_usize;
    let mut open = vec![(root.to_owned(), EntryPath::default(), 0)];
    while let Some((directory, inside, depth)) = open.pop() {
        if depth > MOST_DEPTH {
            return Err(ScanError::TooDeep { path: directory, limit: MOST_DEPTH });
        }
        let mut below = Vec::new();
        for entry in sorted(&directory, &mut count)? {
            let path = entry.path();
            let inside = inside.join(&entry.file_name().to_string_lossy());
            let kind = entry.file_type().at("look at", &path)?;
            if kind.is_dir() {
                take(&path, &Entry { path: inside.clone(), kind: EntryKind::Other })?;
                if !role::is_of_no_use(&inside) {
                    below.push((path, inside, depth + 1));
                }
                continue;
            }
            let kind = if kind.is_file() {
                let size = entry.metadata().at("look at", &path)?.len();
                EntryKind::File { size, offset: 0 }
            } else if kind.is_symlink() {
                let said = fs::read_link(&path).at("read the link", &path)?;
                let said = said.to_string_lossy().into_owned();
                EntryKind::Link { target: inside.follow(&said), said }
            } else {
                EntryKind::Other
            };
            take(&path, &Entry { path: inside, kind })?;
        }
        // The first by name is the next.
        open.extend(below.into_iter().rev());
    }
    Ok(())
}

/// Looks at a file, and reads what is to be read of it. Says the digest and the size of a blob that
/// lies there and is new.
///
/// # Errors
/// Those of the findings, and [`ScanError::Read`].
pub(super) fn take(
    path: &Path,
    entry: &Entry,
    findings: &mut Findings,
) -> Result<Option<(Digest, u64)>, ScanError> {
    let wanted = findings.look(entry)?;
    let EntryKind::File { size, .. } = entry.kind else { return Ok(None) };
    match wanted {
        Want::Nothing | Want::Known => Ok(None),
        Want::Document(role) => {
            let bytes = read_within(path, size, Links::Refuse)?;
            let bytes = bytes.ok_or_else(|| gone(path))?;
            let digest = findings.document(&entry.path, role, &bytes)?;
            let Some(digest) = digest else { return Ok(None) };
            findings.add_blob(digest, size, &bytes)?;
            Ok(Some((digest, size)))
        }
        Want::Blob(digest) => {
            let beginning =
                if size <= MANIFEST_BYTES { beginning(path, size)? } else { Vec::new() };
            findings.add_blob(digest, size, &beginning)?;
            Ok(Some((digest, size)))
        }
    }
}

/// The beginning of a file; all of it if it may be a manifest.
fn beginning(path: &Path, size: u64) -> Result<Vec<u8>, ScanError> {
    let file = open_regular(path, Links::Refuse)?.ok_or_else(|| gone(path))?;
    let mut content = Vec::new();
    (&file).take(BEGINNING_BYTES).read_to_end(&mut content).at("read", path)?;
    if may_be_manifest(size, &content) {
        let rest = size.saturating_sub(content.len() as u64);
        (&file).take(rest).read_to_end(&mut content).at("read", path)?;
    }
    Ok(content)
}

fn sorted(directory: &Path, count: &mut usize) -> Result<Vec<DirEntry>, ScanError> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).at("list", directory)? {
        entries.push(entry.at("list", directory)?);
        *count += 1;
        if *count > MOST_FILES {
            return Err(ScanError::TooMany { what: "files", limit: MOST_FILES });
        }
    }
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

fn gone(path: &Path) -> ScanError {
    ScanError::Read(ReadError::NotRegular(PathBuf::from(path)))
}

/// How much of a file is read to see what it is.
const BEGINNING_BYTES: u64 = 64;
/// The deepest directory: a name of a repository has up to 128 components.
const MOST_DEPTH: usize = 160;
/// The most files of a directory, as many as an archive may have entries.
const MOST_FILES: usize = 4 << 20;
