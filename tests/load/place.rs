//! Where the servers' data and output lie: a directory for everything, and in it, where this
//! machine lets us, a disk of their own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::disk::{Disk, Format};

/// The directory for everything, removed at the end when it is our own.
pub(crate) struct Place {
    // It lies in the directory, so it goes first.
    disk: Option<Disk>,
    base: Base,
    why_no_disk: String,
}

enum Base {
    Given(PathBuf),
    Own(TempDir),
}

impl Place {
    /// The given directory, or a temporary one; with a disk of so many bytes in it where one can
    /// be made. Fails when the directory cannot be.
    pub(crate) fn new(given: Option<&Path>, disk_bytes: Option<u64>) -> Result<Self> {
        let base = match given {
            None => Base::Own(tempfile::Builder::new().prefix("registry-load-").tempdir()?),
            Some(path) => {
                fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
                Base::Given(fs::canonicalize(path)?)
            }
        };
        let mut place = Self { disk: None, base, why_no_disk: String::from("not wanted") };
        if let Some(bytes) = disk_bytes {
            match Disk::mount(place.base(), Format::Ext4, bytes) {
                Ok(disk) => place.disk = Some(disk),
                Err(error) => place.why_no_disk = format!("{error:#}"),
            }
        }
        Ok(place)
    }

    /// Where the servers' output goes.
    pub(crate) fn base(&self) -> &Path {
        match &self.base {
            Base::Given(path) => path,
            Base::Own(dir) => dir.path(),
        }
    }

    /// Where their data goes.
    pub(crate) fn data(&self) -> &Path {
        self.disk.as_ref().map_or(self.base(), Disk::path)
    }

    /// The disk of their own.
    pub(crate) fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    /// What lies where, in a sentence.
    pub(crate) fn describe(&self) -> String {
        let base = self.base().display();
        match &self.disk {
            Some(disk) => {
                format!("an ext4 of its own, on a loop device, at {}", disk.path().display())
            }
            None => format!("{base}; no disk of its own, so none is counted: {}", self.why_no_disk),
        }
    }
}
