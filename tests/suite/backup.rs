//! `registry backup` and `registry restore`: what a backup holds, what it costs again, what a
//! death in the middle leaves, and what is refused.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::support::binary::{Instance, program, registry};
use crate::support::clients::Curl;
use crate::support::images::{Family, Image, Manifest, noise, sha256};
use crate::support::process::{Run, run, wait_until};
use crate::support::report::tell;

mod damage;
mod generation;
mod host;
mod next;
mod owner;
mod refusal;
mod room;

const OCTETS: &str = "application/octet-stream";
const CLIENTS: usize = 4;
/// Runs that are killed.
const KILLS: usize = 10;

#[test]
fn a_backup_made_while_pushes_run_holds_everything_that_was_acknowledged_before() {
    let instance = Instance::started();
    let curl = Curl::of(&instance);
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let acknowledged = Mutex::new(Vec::new());
    let count = || acknowledged.lock().expect("no client panicked").len();
    let mut before = Vec::new();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    push(&curl, number);
                    acknowledged.lock().expect("no client panicked").push(number);
                }
            });
        }
        wait_until("some pushes", || count() > 20);
        acknowledged.lock().expect("no client panicked").clone_into(&mut before);
        backup(&instance, &[]).ok();
        wait_until("pushes went on", || count() > before.len() + CLIENTS);
        is_over.store(true, Ordering::Relaxed);
    });
    tell(&format!("acknowledged before the backup: {}, in all: {}", before.len(), count()));
    assert!(!instance.data().join("backup.db").exists(), "the copy of the database stayed");

    let mut copy = Instance::new().with_data(directory(&instance)).with_flags(&["--existing"]);
    copy.start();
    let curl = Curl::of(&copy);
    before.into_iter().for_each(|number| check(&curl, number));
    // It has become a registry of its own, which no backup may overwrite.
    push(&curl, 1_000_000);
    copy.stop();
    let refused = backup(&instance, &[]).fails(1);
    assert!(refused.contains("or a backup that was served since"), "{refused}");
}

#[test]
fn a_second_backup_copies_what_is_new_and_takes_away_what_is_gone() {
    let mut instance = Instance::started();
    let curl = Curl::of(&instance);
    (0..3).for_each(|number| push(&curl, number));
    let first = summary(&instance, &[]);
    assert_eq!((&first["copied_blobs"], &first["present_blobs"]), (&6.into(), &0.into()));
    let layer = sha256(&image(1).layer);
    let copied = blob(&directory(&instance), &layer);
    let before = fs::metadata(&copied).expect("the copy of a layer");
    assert_eq!(before.mode() & 0o777, 0o600);

    push(&curl, 3);
    let second = summary(&instance, &[]);
    assert_eq!((&second["copied_blobs"], &second["present_blobs"]), (&2.into(), &6.into()));
    let after = fs::metadata(&copied).expect("the copy of a layer");
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
    // The same without a server, and with what no backup put there.
    instance.stop();
    let strange = copied.with_file_name("a".repeat(64));
    fs::write(&strange, "strange").expect("a file");
    // What somebody left who opened the backup as a registry and was cut short.
    let log = directory(&instance).join("registry.db-wal");
    fs::write(&log, "of another database").expect("a file");
    let third = summary(&instance, &[]);
    assert_eq!((&third["copied_blobs"], &third["removed_blobs"]), (&0.into(), &1.into()));
    assert!(!strange.exists() && !log.exists());
    restored(&instance, 4);
    assert_eq!(summary(&instance, &[])["copied_blobs"], 0);
    restored(&instance, 4);
}

#[test]
fn wrong_bytes_are_not_taken_and_are_named() {
    let instance = Instance::started();
    let curl = Curl::of(&instance);
    (0..3).for_each(|number| push(&curl, number));
    let (bad, gone) = (sha256(&image(0).layer), sha256(&image(1).layer));
    flip(&blob(instance.data(), &bad));
    fs::remove_file(blob(instance.data(), &gone)).expect("a blob");
    let said = backup(&instance, &["--same-file-system"]).fails(1);
    assert!(said.contains("whole but for 2 blobs"), "{said}");
    for digest in [&bad, &gone] {
        assert!(said.contains(digest.as_str()) && said.contains("`registry verify`"), "{said}");
        assert!(!blob(&directory(&instance), digest).exists());
    }
    // The rest is there; and what is missing is said again when it is restored.
    let said = restore(&instance, "partly").fails(1);
    assert!(said.contains("restored but for 2 blobs") && said.contains(&bad), "{said}");
    let mut copy = Instance::new().with_data(instance.root().join("partly"));
    copy.start();
    check(&Curl::of(&copy), 2);
    // A client finds them missing there, and brings them back.
    let of_copy = Curl::of(&copy);
    let path = format!("/v2/backup/0/blobs/{bad}");
    of_copy.request("HEAD", &path).expect(404);
    of_copy.request("HEAD", "/v2/backup/0/manifests/0").expect(404);
    push(&of_copy, 0);
    check(&of_copy, 0);
    // So it is when the backup itself is served.
    let mut copy = Instance::new().with_data(directory(&instance)).with_flags(&["--existing"]);
    copy.start();
    check(&Curl::of(&copy), 2);
    Curl::of(&copy).request("HEAD", "/v2/backup/0/manifests/0").expect(404);
}

