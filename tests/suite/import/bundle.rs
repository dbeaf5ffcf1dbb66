//! What a registry exported: whose it is, and that nothing comes in of what nobody trusted has
//! signed.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Layout, import, import_piped, is_whole, named, stagings};
use crate::support::binary::Instance;
use crate::support::content::{noise, push_image};

/// A registry with some images that was exported once.
struct Exported {
    instance: Instance,
    place: TempDir,
    report: Value,
}

impl Exported {
    /// Exports so many images of a layer of so many bytes.
    fn new(images: u64, layer_bytes: usize, flags: &[&str]) -> Self {
        let instance = Instance::started();
        for number in 0..images {
            let layer = noise(number, layer_bytes);
            push_image(&instance.client(), "team/app", &number.to_string(), &layer);
        }
        let place = tempfile::tempdir().expect("a directory");
        let root = place.path().join("bundle").display().to_string();
        let flags = [&[root.as_str(), "--json"], flags].concat();
        let told = instance.command(&["export"], &flags).ok();
        let report = serde_json::from_str(&told).expect("JSON");
        Self { instance, place, report }
    }

    fn root(&self) -> PathBuf {
        self.place.path().join("bundle")
    }

    fn path(&self) -> String {
        self.root().display().to_string()
    }

    fn key(&self) -> &str {
        self.report["key"].as_str().expect("a key")
    }

    /// The bundle as one who meant harm, or a bad stick, left it.
    fn altered(&self, name: &str, alter: impl FnOnce(&Path)) -> String {
        let to = self.place.path().join(name);
        copy(&self.root(), &to);
        alter(&to);
        to.display().to_string()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("its type").is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("a copy")),
        }
    }
}

fn replace(file: PathBuf, from: &str, to: &str) {
    let text = fs::read_to_string(&file).expect("a text");
    assert!(text.contains(from), "{text}");
    fs::write(file, text.replacen(from, to, 1)).expect("a file");
}

#[test]
fn a_bundle_is_told_by_its_number_its_registry_and_its_key() {
    let near = Exported::new(1, 3000, &[]);
    let far = Instance::started();
    let report = import(&far, &["--dry-run", &near.path()], 0);
    let bundle = &report["bundles"][0];
    assert_eq!(bundle["bundle"], near.report["bundle"], "{report}");
    assert_eq!(bundle["registry"], near.report["registry"]);
    assert_eq!((&bundle["volume"], &bundle["volumes"]), (&json!(1), &json!(1)));
    assert_eq!(bundle["key"], json!(near.key()));
    assert_eq!(bundle["source"], json!(near.path()));
    let text = far.command(&["import"], &[&near.path()]).ok();
    let number = near.report["bundle"].as_str().expect("a number");
    let first = format!("{}: the bundle {number}, written by the registry ", near.path());
    assert!(text.starts_with(&first), "{text}");
    assert!(text.contains(&format!(", signed with the key {}\n", near.key())), "{text}");
    assert!(text.contains("--require-signer KEY takes nothing but"), "{text}");
    assert!(is_whole(&far, "team/app:0"));
    let text = far.command(&["import", "--require-signer", near.key()], &[&near.path()]).ok();
    assert!(!text.contains("--require-signer"), "{text}");
    // What is no bundle tells of none.
    let layout = Layout::new();
    layout.name(&layout.image(b"layer"), "team/other:1");
    assert_eq!(import(&far, &[layout.path()], 0)["bundles"], json!([]));
}

#[test]
fn nothing_comes_in_of_what_nobody_trusted_has_signed() {
    let near = Exported::new(1, 3000, &[]);
    let far = Instance::started();
    let other = Exported::new(1, 3000, &[]);
    let layout = Layout::new();
    layout.name(&layout.image(b"layer"), "team/app:0");
    let unsigned = near.altered("unsigned", |root| {
        fs::remove_file(root.join("registry-bundle.sig")).expect("a signature");
    });
    let forged = near.altered("forged", |root| {
        replace(root.join("registry-bundle.json"), "\"made\": ", "\"made\": 1");
    });
    let others = near.altered("others", |root| {
        let name = "registry-bundle.sig";
        fs::copy(other.root().join(name), root.join(name)).expect("a signature");
    });
    let renamed = near.altered("renamed", |root| {
        replace(root.join("index.json"), "team/app:0", "team/app:9");
    });
    let malformed = near.altered("malformed", |root| {
        fs::write(root.join("registry-bundle.json"), "{}").expect("a file");
    });
    let more = near.altered("more", |root| {
        copy(Path::new(layout.path()), &root.join("beside"));
    });
    let (good, stranger) = (near.path(), other.path());
    for (source, why, is_refused_by_all) in [
        (layout.path(), "it is no bundle that a registry exported", false),
        (unsigned.as_str(), "it has no signature", false),
        (forged.as_str(), "its signature is forged, or it was changed", true),
        (others.as_str(), "its signature is forged, or it was changed", true),
        (stranger.as_str(), "it is signed with the key ", false),
        (renamed.as_str(), "its index.json is not the one that was exported", true),
        (malformed.as_str(), "registry-bundle.json does not say", false),
        (more.as_str(), "other images lie beside it", false),
    ] {
        // A good one beside it helps none of both.
        for sources in [&[source][..], &[good.as_str(), source]] {
            for dry_run in [&["--dry-run"][..], &[]] {
                let rest = [&["--require-signer", near.key()], dry_run, sources].concat();
                let said = far.command(&["import"], &rest).fails(1);
                let refused = format!("nothing is imported, since {source} is refused: ");
                assert!(said.contains(&refused) && said.contains(why), "{source}: {said}");
            }
        }
        if is_refused_by_all {
            let said = far.command(&["import"], &[source]).fails(1);
            assert!(said.contains(why), "{said}");
        }
    }
    assert_eq!(named(&far, "team/app:0"), None);
    assert_eq!(named(&far, "team/app:9"), None);
    let both = ["--require-signer", other.key(), "--require-signer", near.key(), good.as_str()];
    let report = import(&far, &both, 0);
    assert_eq!(report["import"], json!("1"), "what was refused has no number");
    // Where no key is asked for, what nobody signed comes in and is told.
    let report = import(&far, &[&unsigned], 0);
    assert_eq!(report["bundles"][0]["key"], Value::Null, "{report}");
    let text = far.command(&["import"], &[&unsigned]).ok();
    assert!(text.contains(", not signed by anybody\n"), "{text}");
    let report = import(&far, &[&malformed], 1);
    assert_eq!((&report["images"], &report["bundles"]), (&json!(1), &json!([])), "{report}");
    let said = far.command(&["import", "--require-signer", "none"], &[&good]).fails(2);
    assert!(said.contains("44 characters of base64"), "{said}");
}

