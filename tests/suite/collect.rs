//! Collection through the doors that administrators and clients use: `registry gc`, the schedule,
//! and what it must never take from a client.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::binary::Instance;
use crate::support::clients::{Curl, Machine, directory};
use crate::support::images::{Family, Image, Manifest, sha256, write_directory};
use crate::support::process::wait_until;

const OCTETS: &str = "application/octet-stream";
/// Lets everything go that nothing needs.
const ALL: [&str; 5] = ["--grace", "0s", "--undo-time", "0s", "--json"];

#[test]
fn a_blob_that_a_client_was_told_of_is_there_when_its_manifest_comes() {
    let mut instance = Instance::started();
    let curl = Curl::of(&instance);
    let image = Image::new(Family::Docker, "amd64", b"layer");
    let forgotten = blob(&curl, "app", b"nobody asked for it");
    let asked = blob(&curl, "app", b"asked for by one who may not push");
    for content in [&image.layer, &image.config] {
        blob(&curl, "app", content);
    }
    instance.add_user("reader", "pull");
    let reader = Curl::with_login(&instance, "reader", crate::support::binary::PASSWORD);
    let told = [&image.layer, &image.config].map(|content| path("app", &sha256(content)));
    // All four are old within a few seconds; two are asked for by somebody who may push.
    wait_until("collection takes the old blobs", || {
        for path in &told {
            curl.request("HEAD", path).expect(200);
        }
        reader.request("HEAD", &asked);
        gc(&instance, &["--grace", "10s", "--json"]);
        [&forgotten, &asked].iter().all(|path| curl.request("GET", path).status == 404)
    });
    let manifest = &image.manifest;
    curl.send("PUT", "/v2/app/manifests/1", manifest.media_type, &manifest.bytes).expect(201);
    gc(&instance, &ALL);
    for path in &told {
        curl.request("GET", path).expect(200);
    }
    instance.stop();
}

#[test]
fn an_image_that_was_deleted_leaves_no_files_and_its_neighbours_all_of_theirs() {
    let mut instance = Instance::started();
    let machine = Machine::of(&instance);
    let images = Image::of_platforms(Family::Oci, &["amd64", "arm64"]);
    let list = Manifest::list(
        Family::Oci,
        &images.iter().map(|image| &image.manifest).collect::<Vec<_>>(),
    );
    write_directory(&machine.path("list"), &list, &images);
    let other = Image::new(Family::Docker, "amd64", b"other");
    write_directory(&machine.path("other"), &other.manifest, std::slice::from_ref(&other));
    let name = |tag: &str| format!("docker://{}/app:{tag}", instance.address());
    for (from, to) in [("list", "all"), ("other", "other")] {
        let from = directory(&machine.path(from));
        machine.skopeo(&["copy", "--all", "--quiet", &from, &name(to)]).ok();
    }
    assert_eq!(files(&instance.data().join("blobs")), 6);
    machine.skopeo(&["delete", &name("all")]).ok();
    // As long as the list can be restored, so can its images.
    let kept = gc(&instance, &["--grace", "0s", "--json"]);
    assert_eq!((number(&kept, "untagged_manifests"), number(&kept, "blobs")), (0, 0));
    let promised = gc(&instance, &[&ALL[..], &["--dry-run"]].concat());
    assert_eq!(files(&instance.data().join("blobs")), 6);
    let done = gc(&instance, &ALL);
    assert_eq!(done, promised);
    assert_eq!((number(&done, "deleted_manifests"), number(&done, "blobs")), (1, 4));
    assert_eq!(number(&done, "untagged_manifests"), 2);
    assert_eq!(files(&instance.data().join("blobs")), 2);
    machine.skopeo(&["copy", "--quiet", &name("other"), &directory(&machine.path("back"))]).ok();

    // Without a server the same, and what it did is remembered.
    instance.stop();
    let stray = instance.data().join("blobs/sha256/00").join(format!("00{}", "1".repeat(62)));
    fs::write(&stray, b"left by a crash").expect("a file");
    let waits = instance.command(&["gc"], &["--undo-time", "0s"]).ok();
    assert!(waits.contains("--grace 0s takes blobs too"), "{waits}");
    assert!(stray.exists());
    assert_eq!(number(&gc(&instance, &ALL), "stray_files"), 1);
    assert!(!stray.exists());
    let status = instance.command(&["status"], &["--json"]).ok();
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["last_collection"]["did"]["stray_bytes"], 15, "{status}");
}

