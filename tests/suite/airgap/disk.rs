//! The disk that is carried: it is on one side at a time.

use std::fs;
use std::path::PathBuf;

use super::side::Side;

/// A directory that lies among the files of the side that has it, and goes with them.
pub(super) struct Disk {
    root: PathBuf,
}

impl Disk {
    /// An empty one on this side.
    pub(super) fn new(side: &Side) -> Self {
        let root = side.path("disk");
        fs::create_dir(&root).expect("a directory");
        Self { root }
    }

    /// Carries it to the other side.
    pub(super) fn carry_to(&mut self, side: &Side) {
        let to = side.path("disk");
        fs::rename(&self.root, &to).expect("a disk that is carried");
        self.root = to;
    }

    /// A path on it.
    pub(super) fn path(&self, name: &str) -> String {
        self.root.join(name).display().to_string()
    }

    /// What lies in one of its directories.
    pub(super) fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(directory)).expect("a directory of the disk");
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names: Vec<String> = entries.map(|entry| name(entry.expect("one"))).collect();
        names.sort();
        names
    }

    /// The volumes of a bundle in their order, each an archive.
    pub(super) fn volumes(&self, bundle: &str) -> Vec<String> {
        let names = self.names(bundle).into_iter().filter(|name| name.ends_with(".tar"));
        names.map(|name| self.path(&format!("{bundle}/{name}"))).collect()
    }

    /// The bytes of a bundle.
    pub(super) fn bytes(&self, bundle: &str) -> u64 {
        let size = |path: &String| fs::metadata(path).expect("a volume").len();
        self.volumes(bundle).iter().map(size).sum()
    }
}
