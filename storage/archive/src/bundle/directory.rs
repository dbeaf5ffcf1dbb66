//! Writing a volume as a directory.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use durable::{At, IoError, Links, ReadError, open_regular, remove, sync_directory};
use oci::Algorithm;

use super::copy::{OpenBlob, SyncedFile, copy_blob, is_blob};
use super::error::WriteError;
use super::layout::{BLOBS, Blob, blob_directory, blob_path};
use super::volume::Volume;

/// Writes a volume into a directory that exists. What a run that was cut short left of blobs there
/// is read again and kept where it is right, and else goes; what else lies there stays.
///
/// Crash argument: a blob has its name when it is whole, right and synced, and the documents come
/// after all blobs, the signature last of all. So a directory without a signature is not whole, and
/// what lies in it is nothing but blobs that are.
///
/// # Errors
/// Every [`WriteError`].
pub fn write_directory(
    root: &Path,
    volume: &Volume,
    open: OpenBlob<'_>,
    on_bytes: &mut dyn FnMut(u64),
) -> Result<(), WriteError> {
    for (name, _) in volume.files() {
        remove(&root.join(name))?;
    }
    make(&root.join(BLOBS))?;
    for algorithm in Algorithm::ALL {
        let directory = root.join(blob_directory(algorithm));
        let is_of = |blob: &&Blob| blob.digest.algorithm() == algorithm;
        let blobs: Vec<&Blob> = volume.blobs().iter().filter(is_of).collect();
        if blobs.is_empty() && !directory.exists() {
            continue;
        }
        make(&directory)?;
        keep_only(&directory, &blobs)?;
    }
    for blob in volume.blobs() {
        write_blob(&root.join(blob_path(&blob.digest)), blob, open, on_bytes)?;
    }
    for algorithm in Algorithm::ALL {
        let directory = root.join(blob_directory(algorithm));
        if directory.exists() {
            sync_directory(&directory)?;
        }
    }
    sync_directory(&root.join(BLOBS))?;
    for (name, bytes) in volume.files().iter().rev() {
        write_file(&root.join(name), bytes)?;
        sync_directory(root)?;
    }
    Ok(())
}

fn write_blob(
    path: &Path,
    blob: &Blob,
    open: OpenBlob<'_>,
    on_bytes: &mut dyn FnMut(u64),
) -> Result<(), WriteError> {
    if is_there(path, blob)? {
        on_bytes(blob.size);
        return Ok(());
    }
    let part = part_of(path);
    let mut file = SyncedFile::new(create(&part)?);
    let copied = copy_blob(&blob.digest, blob.size, open, (&mut file, &part), on_bytes);
    let written = copied
        .and_then(|()| Ok(file.sync().at("sync", &part)?))
        .and_then(|()| Ok(fs::rename(&part, path).at("rename", &part)?));
    if written.is_err() {
        // What is full becomes no emptier by it.
        let _ = fs::remove_file(&part);
    }
    written
}

/// Whether a blob is there from a run before, and right; what is not goes.
fn is_there(path: &Path, blob: &Blob) -> Result<bool, IoError> {
    let found = match open_regular(path, Links::Refuse) {
        Ok(None) => return Ok(false),
        Ok(Some(mut file)) => is_blob(&mut file, &blob.digest, blob.size),
        Err(ReadError::Io(error)) => return Err(error),
        Err(_) => Ok(false),
    };
    match found {
        Ok(true) => Ok(true),
        // A medium that cannot read what is there may take it anew.
        _ => remove(path).map(|_| false),
    }
}

/// Removes what is none of these blobs.
fn keep_only(directory: &Path, blobs: &[&Blob]) -> Result<(), IoError> {
    let names: HashSet<String> = blobs.iter().map(|blob| blob.digest.hex()).collect();
    for entry in fs::read_dir(directory).at("list", directory)? {
        let entry = entry.at("list", directory)?;
        let is_named = entry.file_name().to_str().is_some_and(|name| names.contains(name));
        if !is_named {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Gives a file its name when it is whole and synced. Its name is not synced yet.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    let part = part_of(path);
    let mut file = create(&part)?;
    file.write_all(bytes).at("write", &part)?;
    file.sync_all().at("sync", &part)?;
    fs::rename(&part, path).at("rename", &part)
}

/// Makes a new file as any program does: the umask says who reads it. A mode of its own is nothing
/// that the file system of a stick could keep.
fn create(path: &Path) -> Result<File, IoError> {
    remove(path)?;
    OpenOptions::new().write(true).create_new(true).open(path).at("create", path)
}

/// Makes a directory unless it is there; a link to one is none.
fn make(path: &Path) -> Result<(), IoError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let is_directory = path.symlink_metadata().at("look at", path)?.is_dir();
            match is_directory {
                true => Ok(()),
                false => Err(IoError::new("use", path, &ErrorKind::NotADirectory.into())),
            }
        }
        made => made.at("make the directory", path),
    }
}

/// What a file is called until it is whole.
fn part_of(path: &Path) -> PathBuf {
    path.with_extension("part")
}

#[cfg(test)]
mod tests;
