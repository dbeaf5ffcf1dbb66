//! What lies on media: a set of images as an archive of oc-mirror, as an OCI layout, and as the
//! directory of a docker-registry.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::syncfs;
use serde_json::json;
use tempfile::TempDir;

use crate::data::Blob;

mod set;
mod tar;
mod tree;

pub(crate) use set::Set;

/// The same images in an archive and in a layout. Dropping it removes both.
pub(crate) struct Media {
    dir: TempDir,
    /// The images.
    pub(crate) set: Set,
}

impl Media {
    /// Writes both below `base`, and has the disk come to rest.
    pub(crate) fn write(base: &Path, set: Set) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("media-").tempdir_in(base)?;
        let media = Self { dir, set };
        let written = write_layout(&media.layout(), &media.set)
            .and_then(|()| write_archive(&media.archive(), &media.set));
        written.with_context(|| format!("writing media below {}", base.display()))?;
        syncfs(File::open(media.dir.path())?)?;
        Ok(media)
    }

    /// The archive, as oc-mirror writes its first segment.
    pub(crate) fn archive(&self) -> PathBuf {
        self.dir.path().join("mirror_000001.tar")
    }

    /// The layout, a directory.
    pub(crate) fn layout(&self) -> PathBuf {
        self.dir.path().join("layout")
    }

    /// The files of the layout that are blobs or manifests.
    pub(crate) fn layout_blobs(&self) -> Result<Vec<PathBuf>> {
        let blobs = self.layout().join(LAYOUT_BLOBS);
        let entries = fs::read_dir(blobs)?.map(|entry| Ok(entry?.path()));
        entries.collect()
    }
}

/// Reads files to their ends, so that they are in memory.
pub(crate) fn warm(files: &[PathBuf]) -> Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    for path in files {
        let mut file = File::open(path)?;
        while file.read(&mut piece).with_context(|| path.display().to_string())? > 0 {}
    }
    Ok(())
}

/// Writes the data directory of a docker-registry.
pub(crate) fn write_tree(root: &Path, set: &Set) -> io::Result<()> {
    for (path, content) in tree::files(set) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        content.write_to(&mut File::create(path)?)?;
    }
    Ok(())
}

fn write_layout(root: &Path, set: &Set) -> io::Result<()> {
    fs::create_dir_all(root.join(LAYOUT_BLOBS))?;
    let manifests = set.images.iter().map(|image| &image.image.manifest);
    for blob in set.blobs().into_values().chain(manifests) {
        let hex = blob.digest().trim_start_matches("sha256:");
        blob.write_to(&mut File::create(root.join(LAYOUT_BLOBS).join(hex))?)?;
    }
    let entries = set.images.iter().map(|image| {
        json!({
            "mediaType": image.image.media_type,
            "digest": image.image.manifest.digest(),
            "size": image.image.manifest.bytes(),
            "annotations": { "org.opencontainers.image.ref.name": image.name() },
        })
    });
    let index = json!({ "schemaVersion": 2, "manifests": entries.collect::<Vec<_>>() });
    fs::write(root.join("index.json"), index.to_string())?;
    fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
}

fn write_archive(path: &Path, set: &Set) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(PIECE_BYTES, File::create(path)?);
    for (path, content) in tree::files(set) {
        tar::write_header(&mut out, &path, content.bytes())?;
        content.write_to(&mut out)?;
        tar::fill_up(&mut out, content.bytes())?;
    }
    // What oc-mirror leaves of itself, and last the configuration that it had.
    for (path, text) in [
        ("working-dir/internal/oc-mirror-version.json", r#"{"gitVersion":"4.99.0"}"#),
        ("isc_2026-11-29T00:00:00Z", "kind: ImageSetConfiguration\n"),
    ] {
        tar::write_header(&mut out, path, text.len() as u64)?;
        out.write_all(text.as_bytes())?;
        tar::fill_up(&mut out, text.len() as u64)?;
    }
    tar::write_end(&mut out)?;
    out.flush()
}

/// What a file of a tree holds.
pub(crate) enum Content<'a> {
    /// A link, as docker-registry has them: a digest.
    Link(&'a str),
    Blob(&'a Blob),
}

impl Content<'_> {
    fn bytes(&self) -> u64 {
        match self {
            Self::Link(digest) => digest.len() as u64,
            Self::Blob(blob) => blob.bytes(),
        }
    }

    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Link(digest) => out.write_all(digest.as_bytes()),
            Self::Blob(blob) => blob.write_to(out),
        }
    }
}

/// Where the blobs of a layout are.
const LAYOUT_BLOBS: &str = "blobs/sha256";
/// How much is read or written at once, in bytes.
const PIECE_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn tar_finds_in_the_archive_what_the_tree_has() {
        let base = tempfile::tempdir().unwrap();
        let media = Media::write(base.path(), Set::generate(3, 4096)).unwrap();
        let tree = base.path().join("tree");
        write_tree(&tree, &media.set).unwrap();
        let mut tar = Command::new("tar");
        let compared = tar.arg("--compare").arg("--file").arg(media.archive());
        let names = tree::files(&media.set).into_iter().map(|(path, _)| path);
        let compared = compared.arg("--directory").arg(&tree).args(names).output().unwrap();
        // Times and owners differ, and nothing else.
        let text = String::from_utf8_lossy(&compared.stdout).into_owned();
        let is_wrong = |line: &&str| line.contains("Contents") || line.contains("Size");
        assert_eq!(text.lines().find(is_wrong), None);
        assert_eq!(String::from_utf8_lossy(&compared.stderr), "");
    }

    #[test]
    fn a_layout_has_each_blob_once() {
        let base = tempfile::tempdir().unwrap();
        let media = Media::write(base.path(), Set::generate(8, 4096)).unwrap();
        let files = media.layout_blobs().unwrap();
        assert_eq!(files.len(), media.set.blobs().len() + 8);
        warm(&files).unwrap();
        let bytes: u64 = files.iter().map(|path| path.metadata().unwrap().len()).sum();
        let manifests = media.set.images.iter().map(|image| image.image.manifest.bytes());
        assert_eq!(bytes, media.set.bytes() + manifests.sum::<u64>());
    }
}
