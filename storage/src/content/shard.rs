//! What lies in one of the directories below `blobs/`.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use durable::At;
use oci::{Algorithm, Digest};

use super::Content;
use crate::error::StorageError;

/// What lies in a directory of blobs.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The files that are named as blobs are, in no order.
    pub(crate) blobs: Vec<Digest>,
    /// Everything else, which no registry put there.
    pub(crate) foreign: Vec<PathBuf>,
}

impl Content {
    /// Lists the directory of the blobs whose digests begin with this byte.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub(crate) fn list(&self, algorithm: Algorithm, prefix: u8) -> Result<Listing, StorageError> {
        let directory = self.layout.shard(algorithm, prefix);
        let mut listing = Listing::default();
        for entry in fs::read_dir(&directory).at("list", &directory)? {
            let entry = entry.at("list", &directory)?;
            let is_file = match entry.file_type() {
                Ok(kind) => kind.is_file(),
                // It went meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                failed => failed.at("look at", &entry.path())?.is_file(),
            };
            let name = entry.file_name();
            let digest = format!("{algorithm}:{}", name.to_string_lossy()).parse::<Digest>();
            match digest {
                Ok(digest) if is_file && directory.ends_with(&digest.hex()[..2]) => {
                    listing.blobs.push(digest);
                }
                _ => listing.foreign.push(entry.path()),
            }
        }
        Ok(listing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;

    #[test]
    fn only_files_named_as_blobs_of_the_directory_are_blobs() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        layout.make_directories().unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"a blob");
        let prefix = digest.bytes()[0];
        let path = layout.blob(&digest);
        fs::write(&path, "").unwrap();
        let mut foreign = vec![
            path.with_extension("mine"),
            // As a blob of another directory is named, and of another algorithm.
            path.with_file_name(format!("{:02x}{}", prefix ^ 1, &digest.hex()[2..])),
            path.with_file_name(Digest::of(Algorithm::Sha512, b"a blob").hex()),
        ];
        foreign.iter().for_each(|path| fs::write(path, "").unwrap());
        let directory = path.with_file_name(format!("{}{}", &digest.hex()[..2], "0".repeat(62)));
        fs::create_dir(&directory).unwrap();
        foreign.push(directory);
        let mut listing = Content::new(&layout).list(Algorithm::Sha256, prefix).unwrap();
        assert_eq!(listing.blobs, [digest]);
        listing.foreign.sort_unstable();
        foreign.sort_unstable();
        assert_eq!(listing.foreign, foreign);
        let empty = Content::new(&layout).list(Algorithm::Sha512, prefix).unwrap();
        assert!(empty.blobs.is_empty() && empty.foreign.is_empty());
    }
}
