//! The directory that an export is written to, or the pipe.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::bail;
use archive::bundle::{
    CONTENTS, DOCUMENT, INDEX, LAYOUT, OpenBlob, SIGNATURE, SyncedFile, Volume, WriteError,
    write_directory, write_tar,
};
use durable::{At, DiskSpace, IoError, remove, sync_directory, sync_parent};

use crate::backup::lies_inside;
use crate::text::format::bytes;

/// A directory that is being filled.
///
/// Crash argument: a file in it says that what is there is not whole. It is durable before anything
/// else is written, and goes after everything is; and each archive has its name when it is whole.
/// So what a run leaves that is cut short is told from a bundle, and the next run may take it away
/// or go on with it: it is an export's, whatever became of the names in it.
pub(super) struct Destination {
    root: PathBuf,
    /// Whether an export that was cut short left something.
    is_resumed: bool,
}

impl Destination {
    /// Checks that a directory may be filled: that it is empty, or holds what an export left that
    /// was cut short, or can be made. Nothing is changed.
    pub(super) fn check(root: &Path, data: &Path) -> anyhow::Result<()> {
        if lies_inside(root, data)? {
            bail!(
                "{} lies inside the registry's own data in {}: choose a directory elsewhere",
                root.display(),
                data.display()
            );
        }
        if !root.exists() {
            let above = root.parent().filter(|above| !above.as_os_str().is_empty());
            return match above.is_none_or(Path::is_dir) {
                true => Ok(()),
                false => bail!(
                    "{} is not there, and neither is the directory above it: is the disk mounted?",
                    root.display()
                ),
            };
        }
        if is_unfinished(root) { Ok(()) } else { check_empty(root) }
    }

    /// Takes such a directory, and makes it if it is not there.
    pub(super) fn take(root: &Path, data: &Path) -> anyhow::Result<Self> {
        Self::check(root, data)?;
        match fs::create_dir(root) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => {
                made.at("make the directory", root)?;
                sync_parent(root)?;
            }
        }
        let is_resumed = is_unfinished(root);
        if !is_resumed {
            let mark = root.join(UNFINISHED);
            let mut file = create(&mark)?;
            file.write_all(WARNING.as_bytes()).at("write", &mark)?;
            file.sync_all().at("sync", &mark)?;
            sync_directory(root)?;
        }
        Ok(Self { root: root.to_owned(), is_resumed })
    }

    /// Removes what an export left that was cut short, but for what has one of these names, or
    /// belongs to a layout that is to be written to the directory itself.
    pub(super) fn clear(&self, names: &[String], is_layout: bool) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.root).at("list", &self.root)? {
            let entry = entry.at("list", &self.root)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let stays = names.contains(&name) || (is_layout && name == BLOBS);
            if stays || !is_of_export(&name) {
                continue;
            }
            let path = entry.path();
            match entry.file_type().at("look at", &path)?.is_dir() {
                true => fs::remove_dir_all(&path).at("remove", &path)?,
                false => drop(remove(&path)?),
            }
        }
        Ok(())
    }

    /// Refuses to begin what the disk has no space for. What is there already of an earlier run may
    /// be part of it, and is not counted: then the disk itself says so.
    pub(super) fn check_space(&self, needed: u64) -> anyhow::Result<()> {
        let free = DiskSpace::of(&self.root)?.free_bytes;
        if self.is_resumed || free >= needed {
            return Ok(());
        }
        // Nobody is to find a directory that says it holds half an export.
        remove(&self.root.join(UNFINISHED))?;
        bail!(
            "there is no space in {}: {} are needed and {} are free; free some, choose another \
             disk, or export less at once",
            self.root.display(),
            bytes(needed),
            bytes(free)
        )
    }

    /// Writes a volume as a directory: this one, if it has no name of its own.
    pub(super) fn directory(
        &self,
        name: Option<&str>,
        volume: &Volume,
        open: OpenBlob<'_>,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<(), WriteError> {
        let root = name.map_or_else(|| self.root.clone(), |name| self.root.join(name));
        if name.is_some() {
            match fs::create_dir(&root) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => made.at("make the directory", &root)?,
            }
            sync_directory(&self.root)?;
        }
        write_directory(&root, volume, open, on_bytes)
    }

    /// Writes a volume as an archive.
    pub(super) fn archive(
        &self,
        name: &str,
        volume: &Volume,
        open: OpenBlob<'_>,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<(), WriteError> {
        let (path, part) = (self.root.join(name), self.root.join(format!("{name}{PART}")));
        remove(&part)?;
        let mut out = BufWriter::with_capacity(PIECE_BYTES, SyncedFile::new(create(&part)?));
        let written = write_tar(&mut out, &part, volume, open, on_bytes).and_then(|()| {
            let file = out.into_inner().map_err(std::io::IntoInnerError::into_error);
            file.and_then(SyncedFile::sync).at("sync", &part)?;
            fs::rename(&part, &path).at("rename", &part)?;
            Ok(sync_directory(&self.root)?)
        });
        if written.is_err() {
            // What is full becomes no emptier by it.
            let _ = fs::remove_file(&part);
        }
        written
    }

    /// Says that all is there.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        sync_directory(&self.root)?;
        remove(&self.root.join(UNFINISHED))?;
        Ok(sync_directory(&self.root)?)
    }
}

