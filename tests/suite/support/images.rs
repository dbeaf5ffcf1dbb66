//! Images to push: tiny ones made in code, in Docker's types and in OCI's, lists of them; and a
//! real one.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::process::run;

/// Whose media types a manifest has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Docker's, schema 2.
    Docker,
    /// OCI's.
    Oci,
}

impl Family {
    fn list(self) -> &'static str {
        match self {
            Self::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
            Self::Oci => "application/vnd.oci.image.index.v1+json",
        }
    }

    fn image(self) -> &'static str {
        match self {
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
        }
    }

    fn config(self) -> &'static str {
        match self {
            Self::Docker => "application/vnd.docker.container.image.v1+json",
            Self::Oci => "application/vnd.oci.image.config.v1+json",
        }
    }

    fn layer(self) -> &'static str {
        match self {
            Self::Docker => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            Self::Oci => "application/vnd.oci.image.layer.v1.tar+gzip",
        }
    }
}

/// A manifest or a list, byte by byte.
#[derive(Clone)]
pub(crate) struct Manifest {
    /// Its media type.
    pub(crate) media_type: &'static str,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    platform: Value,
}

impl Manifest {
    fn new(media_type: &'static str, platform: Value, document: &Value) -> Self {
        Self { media_type, bytes: document.to_string().into_bytes(), platform }
    }

    /// Its digest.
    pub(crate) fn digest(&self) -> String {
        sha256(&self.bytes)
    }

    /// The same with another document.
    pub(crate) fn with_document(&self, document: &Value) -> Self {
        Self::new(self.media_type, self.platform.clone(), document)
    }

    /// A list of manifests, which may be of the other family, absent, or lists themselves.
    pub(crate) fn list(family: Family, children: &[&Self]) -> Self {
        let entry = |child: &&Self| {
            json!({
                "mediaType": child.media_type, "digest": child.digest(),
                "size": child.bytes.len(), "platform": child.platform,
            })
        };
        let entries: Vec<Value> = children.iter().map(entry).collect();
        let document =
            json!({ "schemaVersion": 2, "mediaType": family.list(), "manifests": entries });
        Self::new(family.list(), platform("unknown"), &document)
    }
}

/// An image of one small file for one platform.
#[derive(Clone)]
pub(crate) struct Image {
    /// Its manifest.
    pub(crate) manifest: Manifest,
    /// Its only layer.
    pub(crate) layer: Vec<u8>,
    /// Its configuration.
    pub(crate) config: Vec<u8>,
}

impl Image {
    /// An image whose file holds `content`.
    pub(crate) fn new(family: Family, architecture: &str, content: &[u8]) -> Self {
        let tar = archive(content);
        let layer = gzip(&tar);
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [sha256(&tar)] },
            "history": [{ "created_by": "a test" }],
        });
        let config = config.to_string().into_bytes();
        let descriptor = |kind: &str, blob: &[u8]| {
            let (digest, size) = (sha256(blob), blob.len());
            json!({ "mediaType": kind, "digest": digest, "size": size })
        };
        let document = json!({
            "schemaVersion": 2, "mediaType": family.image(),
            "config": descriptor(family.config(), &config),
            "layers": [descriptor(family.layer(), &layer)],
        });
        let manifest = Manifest::new(family.image(), platform(architecture), &document);
        Self { manifest, layer, config }
    }

    /// One image for each of these architectures.
    pub(crate) fn of_platforms(family: Family, architectures: &[&str]) -> Vec<Self> {
        let image = |name: &&str| Self::new(family, name, name.as_bytes());
        architectures.iter().map(image).collect()
    }

    fn blobs(&self) -> [&[u8]; 2] {
        [&self.layer, &self.config]
    }
}

/// Writes images and the list above them, or one image alone, as a directory that skopeo and
/// podman read: the form that keeps every byte of a manifest of any type.
pub(crate) fn write_directory(path: &Path, top: &Manifest, images: &[Image]) {
    fs::create_dir_all(path).expect("a directory");
    let write = |name: &str, bytes: &[u8]| fs::write(path.join(name), bytes).expect("a file");
    write("version", b"Directory Transport Version: 1.1\n");
    write("manifest.json", &top.bytes);
    for image in images {
        write(&format!("{}.manifest.json", hex(&image.manifest.bytes)), &image.manifest.bytes);
        for blob in image.blobs() {
            write(&hex(blob), blob);
        }
    }
}

/// A Debian root file system as a tar archive, which hosts also begin from; made once by
/// debootstrap, which takes half a minute and a Debian mirror, and kept in the target directory.
pub(crate) fn debian() -> &'static Path {
    static ARCHIVE: OnceLock<PathBuf> = OnceLock::new();
    ARCHIVE.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rootfs");
        let archive = directory.join(format!("{SUITE}.tar"));
        if !archive.exists() {
            bootstrap(&directory, &archive);
        }
        archive
    })
}

fn bootstrap(directory: &Path, archive: &Path) {
    fs::create_dir_all(directory).expect("a directory");
    // Another run of the tests may be at the same; whoever is last wins.
    let work = tempfile::tempdir_in(directory).expect("a temporary directory");
    let root = work.path().join("root");
    run(Command::new("debootstrap").args(["--variant=minbase", SUITE]).arg(&root)).ok();
    let made = work.path().join("made.tar");
    let mut tar = Command::new("tar");
    tar.args(["--numeric-owner", "--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*"]);
    tar.args(["--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*"]);
    run(tar.arg("--create").arg("--file").arg(&made).arg("--directory").arg(&root).arg(".")).ok();
    fs::rename(&made, archive).expect("the archive gets its name");
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// The name of a digest of these bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

fn hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn platform(architecture: &str) -> Value {
    let os = if architecture == "unknown" { "unknown" } else { "linux" };
    json!({ "architecture": architecture, "os": os })
}

/// A tar archive that holds one file.
fn archive(content: &[u8]) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join("file"), content).expect("a file");
    let mut tar = Command::new("tar");
    tar.args(["--create", "--mtime=@0", "--owner=0", "--group=0", "--file=-", "--directory"]);
    run(tar.arg(directory.path()).arg("file")).out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    run(Command::new("gzip").args(["--no-name", "--stdout"]).arg(file.path())).out
}

/// The release that the real image is of.
const SUITE: &str = "bookworm";