#[test]
fn children_pushed_by_digest_then_a_collection_then_their_index_are_all_there_until_it_goes() {
    let mut instance = Instance::started();
    let curl = Curl::of(&instance);
    let images = Image::of_platforms(Family::Oci, &["amd64", "arm64"]);
    let lone = Image::new(Family::Oci, "amd64", b"pulled by digest");
    let put = |manifest: &Manifest, reference: &str| {
        let path = format!("/v2/app/manifests/{reference}");
        curl.send("PUT", &path, manifest.media_type, &manifest.bytes).expect(201);
    };
    for image in images.iter().chain([&lone]) {
        for content in [&image.layer, &image.config] {
            blob(&curl, "app", content);
        }
        put(&image.manifest, &image.manifest.digest());
    }
    let took_nothing = |done: &Value| {
        assert_eq!((number(done, "untagged_manifests"), number(done, "blobs")), (0, 0), "{done}");
    };
    took_nothing(&gc(&instance, &ALL));
    // A registry that was stopped knows it still.
    instance.stop();
    took_nothing(&gc(&instance, &ALL));
    instance.start();
    let list = Manifest::list(Family::Oci, &[&images[0].manifest, &images[1].manifest]);
    let outer = Manifest::list(Family::Oci, &[&list]);
    put(&list, &list.digest());
    put(&outer, "all");
    took_nothing(&gc(&instance, &ALL));
    let manifests = [&images[0].manifest, &images[1].manifest, &list, &outer];
    let all_are = |status: u16| {
        for manifest in manifests {
            curl.request("GET", &format!("/v2/app/manifests/{}", manifest.digest())).expect(status);
        }
    };
    all_are(200);
    curl.request("DELETE", &format!("/v2/app/manifests/{}", outer.digest())).expect(202);
    gc(&instance, &["--grace", "0s", "--json"]);
    instance.command(&["tag", "restore"], &["app:all"]).ok();
    all_are(200);
    curl.request("DELETE", &format!("/v2/app/manifests/{}", outer.digest())).expect(202);
    let done = gc(&instance, &ALL);
    assert_eq!((number(&done, "untagged_manifests"), number(&done, "blobs")), (3, 4));
    all_are(404);
    // What no list ever named stays, which is told with the reason.
    curl.request("GET", &format!("/v2/app/manifests/{}", lone.manifest.digest())).expect(200);
    assert_eq!(files(&instance.data().join("blobs")), 2);
    let bytes = lone.manifest.bytes.len() + lone.layer.len() + lone.config.len();
    let kept = json!({ "manifests": 1, "bytes": bytes });
    assert_eq!(done["untagged_kept"]["never_tagged"], kept);
    let size = storage::ByteCount(bytes as u64);
    let line = format!("1 manifest ({size}) pushed by digest and never tagged");
    let flags = ["--dry-run", "--grace", "0s", "--undo-time", "0s"];
    let told = instance.command(&["gc"], &flags).ok();
    assert!(told.contains(&line) && told.contains("--untagged-after TIME"), "{told}");
    let status = instance.command(&["status"], &[]).ok();
    assert!(status.contains(&line), "{status}");
    let status: Value =
        serde_json::from_str(&instance.command(&["status"], &["--json"]).ok()).expect("JSON");
    assert_eq!(status["last_collection"]["did"]["untagged_kept"]["never_tagged"], kept);
    instance.command(&["rm"], &[&format!("app@{}", lone.manifest.digest())]).ok();
    assert_eq!(number(&gc(&instance, &ALL), "blobs"), 2);
}

#[test]
fn collection_runs_on_its_schedule_and_never_when_told_so() {
    let flags = ["--undo-time", "0s", "--gc-interval"];
    let mut busy = Instance::new().with_flags(&[&flags[..], &["1s"]].concat());
    let mut never = Instance::new().with_flags(&[&flags[..], &["0s"]].concat());
    for instance in [&mut busy, &mut never] {
        instance.start();
        let curl = Curl::of(instance);
        blob(&curl, "app", b"unneeded");
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        let kind = "application/vnd.oci.image.index.v1+json";
        curl.send("PUT", "/v2/app/manifests/1", kind, index).expect(201);
        curl.request("DELETE", &format!("/v2/app/manifests/{}", sha256(index))).expect(202);
    }
    // What was told to clients before the start is not known yet, so no blob goes.
    wait_until("the schedule comes round", || busy.errors().contains("manifests=1"));
    assert_eq!(files(&busy.data().join("blobs")), 1);
    assert!(!never.errors().contains("collection ended"));
    for (flag, value) in [("--gc-grace", "59m"), ("--gc-interval", "1ms")] {
        let refused = crate::support::binary::registry(&["config", flag, value]).fails(2);
        assert!(refused.contains(flag) && refused.contains("or more"), "{refused}");
    }
    // What a command collects is logged in the same words.
    gc(&never, &["--dry-run", "--json"]);
    assert!(!never.errors().contains("collection ended"));
    gc(&never, &ALL);
    wait_until("the log says so", || never.errors().contains("collection ended"));
    let wrong = crate::support::binary::registry(&["config", "--gc-interval", "7"]).fails(2);
    assert!(wrong.contains("write it like 24h, 7d or 1h 30m"), "{wrong}");
}

/// Collects, and returns what it did.
fn gc(instance: &Instance, flags: &[&str]) -> Value {
    serde_json::from_str(&instance.command(&["gc"], flags).ok()).expect("JSON")
}

fn number(done: &Value, key: &str) -> u64 {
    done[key].as_u64().unwrap_or_else(|| panic!("{key}: {done}"))
}

fn blob(curl: &Curl, repository: &str, content: &[u8]) -> String {
    let digest = sha256(content);
    let uploads = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
    curl.send("POST", &uploads, OCTETS, content).expect(201);
    path(repository, &digest)
}

fn path(repository: &str, digest: &str) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

/// How many files there are below a directory.
fn files(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).expect("a directory");
    let count = |entry: fs::DirEntry| match entry.path() {
        path if path.is_dir() => files(&path),
        _ => 1,
    };
    entries.map(|entry| count(entry.expect("an entry"))).sum()
}
