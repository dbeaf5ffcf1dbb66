//! Verification through the doors: damage is found, named, hidden from clients and healed by their
//! next push, whoever runs and whatever speaks to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::binary::{Instance, program};
use crate::support::clients::{Curl, Machine, directory};
use crate::support::content::{Manifest as Document, noise, push_blob};
use crate::support::images::{Family, Image, Manifest, sha256, write_directory};
use crate::support::process::{run, wait_until};
use crate::support::server::Server;

mod page;

/// A list of two images under `app:list`, one of them also under `app:amd64`, and another image
/// under `other:1`.
struct Scene {
    machine: Machine,
    list: Manifest,
    images: Vec<Image>,
}

impl Scene {
    fn push(instance: &Instance) -> Self {
        let machine = Machine::of(instance);
        let images = Image::of_platforms(Family::Oci, &["amd64", "arm64"]);
        let children: Vec<&Manifest> = images.iter().map(|image| &image.manifest).collect();
        let list = Manifest::list(Family::Oci, &children);
        write_directory(&machine.path("list"), &list, &images);
        let image = std::slice::from_ref(&images[0]);
        write_directory(&machine.path("image"), &images[0].manifest, image);
        let other = Image::new(Family::Docker, "amd64", b"other");
        write_directory(&machine.path("other"), &other.manifest, std::slice::from_ref(&other));
        let scene = Self { machine, list, images };
        scene.copy(instance, "list", "app:list");
        scene.copy(instance, "image", "app:amd64");
        scene.copy(instance, "other", "other:1");
        scene
    }

    fn copy(&self, instance: &Instance, from: &str, to: &str) {
        let from = directory(&self.machine.path(from));
        let to = format!("docker://{}/{to}", instance.address());
        self.machine.skopeo(&["copy", "--all", "--quiet", &from, &to]).ok();
    }

    /// The paths of the manifests that need the first image.
    fn manifests(&self) -> Vec<String> {
        let digests = [self.list.digest(), self.images[0].manifest.digest()];
        let references = ["list", "amd64"].map(str::to_owned).into_iter().chain(digests);
        references.map(|reference| format!("/v2/app/manifests/{reference}")).collect()
    }
}

/// Where the file of a blob is.
pub(crate) fn blob_path(data: &Path, digest: &str) -> PathBuf {
    let hex = digest.strip_prefix("sha256:").expect("a digest");
    data.join("blobs/sha256").join(&hex[..2]).join(hex)
}

/// Changes one bit of a file.
pub(crate) fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("the file of a blob");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("the file of a blob");
}

/// Runs `registry verify`, checks how it ended, and returns what it printed.
#[track_caller]
fn verify(instance: &Instance, flags: &[&str], code: i32) -> String {
    let run = instance.command(&["verify"], flags);
    assert_eq!(run.code(), Some(code), "{run}");
    String::from_utf8(run.out).expect("text")
}

