//! The data directory of a Quay: what it serves goes in, and nothing in it is touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{import, instance, is_whole, named, serve};
use crate::support::binary::Instance;
use crate::support::process::run;

/// What it served when it was stopped.
const IMAGES: [(&str, &str); 4] = [
    (
        "fuse7/fuse-apicurito:1.2",
        "sha256:759180b3debc05786b8ebfe1595c40affe048e898bec9145539a8a381a65af67",
    ),
    (
        "fuse7/fuse-apicurito:latest",
        "sha256:30bff82b8e9d46335b16e65087ea496da3767ae898201ae0a224d9eb40e8ebf9",
    ),
    (
        "synthetic/tiny-docker:1.0",
        "sha256:090c2d49b3aeee0b602b9a0069c09374e9b9322a9252a2e16f60f5f200e5677c",
    ),
    (
        "synthetic/tiny-oci:1.0",
        "sha256:49fa985eee8a29f6253db7d15d25559d0f2f52f570fe65b3a3b2f5090fbbe618",
    ),
];
/// A layer of an image that only `tiny-oci` lists.
const LAYER: &str = "01a2cd7902b0517aeb4d3e247dfe086830d9d1144c6579b171357ba9e77b7b9f";

/// The directory of a Quay that was stopped. It is gone with the test.
struct Quay {
    place: TempDir,
}

impl Quay {
    fn new() -> Self {
        let place = tempfile::Builder::new().prefix("a quay? 50%-").tempdir().expect("a directory");
        let archives = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/archives");
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(archives.join("quay-go-data.tar.gz")).arg("-C").arg(place.path());
        run(&mut tar).ok();
        Self { place }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join("quay-go").join(name)
    }

    fn directory(&self) -> String {
        self.place.path().join("quay-go").display().to_string()
    }

    /// Everything in it: names, content and when it was changed.
    fn all(&self) -> Vec<(PathBuf, Option<Vec<u8>>, SystemTime)> {
        let (mut all, mut open) = (Vec::new(), vec![self.place.path().to_owned()]);
        while let Some(path) = open.pop() {
            let found = fs::symlink_metadata(&path).expect("something that is there");
            let content = found.is_file().then(|| fs::read(&path).expect("a file"));
            if found.is_dir() {
                let entries = fs::read_dir(&path).expect("a directory");
                open.extend(entries.map(|entry| entry.expect("an entry").path()));
            }
            all.push((path, content, found.modified().expect("a time")));
        }
        all.sort();
        all
    }

    /// Writes something else of the same length into the database, wherever it stands.
    fn rename(&self, old: &[u8], new: &[u8]) {
        let mut bytes = fs::read(self.path("quay.db")).expect("a database");
        let is_old = |at: &usize| bytes[*at..].starts_with(old);
        let places: Vec<usize> = (0..bytes.len()).filter(is_old).collect();
        assert!(!places.is_empty() && old.len() == new.len());
        for at in places {
            bytes[at..at + new.len()].copy_from_slice(new);
        }
        fs::write(self.path("quay.db"), bytes).expect("a database");
    }
}

/// What an import refuses, and says of it.
fn refused(instance: &Instance, quay: &Quay) -> String {
    let said = instance.command(&["import"], &[&quay.directory()]).fails(1);
    assert!(said.contains(&format!("{} is refused", quay.directory())), "{said}");
    said
}

#[test]
fn what_a_quay_served_goes_in_and_nothing_of_it_is_touched() {
    for is_served in [true, false] {
        let mut instance = instance(is_served);
        let quay = Quay::new();
        let before = quay.all();
        assert!(before.len() > 40, "{}", before.len());
        let foretold = import(&instance, &["--dry-run", &quay.directory()], 0);
        let report = import(&instance, &[&quay.directory()], 0);
        assert_eq!(foretold["moved"], report["moved"]);
        let moved: Vec<Value> = IMAGES
            .iter()
            .map(|(image, digest)| json!({ "image": image, "from": null, "to": digest }))
            .collect();
        assert_eq!(report["moved"], json!(moved), "{report}");
        let again = import(&instance, &[&quay.directory()], 0);
        assert_eq!((&again["read_blobs"], &again["moved"]), (&json!(0), &json!([])), "{again}");
        assert_eq!(quay.all(), before);
        serve(&mut instance, is_served);
        for (image, digest) in IMAGES {
            assert_eq!(named(&instance, image).as_deref(), Some(digest));
            assert!(is_whole(&instance, image), "{image}");
        }
        // What was deleted there is not here.
        let listed = instance.command(&["ls"], &[]).ok();
        assert!(!listed.contains("nodejs-12"), "{listed}");
    }
}

