//! The files of a store.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use oci::{Algorithm, Digest};

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
