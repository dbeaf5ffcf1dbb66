//! A bundle as a test reads it, with nothing of the program: every sum is made again, and every
//! manifest is followed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::images::sha256;
use super::process::run;

/// What the volumes of a bundle hold together.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// Blobs by their digests.
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    /// What the images are called, and the digests of their manifests.
    pub(crate) names: BTreeMap<String, String>,
    /// The documents of the volumes.
    pub(crate) documents: Vec<Value>,
}

impl Layout {
    /// Reads volumes in their order and checks each: that its documents fit its files, that each
    /// blob is what it is called, and that each image it names is whole with it and those before.
    /// What may be absent is not asked for.
    #[track_caller]
    pub(crate) fn read(volumes: &[PathBuf], may_lack: &BTreeSet<String>) -> Self {
        let mut layout = Self::default();
        for volume in volumes {
            layout.add(volume);
            let names: Vec<String> = layout.names.values().cloned().collect();
            names.iter().for_each(|digest| layout.follow(digest, may_lack));
        }
        layout
    }

    #[track_caller]
    fn add(&mut self, volume: &Path) {
        let read =
            |name: &str| fs::read(volume.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let layout: Value = serde_json::from_slice(&read("oci-layout")).expect("JSON");
        assert_eq!(layout["imageLayoutVersion"], "1.0.0");
        let document: Value = serde_json::from_slice(&read("registry-bundle.json")).expect("JSON");
        let files = document["files"].as_object().expect("files");
        for (name, sum) in files {
            let bytes = read(name);
            assert_eq!(sum["digest"], sha256(&bytes), "{name}");
            assert_eq!(sum["size"], bytes.len(), "{name}");
        }
        assert_eq!(files.keys().collect::<Vec<_>>(), ["CONTENTS.txt", "index.json", "oci-layout"]);
        let directory = volume.join("blobs/sha256");
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&directory).expect("the blobs") {
            let path = entry.expect("a blob").path();
            let bytes = fs::read(&path).expect("a blob");
            let digest = sha256(&bytes);
            assert_eq!(path.file_name().expect("a name").to_str(), Some(&digest[7..]));
            found.insert(digest, bytes);
        }
        let of = |name: &str| document[name].as_object().expect("blobs").clone();
        let said = of("manifests").into_iter().chain(of("blobs"));
        let sizes: BTreeMap<_, _> = found.iter().map(|(k, v)| (k.clone(), v.len())).collect();
        let said = said.map(|(k, v)| (k, v.as_u64().expect("a size") as usize));
        assert_eq!(said.collect::<BTreeMap<_, _>>(), sizes);
        self.blobs.extend(found);
        let index: Value = serde_json::from_slice(&read("index.json")).expect("JSON");
        for entry in index["manifests"].as_array().expect("manifests") {
            let name = &entry["annotations"]["org.opencontainers.image.ref.name"];
            let (name, digest) = (name.as_str().expect("a name"), entry["digest"].as_str());
            let digest = digest.expect("a digest");
            assert_eq!(entry["size"], self.blobs[digest].len());
            let before = self.names.insert(name.to_owned(), digest.to_owned());
            assert_eq!(before, None, "{name} is named twice");
            let contents = String::from_utf8(read("CONTENTS.txt")).expect("text");
            assert!(contents.contains(&format!("{name}  {digest}\n")), "{contents}");
        }
        self.documents.push(document);
    }

    #[track_caller]
    fn follow(&self, digest: &str, may_lack: &BTreeSet<String>) {
        let Some(bytes) = self.blobs.get(digest) else {
            assert!(may_lack.contains(digest), "{digest} is missing");
            return;
        };
        let Ok(manifest) = serde_json::from_slice::<Value>(bytes) else { return };
        for list in ["manifests", "layers"] {
            for entry in manifest[list].as_array().into_iter().flatten() {
                self.follow(entry["digest"].as_str().expect("a digest"), may_lack);
            }
        }
        if let Some(config) = manifest["config"]["digest"].as_str() {
            assert!(self.blobs.contains_key(config) || may_lack.contains(config), "{config}");
        }
    }
}

/// The volumes in a directory: itself, if it is one, else what lies there, in its order. Archives
/// are unpacked beside themselves.
#[track_caller]
pub(crate) fn volumes(root: &Path) -> Vec<PathBuf> {
    if root.join("oci-layout").exists() {
        return vec![root.to_owned()];
    }
    let entries = fs::read_dir(root).expect("the bundle").map(|it| it.expect("one").path());
    let mut found: Vec<PathBuf> = entries.collect();
    found.sort();
    let unpack = |path: PathBuf| match path.extension() {
        Some(ending) if ending == "tar" => unpacked(&path),
        _ => path,
    };
    found.into_iter().map(unpack).collect()
}

/// An archive as a directory beside it.
#[track_caller]
pub(crate) fn unpacked(archive: &Path) -> PathBuf {
    let to = archive.with_extension("unpacked");
    fs::create_dir_all(&to).expect("a directory");
    run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&to)).ok();
    to
}

/// Whether openssl takes the signature of a volume as one of this key.
pub(crate) fn is_signed(volume: &Path, key: &str) -> bool {
    // What stands before a public key of Ed25519 in DER (RFC 8410).
    let pem =
        format!("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA{key}\n-----END PUBLIC KEY-----\n");
    let place = tempfile::tempdir().expect("a directory");
    let public = place.path().join("key.pem");
    fs::write(&public, pem).expect("a file");
    let mut openssl = Command::new("openssl");
    openssl.args(["pkeyutl", "-verify", "-pubin", "-rawin", "-inkey"]).arg(&public);
    openssl.arg("-in").arg(volume.join("registry-bundle.json"));
    run(openssl.arg("-sigfile").arg(volume.join("registry-bundle.sig"))).code() == Some(0)
}
