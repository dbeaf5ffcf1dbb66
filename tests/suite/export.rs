//! `registry export` and `registry receipt`: what is written, that others read it, what is left
//! out, and what a bad blob, a full disk or a death in the middle leaves.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::binary::Instance;
use crate::support::clients::{Curl, Machine};
use crate::support::images::{Family, Image, Manifest, noise, sha256};
use crate::support::layout::{Layout, is_signed, unpacked, volumes};
use crate::support::process::Run;
use crate::tag::push;

mod damage;
mod meanwhile;
mod owner;
mod read_back;
mod since;

const OCTETS: &str = "application/octet-stream";
const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

#[test]
fn all_that_belongs_to_an_image_is_written_and_other_tools_read_it() {
    let instance = Instance::started();
    let machine = Machine::of(&instance);
    let shown = fill(&instance, &machine);
    for flags in [&[][..], &["--tar"]] {
        // podman makes the name of an image of the path, and takes no capital letter in it.
        let prefix = format!("export-{}", std::process::id());
        let place = tempfile::Builder::new().prefix(&prefix).rand_bytes(0).tempdir();
        let place = place.expect("a directory");
        let root = place.path().join("bundle");
        let report = export(&instance, &root, flags);
        assert_eq!(report["images"], shown.len());
        let found = volumes(&root);
        let layout = Layout::read(&found, &BTreeSet::new());
        assert_eq!(layout.names.keys().cloned().collect::<BTreeSet<_>>(), shown);
        assert_eq!(report["blobs"].as_u64().zip(report["manifests"].as_u64()), {
            let all = layout.blobs.len() as u64;
            report["manifests"].as_u64().map(|manifests| (all - manifests, manifests))
        });
        let key = report["key"].as_str().expect("a key");
        assert!(is_signed(&found[0], key));
        let status = instance.command(&["status"], &[]).ok();
        assert!(status.contains(&format!("signs with    {key}")), "{status}");
        let public = fs::read_to_string(instance.data().join("tls/bundle.pub")).expect("a key");
        assert_eq!(public.trim_end(), key);
        // The layout itself, and the archive as it lies there.
        let source = match flags {
            [] => format!("oci:{}", root.display()),
            _ => format!("oci-archive:{}/bundle.tar", root.display()),
        };
        for name in ["team/app:1", "team/index:1"] {
            let target = format!("dir:{}", place.path().join("copy").display());
            machine.skopeo(&["copy", "--all", "-q", &format!("{source}:{name}"), &target]).ok();
            let copied = fs::read(place.path().join("copy/manifest.json")).expect("a manifest");
            assert_eq!(sha256(&copied), layout.names[name], "{name}");
            fs::remove_dir_all(place.path().join("copy")).expect("the copy goes");
        }
        machine.podman(&["pull", "-q", &format!("{source}:team/app:1")]).ok();
        // A signature over something else is none.
        fs::write(found[0].join("registry-bundle.json"), "{}").expect("a file");
        assert!(!is_signed(&found[0], key));
    }
}

#[test]
fn a_pipe_takes_the_same_as_a_file_with_the_sums_first() {
    let mut instance = Instance::started();
    let machine = Machine::of(&instance);
    let shown = fill(&instance, &machine);
    // The store itself, where no server runs.
    instance.stop();
    let place = tempfile::tempdir().expect("a directory");
    let out = instance.command(&["export"], &["-"]);
    assert_eq!(out.code(), Some(0), "{out}");
    assert!(out.err.contains(" is whole\n") && out.err.contains("signed by"), "{}", out.err);
    let archive = place.path().join("piped.tar");
    fs::write(&archive, &out.out).expect("a file");
    let mut list = std::process::Command::new("tar");
    let listed = crate::support::process::run(list.arg("-tf").arg(&archive)).ok();
    let first = "registry-bundle.sig\nregistry-bundle.json\noci-layout\nindex.json\nCONTENTS.txt\n";
    assert!(listed.starts_with(first), "{listed}");
    let layout = Layout::read(&[unpacked(&archive)], &BTreeSet::new());
    assert_eq!(layout.names.keys().cloned().collect::<BTreeSet<_>>(), shown);
    // A file behind > is no pipe.
    let path = place.path().join("redirected.tar");
    let mut redirected = std::process::Command::new(crate::support::binary::program());
    redirected.args(["export", "-", "--data-dir"]).arg(instance.data());
    redirected.stdout(fs::File::create(&path).expect("a file")).stderr(std::process::Stdio::null());
    assert!(redirected.status().expect("an export").success());
    let layout = Layout::read(&[unpacked(&path)], &BTreeSet::new());
    assert_eq!(layout.names.into_keys().collect::<BTreeSet<_>>(), shown);
    let said = instance.command(&["export"], &["-", "--volume-size", "4GB"]).fails(1);
    assert!(said.contains("a pipe has no volumes"), "{said}");
}