#[test]
fn a_flipped_byte_is_found_told_and_healed_by_the_next_mirror_run() {
    let mut instance = Instance::started();
    let scene = Scene::push(&instance);
    let curl = Curl::of(&instance);
    let layer = sha256(&scene.images[0].layer);
    let blob = format!("/v2/app/blobs/{layer}");
    assert!(verify(&instance, &[], 0).ends_with("nothing is wrong\n"));
    for is_running in [true, false] {
        flip(&blob_path(instance.data(), &layer));
        if !is_running {
            instance.stop();
        }
        let told = verify(&instance, &["--dry-run"], 1);
        for image in ["  app:amd64\n", "  app:list\n"] {
            assert!(told.contains(image), "{told}");
        }
        assert!(!told.contains("other:1") && !told.contains("put aside"), "{told}");
        let report: Value =
            serde_json::from_str(&verify(&instance, &["--json"], 1)).expect("a report");
        let aside = instance.data().join("damaged").join(layer.replace(':', "-"));
        let what = format!("the blob {layer} is lost: its file holds other bytes");
        let found = json!([{ "what": what, "is_loss": true, "put_aside": aside }]);
        assert_eq!(report["found"], found);
        assert_eq!(report["lost_blobs"], 1);
        assert_eq!(report["hurt"], json!(["app:amd64", "app:list"]));
        assert!(aside.exists());
        // What is known to be lost is told until it is back.
        let told = verify(&instance, &["--rate", "1000"], 1);
        assert!(told.contains("lost: 1 blob and 0 manifests\n"), "{told}");
        assert!(instance.command(&["status"], &[]).ok().contains("LOST: 1 blob and 0 manifests"));
        if !is_running {
            instance.start();
        }

        curl.request("HEAD", &blob).expect(404);
        let lost = (
            "BLOB_UNKNOWN".to_owned(),
            format!("the registry lost the blob {layer}: push the image again"),
        );
        assert_eq!(curl.request("GET", &blob).expect(404).error(), lost);
        for path in scene.manifests() {
            curl.request("HEAD", &path).expect(404);
            let (code, message) = curl.request("GET", &path).expect(404).error();
            assert_eq!(code, "MANIFEST_UNKNOWN");
            assert!(message.starts_with(&format!("the registry lost {layer}, ")), "{message}");
            assert!(message.ends_with(": push the image again"), "{message}");
        }
        for untouched in [scene.images[1].manifest.digest(), sha256(b"")] {
            let path = format!("/v2/app/manifests/{untouched}");
            let expected = if untouched == sha256(b"") { 404 } else { 200 };
            curl.request("GET", &path).expect(expected);
        }
        // What people read who pull it meanwhile.
        for tag in ["amd64", "list"] {
            let name = format!("{}/app:{tag}", instance.address());
            for printed in [
                scene.machine.skopeo(&["inspect", &format!("docker://{name}")]).fails(1),
                scene.machine.podman(&["pull", "--quiet", &name]).fails(125),
            ] {
                assert!(printed.contains(&format!("the registry lost {layer}, ")), "{printed}");
                assert!(printed.contains(": push the image again"), "{printed}");
            }
        }
        // Mirroring the list again brings back the image under every name.
        scene.copy(&instance, "list", "app:list");
        for path in scene.manifests() {
            curl.request("GET", &path).expect(200);
        }
        assert_eq!(curl.request("GET", &blob).expect(200).body, scene.images[0].layer);
        assert!(verify(&instance, &[], 0).ends_with("nothing is wrong\n"));
    }
}

#[test]
fn what_is_lost_is_named_by_every_command_that_looks_and_in_the_log() {
    let mut instance = Instance::started();
    let scene = Scene::push(&instance);
    let layer = sha256(&scene.images[0].layer);
    flip(&blob_path(instance.data(), &layer));
    verify(&instance, &["--dry-run"], 1);
    verify(&instance, &[], 1);
    let found = format!("ERROR the blob {layer} is lost: its file holds other bytes");
    for words in [&found, "ERROR lost: push or mirror these images"] {
        wait_until("the log says so", || instance.errors().contains(words));
    }
    assert_eq!(instance.errors().matches(&found).count(), 1, "a dry run is not logged");
    for is_running in [true, false] {
        if !is_running {
            instance.stop();
        }
        // Whoever did not see the first report is told too.
        let told = verify(&instance, &[], 1);
        let lost = format!("lost: 1 blob and 0 manifests\n  the blob {layer}\n");
        assert!(told.contains(&lost), "{told}");
        let report: Value =
            serde_json::from_str(&verify(&instance, &["--json"], 1)).expect("a report");
        assert_eq!((&report["found"], &report["lost_blob_digests"]), (&json!([]), &json!([layer])));

        let inspected = instance.command(&["inspect"], &["app:list"]);
        let printed = String::from_utf8_lossy(&inspected.out).into_owned();
        let of = scene.images[0].manifest.digest();
        for part in [
            format!("child  linux/amd64  {of}"),
            format!("image  {}", scene.images[1].manifest.digest()),
            format!("missing: the layer {layer} of {of} is lost\n"),
        ] {
            assert!(printed.contains(&part), "{part}: {printed}");
        }
        assert!(inspected.fails(1).contains("app:list is not complete"));
        let inspected = instance.command(&["inspect"], &["app:amd64", "--json"]);
        assert_eq!(inspected.code(), Some(1), "{inspected}");
        let inspected: Value = serde_json::from_slice(&inspected.out).expect("JSON");
        assert_eq!(inspected["missing"][0]["digest"], json!(layer));
    }
}