#[test]
fn a_pipe_brings_nothing_before_its_signature_is_known_to_be_right() {
    let near = Exported::new(2, 3000, &[]);
    let other = Exported::new(1, 3000, &[]);
    for is_served in [true, false] {
        let mut far = super::instance(is_served);
        let piped = near.instance.command(&["export"], &["-"]).out;
        let sign = |key: &str| ["--require-signer".to_owned(), key.to_owned(), "-".to_owned()];
        let [flag, key, pipe] = sign(other.key());
        let mut command = std::process::Command::new(crate::support::binary::program());
        command.args(["import", "--data-dir"]).arg(far.data()).args([&flag, &key, &pipe]);
        let run = crate::support::process::run_with_input(&mut command, &piped);
        let said = run.fails(1);
        assert!(said.contains("since - is refused: it is signed with the key "), "{said}");
        assert_eq!(stagings(&far), 0);
        let [flag, key, pipe] = sign(near.key());
        super::serve(&mut far, is_served);
        assert_eq!(named(&far, "team/app:0"), None);
        let report = import_piped(&far, &[&flag, &key, &pipe], &piped, 0);
        assert_eq!((&report["images"], &report["read_blobs"]), (&json!(2), &json!(3)), "{report}");
        assert!(is_whole(&far, "team/app:1"));
        far.stop();
    }
}

#[test]
fn a_volume_that_is_not_given_is_named() {
    let near = Exported::new(6, 300_000, &["--volume-size", "700KB"]);
    let names = near.report["volumes"].as_array().expect("volumes");
    let all: Vec<String> = names
        .iter()
        .map(|name| near.root().join(name.as_str().expect("a name")).display().to_string())
        .collect();
    assert_eq!(all.len(), 3, "{names:?}");
    let far = Instance::started();
    let report = import(&far, &["--dry-run", &all[0], &all[2]], 0);
    let number = near.report["bundle"].as_str().expect("a number");
    let said = format!("of the 3 volumes of the bundle {number}, volume 2 is not here: ");
    let remarks = report["remarks"].as_array().expect("remarks");
    assert!(remarks.iter().any(|it| it.as_str().is_some_and(|it| it.starts_with(&said))));
    let report = import(&far, &["--dry-run", &all[1]], 1);
    let remark = report["remarks"][0].as_str().expect("a remark");
    assert!(remark.contains("volumes 1, 3 are not here"), "{remark}");
    let mut rest = vec!["--require-signer", near.key()];
    rest.extend(all.iter().map(String::as_str));
    let report = import(&far, &rest, 0);
    assert_eq!((&report["images"], &report["remarks"]), (&json!(6), &json!([])), "{report}");
    let volumes = report["bundles"].as_array().expect("bundles");
    let volumes: Vec<&Value> = volumes.iter().map(|it| &it["volume"]).collect();
    assert_eq!(volumes, [&json!(1), &json!(2), &json!(3)]);
}

#[test]
fn a_bundle_that_is_older_than_one_that_came_before_is_told() {
    let near = Exported::new(1, 3000, &[]);
    let far = Instance::started();
    assert_eq!(import(&far, &[&near.path()], 0)["remarks"], json!([]));
    // Nobody signed what is of a later day.
    let later = near.altered("later", |root| {
        replace(root.join("registry-bundle.json"), "\"made\": ", "\"made\": 1");
        fs::remove_file(root.join("registry-bundle.sig")).expect("a signature");
    });
    let number = near.report["bundle"].as_str().expect("a number");
    replace(PathBuf::from(&later).join("registry-bundle.json"), number, &"7".repeat(32));
    assert_eq!(import(&far, &[&later], 0)["remarks"], json!([]));
    let report = import(&far, &["--dry-run", &near.path()], 0);
    let remark = report["remarks"][0].as_str().expect("a remark");
    assert!(remark.contains(&format!("older than the bundle {}", "7".repeat(32))), "{remark}");
}