#[test]
fn volumes_are_no_larger_than_asked_and_each_is_a_layout() {
    let instance = Instance::started();
    let curl = Curl::of(&instance);
    for number in 0..12 {
        put(&curl, "big", &number.to_string(), &large(number));
    }
    // Two names for one image, and one that all share a blob with.
    put(&curl, "again", "x", &large(0));
    for (flags, is_tar) in [(&[][..], false), (&["--tar"][..], true)] {
        let place = tempfile::tempdir().expect("a directory");
        let flags = [flags, &["--volume-size", "1MB"]].concat();
        let report = export(&instance, place.path(), &flags);
        let names: Vec<&str> =
            report["volumes"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
        assert!(names.len() > 2, "{names:?}");
        let total = names.len();
        for (number, name) in (1..).zip(&names) {
            let ending = if is_tar { ".tar" } else { "" };
            assert_eq!(*name, format!("bundle-{number}-of-{total}{ending}"));
            let path = place.path().join(name);
            let mut du = std::process::Command::new("du");
            let size = crate::support::process::run(du.args(["-sb", "--"]).arg(&path)).ok();
            let size: u64 = size.split('\t').next().and_then(|it| it.parse().ok()).expect("one");
            assert!(size <= 1_000_000, "{name}: {size}");
        }
        let found = volumes(place.path());
        let layout = Layout::read(&found, &BTreeSet::new());
        assert_eq!(layout.names.len(), 13);
        let key = report["key"].as_str().expect("a key");
        for (number, (volume, document)) in (1..).zip(found.iter().zip(&layout.documents)) {
            assert!(is_signed(volume, key));
            assert_eq!(document["volume"], number);
            assert_eq!(document["volumes"], total);
            assert_eq!(document["bundle"], report["bundle"]);
            assert_eq!(document["checksum"], report["checksum"]);
        }
        // What any number of volumes says they hold together.
        let is_manifest = |digest: &str| {
            layout.documents.iter().any(|document| !document["manifests"][digest].is_null())
        };
        let blobs = layout.blobs.iter().filter(|(digest, _)| !is_manifest(digest));
        let lines = blobs.map(|(digest, it)| format!("{digest} {}\n", it.len()));
        assert_eq!(report["checksum"], sha256(lines.collect::<String>().as_bytes()));
    }
    let place = tempfile::tempdir().expect("a directory");
    let to = place.path().join("small").display().to_string();
    let said = instance.command(&["export"], &[&to, "--volume-size", "100KB"]).fails(1);
    assert!(said.contains("does not fit into such a volume") && said.contains("big:"), "{said}");
    assert!(!place.path().join("small").exists());
}

#[test]
fn patterns_choose_repositories_tags_and_digests() {
    let instance = Instance::started();
    let curl = Curl::of(&instance);
    let images: Vec<Image> = (0..4).map(image).collect();
    for (repository, tag, number) in
        [("team/app", "1.0", 0), ("team/app", "1.1", 1), ("team/app", "2.0", 2), ("tool", "1.0", 3)]
    {
        put(&curl, repository, tag, &images[number]);
    }
    // One without a tag belongs to its repository all the same.
    let untagged = image(9);
    put(&curl, "team/app", &untagged.manifest.digest(), &untagged);
    let by_digest = format!("team/app@{}", untagged.manifest.digest());
    let all_of_app = ["team/app:1.0", "team/app:1.1", "team/app:2.0", by_digest.as_str()];
    for (patterns, expected) in [
        (&["team/app:1.*"][..], &["team/app:1.0", "team/app:1.1"][..]),
        (&["*:1.0"], &["team/app:1.0", "tool:1.0"]),
        (&["tool", "team/app:2.0"], &["tool:1.0", "team/app:2.0"]),
        (&[by_digest.as_str()], &[by_digest.as_str()]),
        (&["t*/app"], &all_of_app),
        (&["team/app", "team/app:1.0"], &all_of_app),
        (&["mirror.example.com:8443/tool:1.?"], &["tool:1.0"]),
        (&["quay.io/tool"], &["tool:1.0"]),
    ] {
        let place = tempfile::tempdir().expect("a directory");
        export(&instance, place.path(), patterns);
        let layout = Layout::read(&volumes(place.path()), &BTreeSet::new());
        let expected: BTreeSet<String> = expected.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(layout.names.into_keys().collect::<BTreeSet<_>>(), expected, "{patterns:?}");
    }
    let place = tempfile::tempdir().expect("a directory");
    let to = place.path().join("none").display().to_string();
    for pattern in ["other", "tool:2*", "team/*:9"] {
        let said = instance.command(&["export"], &[&to, "tool", pattern]).fails(1);
        assert!(said.contains(&format!("no image is like {pattern}: `registry ls`")), "{said}");
    }
    assert!(!place.path().join("none").exists());
    instance.command(&["export"], &[&to, "tool:"]).fails(2);
}

#[test]
fn a_key_is_made_once_and_backups_have_it() {
    let instance = Instance::started();
    put(&Curl::of(&instance), "app", "1", &image(0));
    let status = instance.command(&["status", "--json"], &[]).ok();
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["bundle_key"], Value::Null);
    let place = tempfile::tempdir().expect("a directory");
    let key = |name: &str| export(&instance, &place.path().join(name), &[])["key"].clone();
    assert_eq!(key("one"), key("two"));
    let backup = place.path().join("backup");
    let to = backup.display().to_string();
    instance.command(&["backup"], &[&to, "--same-file-system"]).ok();
    for name in ["bundle.key", "bundle.pub"] {
        let kept = fs::read(backup.join("tls").join(name)).expect("the key in the backup");
        assert_eq!(kept, fs::read(instance.data().join("tls").join(name)).expect("the key"));
    }
}

