//! Walking a directory as if it were an archive. No link is followed: what it leads to counts only
//! if it lies inside, and is found there.

use std::fs::{self, DirEntry};
use std::io::Read;
use std::path::Path;

use durable::{At, IoError, Links, ReadError, open_regular, read_within};
use oci::Digest;

use crate::damage::Damage;
use crate::error::ScanError;
use crate::findings::{Findings, Want, may_be_manifest};
use crate::path::EntryPath;
use crate::role;
use crate::tar::{Entry, EntryKind};

/// Looks at all that is in a directory, in the order of names. `hold` gets each blob that lies in a
/// file, with its size. What cannot be read is damage, and nothing more: on a medium it may be
/// `lost+found`, or one bad sector.
///
/// # Errors
/// [`ScanError::Read`] of the directory itself, [`ScanError::TooDeep`], [`ScanError::TooMany`], and
/// those of the findings.
pub(super) fn walk(
    root: &Path,
    findings: &mut Findings,
    mut hold: impl FnMut(&Path, Digest, u64),
) -> Result<(), ScanError> {
    let mut count = 0_usize;
    let mut open = vec![(root.to_owned(), EntryPath::default(), 0)];
    while let Some((directory, inside, depth)) = open.pop() {
        if depth > MOST_DEPTH {
            return Err(ScanError::TooDeep { path: directory, limit: MOST_DEPTH });
        }
        let entries = match sorted(&directory, &mut count) {
            Err(ScanError::Read(error)) if depth > 0 => {
                unreadable(findings, &inside, &error);
                findings.is_cut = true;
                continue;
            }
            entries => entries?,
        };
        let mut below = Vec::new();
        for listed in entries {
            let path = listed.path();
            let inside = inside.join(&listed.file_name().to_string_lossy());
            let entry = match entry(&listed, &path, &inside) {
                Ok(kind) => Entry { path: inside, kind },
                Err(error) => {
                    unreadable(findings, &inside, &error.into());
                    continue;
                }
            };
            let wanted = findings.look(&entry)?;
            if listed.file_type().is_ok_and(|it| it.is_dir()) {
                let is_walked = !role::is_of_no_use(&entry.path);
                below.extend(is_walked.then_some((path, entry.path, depth + 1)));
            } else if let Some((digest, size)) = take(&path, &entry, wanted, findings)? {
                hold(&path, digest, size);
            }
        }
        // The first by name is the next.
        open.extend(below.into_iter().rev());
    }
    Ok(())
}

/// What an entry of a directory is.
fn entry(listed: &DirEntry, path: &Path, inside: &EntryPath) -> Result<EntryKind, IoError> {
    let kind = listed.file_type().at("look at", path)?;
    if kind.is_file() {
        let size = listed.metadata().at("look at", path)?.len();
        return Ok(EntryKind::File { size, offset: 0 });
    }
    if kind.is_symlink() {
        let said = fs::read_link(path).at("read the link", path)?;
        let said = said.to_string_lossy().into_owned();
        return Ok(EntryKind::Link { target: inside.follow(&said), said });
    }
    Ok(EntryKind::Other)
}

/// Reads what is to be read of a file. Says the digest and the size of a blob that lies there and
/// is new.
fn take(
    path: &Path,
    entry: &Entry,
    wanted: Want,
    findings: &mut Findings,
) -> Result<Option<(Digest, u64)>, ScanError> {
    let EntryKind::File { size, .. } = entry.kind else { return Ok(None) };
    let content = match &wanted {
        Want::Nothing | Want::Known => return Ok(None),
        Want::Document(_) => whole(path, size),
        Want::Blob(_) => beginning(path, size),
    };
    let content = match content {
        Ok(content) => content,
        Err(error) => {
            unreadable(findings, &entry.path, &error);
            return Ok(None);
        }
    };
    let digest = match wanted {
        Want::Document(role) => findings.document(&entry.path, role, &content)?,
        Want::Blob(digest) => Some(digest),
        Want::Nothing | Want::Known => None,
    };
    let Some(digest) = digest else { return Ok(None) };
    findings.add_blob(digest, size, &content)?;
    Ok(Some((digest, size)))
}

/// A document, whose size was found to be within the bound.
fn whole(path: &Path, size: u64) -> Result<Vec<u8>, ReadError> {
    let content = read_within(path, size, Links::Refuse)?;
    content.ok_or_else(|| ReadError::NotRegular(path.to_owned()))
}

/// The beginning of a file; all of it if it may be a manifest.
fn beginning(path: &Path, size: u64) -> Result<Vec<u8>, ReadError> {
    let file = open_regular(path, Links::Refuse)?;
    let file = file.ok_or_else(|| ReadError::NotRegular(path.to_owned()))?;
    let mut content = Vec::new();
    (&file).take(BEGINNING_BYTES).read_to_end(&mut content).at("read", path)?;
    if may_be_manifest(size, &content) {
        let rest = size.saturating_sub(content.len() as u64);
        (&file).take(rest).read_to_end(&mut content).at("read", path)?;
    }
    Ok(content)
}

fn unreadable(findings: &mut Findings, path: &EntryPath, error: &ReadError) {
    let (path, fault) = (path.as_str().to_owned(), error.to_string());
    findings.damaged(Damage::Document { path, fault });
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

/// How much of a file is read to see what it is.
const BEGINNING_BYTES: u64 = 64;
/// The deepest directory: a name of a repository has up to 128 components.
const MOST_DEPTH: usize = 160;
/// The most files of a directory, as many as an archive may have entries.
const MOST_FILES: usize = 4 << 20;