#[test]
fn manifests_that_lie_in_the_database_alone_go_in() {
    let instance = instance(true);
    let quay = Quay::new();
    // As a Quay has them that was migrated from mirror-registry: those that tags name, and those of
    // the lists.
    let storage = quay.path("storage/sha256");
    let mut removed = 0;
    for path in quay.all().into_iter().map(|(path, ..)| path).filter(|it| it.is_file()) {
        let bytes = fs::read(&path).expect("a file");
        if path.starts_with(&storage) && bytes.starts_with(b"{") && is_manifest(&bytes) {
            fs::remove_file(path).expect("a manifest");
            removed += 1;
        }
    }
    // One of them is of an image that was deleted.
    assert_eq!(removed, 9);
    let report = import(&instance, &[&quay.directory()], 0);
    assert_eq!(report["images"], json!(4), "{report}");
    for (image, digest) in IMAGES {
        assert_eq!(named(&instance, image).as_deref(), Some(digest));
        assert!(is_whole(&instance, image), "{image}");
    }
}

fn is_manifest(bytes: &[u8]) -> bool {
    let document: Value = serde_json::from_slice(bytes).expect("a document");
    document.get("schemaVersion").is_some()
}

#[test]
fn a_blob_that_is_gone_is_named_with_its_image_and_the_others_go_in() {
    let instance = instance(true);
    let quay = Quay::new();
    fs::remove_file(quay.path("storage/sha256/01").join(LAYER)).expect("a blob");
    let report = import(&instance, &[&quay.directory()], 1);
    assert_eq!(report["images"], json!(3), "{report}");
    let missing = report["missing"].as_array().expect("a list");
    assert_eq!(missing.len(), 1, "{report}");
    assert_eq!(missing[0]["digest"], json!(format!("sha256:{LAYER}")));
    assert_eq!(missing[0]["images"], json!(["synthetic/tiny-oci:1.0"]));
}

#[test]
fn a_name_that_no_image_can_have_is_told_and_the_others_go_in() {
    let instance = instance(true);
    let quay = Quay::new();
    quay.rename(b"tiny-oci", b"Tiny \x1b[m");
    let report = import(&instance, &[&quay.directory()], 1);
    assert_eq!((&report["images"], &report["damage"]), (&json!(3), &json!([])), "{report}");
    let why = "no image can be called so: give it another name in that Quay";
    let left = json!([{ "image": "synthetic/Tiny \u{1b}[m:1.0", "why": why }]);
    assert_eq!(report["left"], left);
    let text = instance.command(&["import"], &[&quay.directory()]);
    let told = format!("not imported: synthetic/Tiny \\u001b[m:1.0: {why}");
    let out = String::from_utf8_lossy(&text.out).into_owned();
    assert!(out.contains(&told), "{out}");
}

#[test]
fn a_quay_that_is_not_at_rest_or_broken_is_refused_with_what_helps() {
    let instance = instance(true);
    let quay = Quay::new();
    let database = fs::read(quay.path("quay.db")).expect("a database");
    fs::write(quay.path("quay.db-wal"), &database[..4096]).expect("a log");
    let said = refused(&instance, &quay);
    assert!(said.contains("quay.db-wal has changes") && said.contains("stop that Quay"), "{said}");
    fs::remove_file(quay.path("quay.db-wal")).expect("a log");
    let half = &database[..database.len() / 2];
    for broken in [half, &b"no database ".repeat(1000)] {
        fs::write(quay.path("quay.db"), broken).expect("a database");
        let said = refused(&instance, &quay);
        assert!(said.contains("copy its directory again"), "{said}");
    }
    fs::write(quay.path("quay.db"), &database).expect("a database");
    // The index of what was a table leads nowhere any more.
    quay.rename(b"CREATE TABLE tag (", b"CREATE TABLE gat (");
    refused(&instance, &quay);
    // A directory above, or a tar of it, has the database somewhere inside.
    let above = quay.place.path().display().to_string();
    let tar = quay.place.path().join("quay.tar").display().to_string();
    run(Command::new("tar").args(["-C", &above, "-cf", &tar, "quay-go"])).ok();
    for source in [above, tar] {
        let said = instance.command(&["import"], &[&source]).fails(1);
        assert!(said.contains("give the directory in which quay.db and storage"), "{said}");
    }
    assert_eq!(instance.command(&["ls"], &[]).ok(), "");
}