/// Writes a volume to a pipe.
pub(super) fn to_pipe(
    pipe: File,
    volume: &Volume,
    open: OpenBlob<'_>,
    on_bytes: &mut dyn FnMut(u64),
) -> Result<(), WriteError> {
    let mut out = BufWriter::with_capacity(PIECE_BYTES, pipe);
    write_tar(&mut out, Path::new("the pipe"), volume, open, on_bytes)
}

/// What a volume is called.
pub(super) fn volume_name(volume: u32, volumes: u32, is_archive: bool) -> Option<String> {
    let ending = if is_archive { ARCHIVE } else { "" };
    match volumes {
        1 if is_archive => Some(format!("{VOLUME}{ending}")),
        1 => None,
        _ => {
            // So that they stand in their order wherever they are listed.
            let width = volumes.to_string().len();
            Some(format!("{VOLUME}-{volume:0width$}-of-{volumes}{ending}"))
        }
    }
}

/// Whether an export into a directory was cut short.
fn is_unfinished(root: &Path) -> bool {
    root.join(UNFINISHED).symlink_metadata().is_ok_and(|found| found.is_file())
}

fn check_empty(root: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(root).at("list", root)? {
        let name = entry.at("list", root)?.file_name().to_string_lossy().into_owned();
        if OF_FILE_SYSTEMS.contains(&name.as_str()) {
            continue;
        }
        let what = if is_of_export(&name) { "holds a bundle already" } else { "is not empty" };
        bail!(
            "{} {what}, and an export overwrites nothing: choose another directory, such as {}",
            root.display(),
            root.join(VOLUME).display()
        );
    }
    Ok(())
}

/// Whether an export writes something of this name.
fn is_of_export(name: &str) -> bool {
    let name = name.strip_suffix(PART).unwrap_or(name);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let rest = name.strip_suffix(ARCHIVE).unwrap_or(name).strip_prefix(VOLUME);
    let is_volume = rest.is_some_and(|rest| {
        let numbers = rest.strip_prefix('-').and_then(|rest| rest.split_once("-of-"));
        rest.is_empty() || numbers.is_some_and(|(one, all)| is_number(one) && is_number(all))
    });
    is_volume || FILES.contains(&name) || PARTS.contains(&name)
}

/// Makes a new file as any program does: the umask says who reads it. A mode of its own is nothing
/// that the file system of a stick could keep.
fn create(path: &Path) -> Result<File, IoError> {
    OpenOptions::new().write(true).create_new(true).open(path).at("create", path)
}

/// What says that a directory is not whole.
const UNFINISHED: &str = "registry-bundle.unfinished";
/// What it tells people.
const WARNING: &str = "This export is not whole: it is still being written, or was cut short. The \
                       same `registry export` again makes it whole.\n";
/// What a volume is called, with a number behind it where there are several.
const VOLUME: &str = "bundle";
/// What the name of an archive ends with.
const ARCHIVE: &str = ".tar";
/// What the name of a file ends with that is not whole.
const PART: &str = ".part";
/// Where the blobs of a layout are.
const BLOBS: &str = "blobs";
/// What a layout consists of.
const FILES: [&str; 6] = [BLOBS, CONTENTS, DOCUMENT, INDEX, LAYOUT, SIGNATURE];
/// The same while it is written, without the ending.
const PARTS: [&str; 3] = ["CONTENTS", "index", "registry-bundle"];
/// What lies in every file system of some kinds, and is nobody's.
const OF_FILE_SYSTEMS: [&str; 2] = ["lost+found", "System Volume Information"];
/// What is written at once, in bytes.
const PIECE_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_export_writes_is_told_from_all_else() {
        for volumes in [1, 3, 10, 999] {
            for is_archive in [false, true] {
                let Some(name) = volume_name(1, volumes, is_archive) else { continue };
                assert!(is_of_export(&name) && is_of_export(&format!("{name}.part")), "{name}");
            }
        }
        assert_eq!(volume_name(7, 12, true), Some("bundle-07-of-12.tar".to_owned()));
        assert_eq!(volume_name(1, 1, false), None);
        for name in ["blobs", "index.json", "index.part", "oci-layout.part", "CONTENTS.part"] {
            assert!(is_of_export(name), "{name}");
        }
        for name in ["", "bundles", "bundle-1", "bundle-1-of-", "bundle-x-of-2", "a.tar", ".part"] {
            assert!(!is_of_export(name), "{name}");
        }
    }
}
