//! The files of a store, held against what the load knows: nothing is missing, and nothing is left
//! over.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use storage::{Algorithm, Digest};

use super::Load;

/// The files of a store that hold content.
#[derive(Debug)]
pub(crate) struct Files {
    /// The blobs.
    pub(crate) blobs: BTreeSet<Digest>,
    /// The uploads, by the names of their files.
    pub(crate) uploads: BTreeSet<String>,
}

impl Files {
    /// Reads every file of the store: each has the bytes that its name says.
    #[track_caller]
    pub(crate) fn read(data: &Path) -> Self {
        let mut blobs = BTreeSet::new();
        for algorithm in Algorithm::ALL {
            for shard in entries(&data.join("blobs").join(algorithm.name())) {
                for file in entries(&shard) {
                    let named = digest_of(algorithm, &shard, &file);
                    let bytes = fs::read(&file).expect("a blob");
                    assert_eq!(Digest::of(algorithm, &bytes), named, "{}", file.display());
                    blobs.insert(named);
                }
            }
        }
        let uploads = entries(&data.join("uploads"));
        Self { blobs, uploads: uploads.iter().map(|path| name_of(path)).collect() }
    }
}

impl Load {
    /// Checks the files of a store from which everything is collected that is nobody's: the blobs
    /// of all images, and the uploads that are open, beside at most those of requests that broke.
    #[track_caller]
    pub(crate) fn check_files(&self, data: &Path) {
        let files = Files::read(data);
        let blobs = self.needed();
        let missing: Vec<_> = blobs.difference(&files.blobs).collect();
        assert!(missing.is_empty(), "blobs without files: {missing:?}");
        let left: Vec<_> = files.blobs.difference(&blobs).collect();
        assert!(left.is_empty(), "{} files that are nobody's: {left:?}", left.len());

        let sessions = self.workers.iter().flat_map(|worker| &worker.sessions);
        let open: BTreeSet<String> = sessions
            .flat_map(|session| [session.id().to_owned(), format!("{}.meta", session.id())])
            .collect();
        let missing: Vec<_> = open.difference(&files.uploads).collect();
        assert!(missing.is_empty(), "uploads without files: {missing:?}");
        let left: Vec<_> = files.uploads.difference(&open).collect();
        let strays: usize = self.workers.iter().map(|worker| worker.strays).sum();
        assert!(left.len() <= 2 * strays, "more files than {strays} broken uploads: {left:?}");
    }

    /// The blobs that images name.
    pub(crate) fn needed(&self) -> BTreeSet<Digest> {
        let own = self.workers.iter().flat_map(|worker| &worker.own);
        let own = own.flat_map(|repository| repository.manifests.values().cloned());
        let images = own.chain(self.world.shared.held());
        images
            .flat_map(|image| image.blobs.iter().map(|blob| blob.digest).collect::<Vec<_>>())
            .collect()
    }
}

/// The digest that a file is named by, in the directory of its first two digits.
#[track_caller]
fn digest_of(algorithm: Algorithm, shard: &Path, file: &Path) -> Digest {
    let hex = name_of(file);
    assert!(hex.starts_with(&name_of(shard)), "{}", file.display());
    format!("{algorithm}:{hex}").parse().unwrap_or_else(|_| panic!("{}", file.display()))
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory of the store");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