#[test]
fn oc_brings_back_what_was_lost() {
    let server = Server::start();
    let oc = server.administrator();
    let (layer, config) = (noise(1, 20_000), b"{}".to_vec());
    for repository in ["ns/a", "ns/b"] {
        push_blob(&oc, repository, &layer);
        push_blob(&oc, repository, &config);
    }
    let image = Document::image(&config, &layer);
    let list = Document::index(&[&image]);
    image.put(&oc, "ns/a", &image.digest()).expect(201);
    list.put(&oc, "ns/a", "tag").expect(201);
    let digest = sha256(&layer);
    fs::write(blob_path(&server.data(), &digest), "cut").expect("the file of a blob");
    let command = registry_server::command::data::Verify { dry_run: false, mib_per_second: None };
    let report = server.command(command);
    assert_eq!((report.lost_blobs, report.hurt.as_slice()), (1, &["ns/a:tag".to_owned()][..]));

    // Whether it is there already: 200 would copy nothing.
    let manifest = format!("/v2/ns/a/manifests/{}", list.digest());
    oc.get(&manifest).refused(404, "MANIFEST_UNKNOWN");
    oc.head(&format!("/v2/ns/a/blobs/{digest}")).expect(404);
    image.put(&oc, "ns/a", &image.digest()).refused(400, "MANIFEST_BLOB_UNKNOWN");
    // It knows of another repository with this blob; there is no mount, but a session.
    let mount = format!("/v2/ns/a/blobs/uploads/?from=ns%2Fb&mount={digest}");
    let session = oc.request("POST", &mount, &[], b"").expect(202).location();
    oc.stream("PATCH", &session, &[], [layer.as_slice()]).expect(202);
    oc.request("PUT", &format!("{session}?digest={digest}"), &[], b"").expect(201);
    oc.head(&format!("/v2/ns/a/blobs/{digest}")).expect(200);
    image.put(&oc, "ns/a", &image.digest()).expect(201);
    list.put(&oc, "ns/a", "tag").expect(201);
    assert_eq!(oc.get(&manifest).expect(200).body, list.bytes);
    assert_eq!(oc.get(&format!("/v2/ns/b/blobs/{digest}")).expect(200).body, layer);
}

#[test]
fn a_server_finds_damage_by_itself_and_says_so() {
    let mut instance = Instance::new().with_flags(&["--scrub-interval", "1s"]);
    instance.start();
    let scene = Scene::push(&instance);
    let layer = sha256(&scene.images[1].layer);
    flip(&blob_path(instance.data(), &layer));
    wait_until("the damage is found", || {
        instance.errors().contains("lost: push or mirror these images again")
    });
    let log = instance.errors();
    for words in
        [&*format!("ERROR the blob {layer} is lost: its file holds other bytes"), "app:list"]
    {
        assert!(log.contains(words), "{words}: {log}");
    }
    let status = instance.command(&["status"], &["--json"]).ok();
    let status: Value = serde_json::from_str(&status).expect("a state");
    assert_eq!(status["lost_blobs"], 1);
    assert!(status["last_verified"].is_i64(), "{status}");
    instance.stop();
}

#[test]
fn a_file_that_the_disk_does_not_give_back_is_lost() {
    let mut instance = Instance::started();
    let scene = Scene::push(&instance);
    let layer = sha256(&scene.images[0].layer);
    let path = blob_path(instance.data(), &layer);
    // A bad sector; and a file that somebody else owns now.
    let failures =
        [("pread64:error=EIO", "Input/output error"), ("openat:error=EACCES", "Permission denied")];
    for (failure, expected) in failures {
        instance.stop();
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={failure}"), "-P"]);
        command.arg(&path).arg(program()).arg("verify").arg("--data-dir").arg(instance.data());
        let verified = run(&mut command);
        assert_eq!(verified.code(), Some(1), "{verified}");
        let told = String::from_utf8_lossy(&verified.out);
        let expected = format!("the blob {layer} is lost: its file cannot be read: {expected}");
        assert!(told.contains(&expected), "{told}");
        // It may be good, so it stays; while it is lost nobody is answered from it.
        assert!(path.exists());
        instance.start();
        let blob = format!("/v2/app/blobs/{layer}");
        Curl::of(&instance).request("HEAD", &blob).expect(404);
        let told = verify(&instance, &[], 0);
        let expected = format!("the blob {layer} was lost, and its file is good again");
        assert!(told.contains(&expected), "{told}");
        Curl::of(&instance).request("HEAD", &blob).expect(200);
    }
    scene.copy(&instance, "image", "app:amd64");
    assert!(verify(&instance, &[], 0).ends_with("nothing is wrong\n"));
}
