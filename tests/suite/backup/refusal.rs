//! What `backup` and `restore` refuse, each with a sentence, and what they do not follow.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use registry_server::command::Progress;
use registry_server::command::data::{SnapshotPlace, TakeSnapshot};
use registry_server::control::{self, Lease, Leased};

use super::{backup, blob, directory, image, open_to_all, push, restore};
use crate::support::binary::{Instance, registry};
use crate::support::clients::Curl;
use crate::support::disk::SmallDisk;
use crate::support::images::{noise, sha256};
use crate::support::process::{Run, run, wait_until};
use crate::support::report::skip;

const OCTETS: &str = "application/octet-stream";

#[test]
fn places_that_would_be_no_backup_are_refused() {
    let instance = Instance::started();
    let to = |directory: &Path, flags: &[&str]| {
        let data = instance.data().display().to_string();
        let directory = directory.display().to_string();
        let words = ["backup", &directory, "--data-dir", &data];
        registry(&[&words[..], flags].concat())
    };
    let (data, anyway) = (instance.data(), &["--same-file-system"][..]);
    let said = to(&directory(&instance), &[]).fails(1);
    assert!(said.contains("is on the same file system as the registry"), "{said}");
    assert!(!directory(&instance).exists(), "a refused backup made its directory");
    for inside in [data.to_owned(), data.join("new"), data.join("blobs/../tls")] {
        let said = to(&inside, anyway).fails(1);
        assert!(said.contains("lies inside the registry's own data"), "{said}");
    }
    // Not by another name either.
    let link = instance.root().join("link");
    symlink(data, &link).expect("a link");
    let said = to(&link.join("new"), anyway).fails(1);
    assert!(said.contains("lies inside the registry's own data"), "{said}");

    let foreign = instance.root().join("foreign");
    fs::create_dir(&foreign).expect("a directory");
    fs::write(foreign.join("photo.jpg"), "").expect("a file");
    let said = to(&foreign, anyway).fails(1);
    assert!(said.contains("holds \"photo.jpg\", and no backup of this registry"), "{said}");

    let other = Instance::started();
    let said = to(other.data(), anyway).fails(1);
    assert!(said.contains("is a registry's own data directory"), "{said}");
    backup(&other, &[]).ok();
    let said = to(&directory(&other), anyway).fails(1);
    assert!(said.contains("is the backup of another registry"), "{said}");
    backup(&other, &[]).ok();

    let said = registry(&["backup", "/nowhere", "--data-dir", "/nonexistent"]).fails(1);
    assert!(said.contains("holds no registry"), "{said}");
    if rustix::process::geteuid().is_root() {
        let theirs = instance.root().join("theirs");
        fs::create_dir(&theirs).expect("a directory");
        chown(&theirs, Some(4321), Some(4321)).expect("root may do that");
        let said = to(&theirs, anyway).fails(1);
        assert!(said.contains("belongs to the user with number 4321"), "{said}");
    }
}

#[test]
fn a_disk_that_is_too_small_is_said_before_anything_is_copied() {
    let Some(disk) = SmallDisk::mount() else {
        skip("this machine lets nobody mount a small disk to fill");
        return;
    };
    let instance = Instance::started();
    let content = noise(1, SmallDisk::BYTES + 1);
    let path = format!("/v2/large/blobs/uploads/?digest={}", sha256(&content));
    Curl::of(&instance).send("POST", &path, OCTETS, &content).expect(201);
    let to = disk.path().join("backup").display().to_string();
    let data = instance.data().display().to_string();
    // On another file system it needs no flag.
    let said = registry(&["backup", &to, "--data-dir", &data]).fails(1);
    // The content, and a database of which each version needs a little more.
    let needed = said.split_once(" MiB are needed").and_then(|(before, _)| before.rsplit_once(' '));
    let needed: f64 = needed.and_then(|(_, number)| number.parse().ok()).expect("a size");
    assert!(said.contains("there is no space in") && (16.1..17.0).contains(&needed), "{said}");
    assert!(!blob(&disk.path().join("backup"), &sha256(&content)).exists());
    // What is no backup yet is not restored.
    let said = registry(&["restore", &to, "--data-dir", &format!("{data}.new")]).fails(1);
    assert!(said.contains("holds no whole backup"), "{said}");
}