#[test]
fn what_goes_bad_in_the_backup_is_found_when_asked_for() {
    let instance = Instance::started();
    let curl = Curl::of(&instance);
    (0..2).for_each(|number| push(&curl, number));
    backup(&instance, &[]).ok();
    let bad = blob(&directory(&instance), &sha256(&image(0).layer));
    flip(&bad);
    assert_eq!(summary(&instance, &[])["copied_blobs"], 0);
    assert_eq!(summary(&instance, &["--verify"])["copied_blobs"], 1);
    assert_eq!(fs::read(&bad).expect("the blob"), image(0).layer);
    assert_eq!(summary(&instance, &["--verify"])["copied_blobs"], 0);
    // What its disk does not give back is as good as wrong.
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=pread64:error=EIO", "-P"]);
    command.arg(&bad).arg(program()).args(arguments(&instance, &["--verify", "--json"]));
    let told: Value = serde_json::from_str(&run(&mut command).ok()).expect("JSON");
    assert_eq!(told["copied_blobs"], 1);
}

#[test]
fn what_went_bad_after_a_backup_comes_back_from_it() {
    let instance = Instance::started();
    push(&Curl::of(&instance), 0);
    backup(&instance, &[]).ok();
    flip(&blob(instance.data(), &sha256(&image(0).layer)));
    let data_dir = ["--data-dir".as_ref(), instance.data().as_os_str()];
    registry(&[&["verify".as_ref()], &data_dir[..]].concat()).fails(1);
    // The bad file is put aside, and the good copy stays.
    let told = summary(&instance, &[]);
    assert_eq!((&told["copied_blobs"], &told["removed_blobs"]), (&0.into(), &0.into()));
    restore(&instance, "healed").ok();
    let mut copy = Instance::new().with_data(instance.root().join("healed"));
    copy.start();
    check(&Curl::of(&copy), 0);
}

#[test]
fn a_backup_that_is_killed_leaves_the_one_before_or_none() {
    let mut instance = Instance::started();
    let curl = Curl::of(&instance);
    // As long as one took that ended: this machine may be a fast one, or a busy one.
    let began = Instant::now();
    backup(&instance, &[]).ok();
    let length = began.elapsed();
    let (mut pushed, mut whole, mut killed) = (0, 0, 0);
    for round in 0..KILLS {
        for _ in 0..2 {
            push(&curl, pushed);
            pushed += 1;
        }
        if round % 3 == 2 {
            // Another certificate of the server, so that the keys change as well.
            fs::write(instance.data().join("tls/note"), round.to_string()).expect("a file");
        }
        // Every other one while the registry rests.
        let flags = if round % 2 == 1 { &["--stopped"][..] } else { &[] };
        if !flags.is_empty() {
            instance.stop();
        }
        let mut command = Command::new(program());
        command.args(arguments(&instance, flags)).stdout(Stdio::null()).stderr(Stdio::null());
        let mut run = command.spawn().expect("a backup");
        thread::sleep(length.mul_f64(fastrand::f64()));
        let _ = run.kill();
        let ended = run.wait().expect("its end").success();
        if !flags.is_empty() {
            instance.start();
        }
        killed += usize::from(!ended);
        if ended {
            whole = pushed;
        }
        // None, or one that is at least as new as the last that ended.
        match directory(&instance).join("FORMAT").exists() {
            true => restored(&instance, whole),
            false => drop(restore(&instance, "none").fails(1)),
        }
    }
    tell(&format!("killed {killed} of {KILLS} backups"));
    assert!(killed > 0, "every backup ended before its kill");
    // The server lets go of what a dead command held.
    wait_until("a backup is made again", || backup(&instance, &[]).code() == Some(0));
    restored(&instance, pushed);
}