/// Fills a registry with images of both families, a list of each, what refers to them in either
/// way, and what refers to that. Returns what an export names.
fn fill(instance: &Instance, machine: &Machine) -> BTreeSet<String> {
    let (curl, address) = (Curl::of(instance), instance.address());
    let app = Image::new(Family::Oci, "amd64", b"app");
    push(machine, &app.manifest, std::slice::from_ref(&app), &format!("{address}/team/app:1"));
    let old = Image::new(Family::Docker, "amd64", b"docker");
    push(machine, &old.manifest, std::slice::from_ref(&old), &format!("{address}/team/docker:1"));
    let mut names = BTreeSet::from(["team/app:1".to_owned(), "team/docker:1".to_owned()]);
    for (family, name) in [(Family::Oci, "team/index"), (Family::Docker, "team/list")] {
        let images = Image::of_platforms(family, &["amd64", "arm64"]);
        let list = Manifest::list(family, &[&images[0].manifest, &images[1].manifest]);
        push(machine, &list, &images, &format!("{address}/{name}:1"));
        names.insert(format!("{name}:1"));
        // One platform is signed as cosign did it, and has a bill of materials that is signed, too.
        let child = images[1].manifest.digest();
        let signature = format!("sha256-{}.sig", &child["sha256:".len()..]);
        put(&curl, name, &signature, &Image::new(family, "amd64", b"signature"));
        names.insert(format!("{name}:{signature}"));
        let sbom = refer(&curl, name, &images[1].manifest, "sbom");
        let signed = refer(&curl, name, &sbom, "signature of it");
        names.extend([&sbom, &signed].map(|it| format!("{name}@{}", it.digest())));
    }
    names
}

/// Puts an artifact that refers to a manifest.
fn refer(curl: &Curl, repository: &str, subject: &Manifest, text: &str) -> Manifest {
    let image = Image::new(Family::Oci, "amd64", text.as_bytes());
    upload(curl, repository, &image);
    let mut document: Value = serde_json::from_slice(&image.manifest.bytes).expect("JSON");
    document["subject"] = json!({
        "mediaType": subject.media_type, "digest": subject.digest(), "size": subject.bytes.len(),
    });
    document["artifactType"] = json!("application/vnd.test");
    let manifest = image.manifest.with_document(&document);
    let path = format!("/v2/{repository}/manifests/{}", manifest.digest());
    curl.send("PUT", &path, OCI_IMAGE, &manifest.bytes).expect(201);
    manifest
}

/// Puts an image under a tag or its digest.
#[track_caller]
fn put(curl: &Curl, repository: &str, reference: &str, image: &Image) {
    upload(curl, repository, image);
    let path = format!("/v2/{repository}/manifests/{reference}");
    curl.send("PUT", &path, image.manifest.media_type, &image.manifest.bytes).expect(201);
}

#[track_caller]
fn upload(curl: &Curl, repository: &str, image: &Image) {
    for content in [&image.layer, &image.config] {
        let path = format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(content));
        curl.send("POST", &path, OCTETS, content).expect(201);
    }
}

fn image(number: u64) -> Image {
    Image::new(Family::Oci, "amd64", &noise(number, 1000))
}

fn large(number: u64) -> Image {
    Image::new(Family::Oci, "amd64", &noise(number, 300_000))
}

/// Exports, and returns what is told of it.
#[track_caller]
fn export(instance: &Instance, to: &Path, rest: &[&str]) -> Value {
    let told = export_run(instance, to, &[rest, &["--json"]].concat()).ok();
    serde_json::from_str(&told).expect("JSON")
}

fn export_run(instance: &Instance, to: &Path, rest: &[&str]) -> Run {
    let to = to.display().to_string();
    instance.command(&["export"], &[&[to.as_str()], rest].concat())
}

/// The file of a blob in the data.
fn blob(instance: &Instance, bytes: &[u8]) -> PathBuf {
    let hex = &sha256(bytes)["sha256:".len()..];
    instance.data().join("blobs/sha256").join(&hex[..2]).join(hex)
}
