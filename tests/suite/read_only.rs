//! A disk that is read-only: pulls go on from it, whatever else is refused, and a start finds all
//! that was acknowledged.

use std::fs;
use std::process::Command;

use crate::support::binary::{Instance, registry};
use crate::support::clients::Curl;
use crate::support::content::{Manifest, OCTETS, begin_upload, push_blob, push_image, sha256};
use crate::support::disk::OwnDisk;
use crate::support::http::Client;
use crate::support::process::{run, wait_until};
use crate::support::report::skip;

mod backup;
mod certificate;
mod socket;

/// What every refusal says.
const SENTENCE: &str = "the disk of the registry is read-only, so it can be pulled from and \
    nothing else: on its host, look into the kernel's log, mend the disk, mount it writable, and \
    restart the registry";

#[test]
fn a_disk_that_turns_read_only_costs_the_writes_and_is_served_from_after_a_restart() {
    let Some(disk) = a_disk() else { return };
    let mut instance = Instance::new().with_data(disk.path().join("data"));
    instance.start();
    let client = instance.client();
    let pushed = Pushed::to(&client);
    let upload = begin_upload(&client, "app");
    client.request("PATCH", &upload, &[OCTETS], b"begun").expect(202);
    assert!(status(&instance).contains("\"read_only\": false"));
    if !disk.turn_read_only() {
        skip("this kernel lets nobody call a file system damaged");
        return;
    }
    pushed.can_be_pulled(&client);
    pushed.is_all_that_can_be_done(&client);
    client.request("PATCH", &upload, &[OCTETS], b", more").refused(503, "DENIED");
    says_so(&instance, &client);
    pushed.can_be_backed_up(&instance);
    pushed.can_be_pulled(&client);
    let told = instance.errors().matches(SENTENCE).count();
    assert!(told <= 1, "said {told} times");
    // Neither did it end, nor does it end otherwise than asked to.
    instance.stop();

    // What is left of the socket in the directory cannot be removed.
    instance.start();
    let client = instance.client();
    pushed.can_be_pulled(&client);
    pushed.is_all_that_can_be_done(&client);
    says_so(&instance, &client);
    instance.kill();
    instance.start();
    pushed.can_be_pulled(&instance.client());
    instance.stop();

    disk.repair();
    instance.start();
    let client = instance.client();
    client.get("/readyz").expect(200);
    pushed.can_be_pulled(&client);
    push_image(&client, "app", "2", b"another layer");
    client.delete(&format!("/v2/app/blobs/{}", pushed.loose)).expect(202);
    instance.stop();
}

#[test]
fn whoever_meets_it_first_hears_why_and_it_is_remembered() {
    const CASES: [&str; 5] = ["backup", "PATCH", "PUT", "DELETE", "POST"];
    for case in CASES {
        let Some(disk) = a_disk() else { return };
        let mut instance = Instance::new().with_data(disk.path().join("data"));
        instance.start();
        let client = instance.client();
        let pushed = Pushed::to(&client);
        let upload = begin_upload(&client, "app");
        client.request("PATCH", &upload, &[OCTETS], b"begun").expect(202);
        client.get("/readyz").expect(200);
        // As after an error of its own: newer kernels leave the mount's flag as it was.
        disk.remount("abort");
        let path = match case {
            "POST" => "/v2/app/blobs/uploads/".to_owned(),
            "PUT" => format!("{upload}?digest={}", sha256(b"begun")),
            _ => upload,
        };
        let body = if case == "PATCH" { &b", more"[..] } else { b"" };
        match case {
            "backup" => pushed.can_be_backed_up(&instance),
            method => {
                let answer = client.request(method, &path, &[OCTETS], body).refused(503, "DENIED");
                assert_eq!(answer.error().1, SENTENCE, "{case}");
            }
        }
        assert_eq!(client.get("/readyz").refused(503, "DENIED").error().1, SENTENCE, "{case}");
        assert!(status(&instance).contains("\"read_only\": true"), "{case}");
        pushed.can_be_pulled(&client);
        instance.stop();
    }
}