#[test]
fn a_restore_that_is_killed_passes_for_nothing_and_is_gone_on_with() {
    let instance = Instance::started();
    let curl = Curl::of(&instance);
    (0..8).for_each(|number| push(&curl, number));
    backup(&instance, &[]).ok();
    let began = Instant::now();
    restore(&instance, "whole").ok();
    let length = began.elapsed();
    let data = instance.root().join("again");
    let mut killed = 0;
    for _ in 0..KILLS {
        let _ = fs::remove_dir_all(&data);
        let mut command = Command::new(program());
        command.arg("restore").arg(directory(&instance)).arg("--data-dir").arg(&data);
        let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("one");
        thread::sleep(length.mul_f64(fastrand::f64()));
        let _ = run.kill();
        run.wait().expect("its end");
        if !data.join("FORMAT").exists() && data.join("restore-unfinished").exists() {
            killed += 1;
            let path = data.display().to_string();
            let serve = ["serve", "--listen=127.0.0.1:0", "--data-dir", &path];
            let existing = [&serve[..], &["--existing"]].concat();
            for words in [&serve[..], &existing, &["ls", "--data-dir", &path]] {
                let said = registry(words).fails(1);
                assert!(said.contains("run `registry restore` again"), "{said}");
            }
        }
        if !data.join("FORMAT").exists() {
            restore(&instance, "again").ok();
        }
        assert!(!data.join("part").exists());
    }
    tell(&format!("killed {killed} of {KILLS} restores"));
    assert!(killed > 0, "every restore ended before its kill");
    let mut copy = Instance::new().with_data(data);
    copy.start();
    (0..8).for_each(|number| check(&Curl::of(&copy), number));
}

/// Restores the backup into a new directory and checks that it holds so many pushes.
#[track_caller]
fn restored(instance: &Instance, pushed: usize) {
    let data = instance.root().join("restored");
    let _ = fs::remove_dir_all(&data);
    restore(instance, "restored").ok();
    let mut tags = String::new();
    for repository in (0..pushed.min(3)).map(|number| format!("backup/{number}")) {
        let data_dir = ["--data-dir".as_ref(), data.as_os_str()];
        let words = ["ls".as_ref(), repository.as_ref()];
        tags = tags + &registry(&[&words[..], &data_dir].concat()).ok() + "\n";
    }
    for number in 0..pushed {
        let tag = format!("  {number}");
        assert!(tags.lines().any(|line| line.ends_with(&tag)), "no {number} in {tags}");
        for content in [image(number).layer, image(number).config] {
            let path = blob(&data, &sha256(&content));
            assert!(fs::read(path).expect("a blob") == content);
        }
    }
}

/// Lets every user pass through a directory.
fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
}

/// Where the backup of an instance goes.
fn directory(instance: &Instance) -> PathBuf {
    instance.root().join("backup")
}

fn arguments(instance: &Instance, flags: &[&str]) -> Vec<String> {
    let mut arguments = vec!["backup".to_owned(), directory(instance).display().to_string()];
    arguments.push(format!("--data-dir={}", instance.data().display()));
    arguments.push("--same-file-system".to_owned());
    let flags = flags.iter().filter(|flag| **flag != "--same-file-system");
    arguments.extend(flags.map(ToString::to_string));
    arguments
}

fn backup(instance: &Instance, flags: &[&str]) -> Run {
    registry(&arguments(instance, flags))
}

#[track_caller]
fn summary(instance: &Instance, flags: &[&str]) -> Value {
    let told = backup(instance, &[flags, &["--json"]].concat()).ok();
    serde_json::from_str(&told).expect("JSON")
}

fn restore(instance: &Instance, name: &str) -> Run {
    let data = instance.root().join(name);
    let directory = directory(instance);
    registry(&["restore".as_ref(), directory.as_os_str(), "--data-dir".as_ref(), data.as_os_str()])
}

/// The file of a blob below a data directory or a backup.
fn blob(data: &Path, digest: &str) -> PathBuf {
    let hex = digest.strip_prefix("sha256:").expect("a digest");
    data.join("blobs/sha256").join(&hex[..2]).join(hex)
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("a blob");
    bytes[0] ^= 1;
    fs::write(path, bytes).expect("a blob");
}

fn image(number: usize) -> Image {
    Image::new(Family::Oci, "amd64", &noise(number as u64, 1 + number * 7919 % (256 << 10)))
}

/// Pushes the image of this number; every step must be acknowledged.
#[track_caller]
fn push(curl: &Curl, number: usize) {
    let (image, repository) = (image(number), format!("backup/{}", number % 3));
    for content in [&image.layer, &image.config] {
        let path = format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(content));
        curl.send("POST", &path, OCTETS, content).expect(201);
    }
    let path = format!("/v2/{repository}/manifests/{number}");
    let Manifest { media_type, bytes, .. } = &image.manifest;
    curl.send("PUT", &path, media_type, bytes).expect(201);
}

/// Checks that the image of this number is there byte for byte.
#[track_caller]
fn check(curl: &Curl, number: usize) {
    let (image, repository) = (image(number), format!("/v2/backup/{}", number % 3));
    let manifest = curl.request("GET", &format!("{repository}/manifests/{number}")).expect(200);
    assert_eq!(manifest.body, image.manifest.bytes);
    for content in [&image.layer, &image.config] {
        let path = format!("{repository}/blobs/{}", sha256(content));
        assert!(curl.request("GET", &path).expect(200).body == *content);
    }
}