#[test]
fn a_restore_replaces_nothing() {
    let mut instance = Instance::started();
    backup(&instance, &[]).ok();
    for _ in 0..2 {
        let said = restore(&instance, "data").fails(1);
        assert!(
            said.contains("holds a registry: to put the backup in its place, stop it"),
            "{said}"
        );
        if instance.data().join("registry.sock").exists() {
            instance.stop();
        }
    }
    fs::create_dir(instance.root().join("mine")).expect("a directory");
    fs::write(instance.root().join("mine/letter"), "").expect("a file");
    let said = restore(&instance, "mine").fails(1);
    assert!(said.contains("holds \"letter\": restore into a directory that is empty"), "{said}");
    let said = registry(&["restore", "/etc", "--data-dir", "/nonexistent/data"]).fails(1);
    assert!(said.contains("/etc holds no whole backup"), "{said}");
    assert!(!Path::new("/nonexistent").exists());
}

#[test]
fn one_backup_at_a_time_holds_the_snapshot_for_as_long_as_it_lives() {
    let instance = Instance::started();
    let mut silent = |_: &Progress| ControlFlow::Continue(());
    let mut lease = lease(control::run_leased(instance.data(), &TakeSnapshot {}, &mut silent));
    assert!(instance.data().join("backup.db").exists());
    assert!(!lease.is_lost());
    let said = backup(&instance, &[]).fails(1);
    assert!(said.contains("another backup of this registry runs"), "{said}");
    // Collection takes nothing meanwhile, and what it left afterwards.
    let curl = Curl::of(&instance);
    let (content, kept) = (b"nobody names it", |digest: &str| blob(instance.data(), digest));
    let digest = sha256(content);
    let path = format!("/v2/app/blobs/uploads/?digest={digest}");
    curl.send("POST", &path, OCTETS, content).expect(201);
    let collect = || instance.command(&["gc"], &["--grace", "0s", "--undo-time", "0s"]).ok();
    collect();
    assert!(kept(&digest).exists());
    drop(lease);
    assert!(!instance.data().join("backup.db").exists());
    collect();
    assert!(!kept(&digest).exists());
    backup(&instance, &[]).ok();
}

#[test]
fn a_server_that_ends_is_noticed_and_its_successor_removes_the_snapshot() {
    let mut instance = Instance::started();
    let mut silent = |_: &Progress| ControlFlow::Continue(());
    let mut lease = lease(control::run_leased(instance.data(), &TakeSnapshot {}, &mut silent));
    instance.kill();
    wait_until("the lease is lost", || lease.is_lost());
    assert!(instance.data().join("backup.db").exists());
    instance.start();
    assert!(!instance.data().join("backup.db").exists());
}

#[test]
fn what_the_owner_of_the_data_lays_there_leads_root_nowhere() {
    if !rustix::process::geteuid().is_root() {
        skip("only root can give a directory to somebody else");
        return;
    }
    let mut instance = Instance::new();
    open_to_all(instance.root());
    fs::create_dir(instance.data()).expect("a directory");
    chown(instance.data(), Some(12345), Some(12345)).expect("root may do that");
    instance.start();
    let curl = Curl::of(&instance);
    (0..2).for_each(|number| push(&curl, number));
    let secret = instance.root().join("secret");
    fs::write(&secret, image(0).layer).expect("a file");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("a mode");
    // A link to the right bytes, which only root may read; a pipe, which would be waited for; and
    // links among the keys.
    let (linked, pipe) = (sha256(&image(0).layer), sha256(&image(1).layer));
    for digest in [&linked, &pipe] {
        fs::remove_file(blob(instance.data(), digest)).expect("a blob");
    }
    symlink(&secret, blob(instance.data(), &linked)).expect("a link");
    let fifo = blob(instance.data(), &pipe);
    run(std::process::Command::new("mkfifo").arg(&fifo)).ok();
    symlink(&secret, instance.data().join("tls/extra.key")).expect("a link");
    let said = backup(&instance, &[]).fails(1);
    assert!(said.contains(&linked) && said.contains(&pipe), "{said}");
    assert!(!directory(&instance).join("tls/extra.key").exists());
    assert_eq!(fs::metadata(directory(&instance)).expect("it").permissions().mode() & 0o777, 0o700);

    // What is restored belongs to the owner of the directory that it goes to.
    let data = instance.root().join("owned");
    fs::create_dir(&data).expect("a directory");
    chown(&data, Some(12345), Some(12345)).expect("root may do that");
    let _: Run = restore(&instance, "owned");
    let found = ["find".to_owned(), data.display().to_string()];
    let mut find = std::process::Command::new(&found[0]);
    find.arg(&found[1]).args(["!", "-user", "12345"]);
    assert_eq!(run(&mut find).ok(), "");
    assert!(data.join("FORMAT").exists());
}

/// What keeps the snapshot of a running server.
fn lease<E: std::fmt::Debug>(taken: Result<Leased<SnapshotPlace>, E>) -> Lease {
    match taken.expect("a snapshot") {
        Leased::Server { lease, .. } => lease,
        Leased::Store(_) => panic!("no server runs"),
    }
}