#[test]
fn a_start_on_a_read_only_disk_shows_all_that_was_acknowledged_after_a_kill_and_a_stop() {
    for is_killed in [true, false] {
        let Some(disk) = a_disk() else { return };
        let mut instance = Instance::new().with_data(disk.path().join("data"));
        instance.start();
        let client = instance.client();
        let pushed = Pushed::to(&client);
        if is_killed {
            instance.kill();
            let log = fs::metadata(instance.data().join("registry.db-wal")).expect("a log");
            assert!(log.len() > 0);
        } else {
            instance.stop();
        }
        disk.remount("ro");
        // Without a server, too.
        assert!(status(&instance).contains("\"read_only\": true"));
        assert_eq!(instance.command(&["ls"], &["app"]).ok().lines().count(), 1);
        pushed.can_be_backed_up(&instance);
        instance.start();
        let client = instance.client();
        pushed.can_be_pulled(&client);
        pushed.is_all_that_can_be_done(&client);
        says_so(&instance, &client);
        pushed.can_be_backed_up(&instance);
        assert_eq!(instance.errors().matches(SENTENCE).count(), 1, "{}", instance.errors());
        instance.stop();
        disk.remount("rw");
        instance.start();
        let client = instance.client();
        pushed.can_be_pulled(&client);
        push_image(&client, "app", "2", b"another layer");
        instance.stop();
    }
}

#[test]
fn a_backup_on_a_read_only_disk_can_be_served_without_a_log_and_stays_a_backup() {
    let Some(disk) = a_disk() else { return };
    let mut instance = Instance::started();
    let pushed = Pushed::to(&instance.client());
    let backup = disk.path().join("backup");
    instance.command(&["backup"], &[backup.to_str().expect("a path in UTF-8")]).ok();
    instance.stop();
    assert!(!backup.join("registry.db-wal").exists());
    disk.remount("ro");
    let mut served = Instance::new().with_data(backup);
    served.start();
    let client = served.client();
    pushed.can_be_pulled(&client);
    pushed.is_all_that_can_be_done(&client);
    served.stop();
    assert!(served.data().join("backup.json").exists());
    assert!(!served.data().join("registry.db-wal").exists());
}

#[test]
fn a_database_that_would_have_to_be_changed_first_is_refused() {
    let Some(disk) = a_disk() else { return };
    let data = disk.path().join("data");
    fs::create_dir(&data).expect("a directory");
    let mut tar = Command::new("tar");
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/schema-1.tar.gz");
    run(tar.args(["--extract", "--gzip", "--file", archive, "--directory"]).arg(&data)).ok();
    disk.remount("ro");
    let instance = Instance::new().with_data(data);
    let refused = instance.command(&["serve"], &["--listen", "127.0.0.1:0"]).fails(1);
    let start = format!(
        "registry: the database in {} is of an earlier version and has to be changed once",
        instance.data().display()
    );
    assert!(refused.contains(&start), "{refused}");
}

#[test]
fn two_servers_on_one_read_only_disk_are_one_too_many() {
    let Some(disk) = a_disk() else { return };
    let mut first = Instance::new().with_data(disk.path().join("data"));
    first.start();
    first.stop();
    disk.remount("ro");
    first.start();
    let mut second = Instance::new().with_data(first.data().to_owned());
    second.begin();
    // The file in the directory names whoever had it when it could be written.
    wait_until("it waits", || second.errors().contains("finds it), which owns the data directory"));
    first.stop();
    second.wait_until_ready();
    second.stop();
}

#[test]
fn a_first_start_on_a_read_only_disk_is_refused() {
    let Some(disk) = a_disk() else { return };
    disk.remount("ro");
    let data = disk.path().join("data");
    let data = data.to_str().expect("a path in UTF-8");
    let start = ["serve", "--data-dir", data, "--listen", "127.0.0.1:0"];
    let refused = registry(&start).fails(1);
    assert_eq!(refused, format!("registry: {SENTENCE}\n"));
}

/// What was pushed and acknowledged before the disk turned.
struct Pushed {
    image: Manifest,
    loose: String,
}

impl Pushed {
    fn to(client: &Client) -> Self {
        let image = push_image(client, "app", "1", b"a layer");
        Self { image, loose: push_blob(client, "app", b"loose") }
    }

    #[track_caller]
    fn can_be_pulled(&self, client: &Client) {
        let by_tag = client.get("/v2/app/manifests/1").expect(200).body;
        let by_digest = client.get(&format!("/v2/app/manifests/{}", self.image.digest()));
        assert_eq!(by_digest.expect(200).body, by_tag);
        let blob = client.get(&format!("/v2/app/blobs/{}", self.loose)).expect(200).body;
        assert_eq!(blob, b"loose");
        client.get("/v2/_catalog").expect(200);
        client.get("/healthz").expect(200);
    }

    /// Into a new directory, or another one by the flag, and whole.
    #[track_caller]
    fn can_be_backed_up(&self, instance: &Instance) {
        let home = tempfile::tempdir().expect("a temporary directory");
        let backup = home.path().join("backup");
        let directory = backup.to_str().expect("a path in UTF-8");
        instance.command(&["backup"], &[directory]).ok();
        let refused = instance.command(&["backup"], &[directory]).fails(1);
        assert!(refused.contains("which is read-only: choose an empty directory"), "{refused}");
        assert!(refused.contains("type the same with --take-over"), "{refused}");
        instance.command(&["backup"], &[directory, "--take-over"]).ok();
        let restored = home.path().join("restored");
        let to = restored.to_str().expect("a path in UTF-8");
        registry(&["restore", directory, "--data-dir", to]).ok();
        for data in [restored, backup] {
            let mut other = Instance::new().with_data(data);
            other.start();
            let client = other.client();
            self.can_be_pulled(&client);
            push_image(&client, "app", "2", b"another layer");
            other.stop();
        }
    }

    #[track_caller]
    fn is_all_that_can_be_done(&self, client: &Client) {
        let whole = format!("/v2/app/blobs/uploads/?digest={}", sha256(b"new"));
        let mount = format!("/v2/other/blobs/uploads/?mount={}&from=app", self.loose);
        let manifest = format!("/v2/app/manifests/{}", self.image.digest());
        let blob = format!("/v2/app/blobs/{}", self.loose);
        for (method, path, body) in [
            ("POST", "/v2/app/blobs/uploads/", &b""[..]),
            ("POST", &whole, b"new"),
            ("POST", &mount, b""),
            ("DELETE", &manifest, b""),
            ("DELETE", "/v2/app/manifests/1", b""),
            ("DELETE", &blob, b""),
        ] {
            let answer = client.request(method, path, &[OCTETS], body).refused(503, "DENIED");
            assert_eq!(answer.error().1, SENTENCE, "{method} {path}");
            assert_eq!(answer.reason, SENTENCE);
        }
        let bytes = client.get("/v2/app/manifests/1").expect(200).body;
        let kind = ("Content-Type", "application/vnd.oci.image.manifest.v1+json");
        let again = client.request("PUT", "/v2/app/manifests/2", &[kind], &bytes);
        assert_eq!(again.refused(503, "DENIED").error().1, SENTENCE);
    }
}

/// Whoever watches the registry, and whoever gives it a command, hears of it.
#[track_caller]
fn says_so(instance: &Instance, client: &Client) {
    let ready = client.get("/readyz");
    assert_eq!(ready.refused(503, "DENIED").error().1, SENTENCE);
    let health = Curl::of(instance).request("GET", "/health/instance").expect(503).body;
    let health = String::from_utf8(health);
    assert!(health.expect("a text").contains("\"disk_space\":false"));
    client.get("/healthz").expect(200);
    let table = instance.command(&["status"], &[]).ok();
    assert!(table.contains(&format!("writes        refused: {SENTENCE}")), "{table}");
    assert!(table.contains(&instance.address()), "{table}");
    assert!(status(instance).contains("\"read_only\": true"));
    for (words, rest) in [
        (&["gc"][..], &[][..]),
        (&["verify"], &[]),
        (&["rm"], &["app:1"]),
        (&["rm"], &["app:*"]),
        (&["rm", "--all"], &["app"]),
        (&["tag", "protect"], &["app:1"]),
        (&["user", "remove"], &["init"]),
    ] {
        let refused = instance.command(words, rest).fails(1);
        assert_eq!(refused, format!("registry: {SENTENCE}\n"), "{words:?}");
    }
    instance.command(&["gc"], &["--dry-run"]).ok();
    instance.command(&["verify"], &["--dry-run"]).ok();
}

#[track_caller]
fn status(instance: &Instance) -> String {
    instance.command(&["status"], &["--json"]).ok()
}

/// A disk of its own; none, with the reason told, where that cannot be.
fn a_disk() -> Option<OwnDisk> {
    let disk = OwnDisk::mount();
    if disk.is_none() {
        skip("this machine lets nobody mount a disk");
    }
    disk
}
