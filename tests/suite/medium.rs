//! What a registry's data lie on: one file system, of this host, and what is said of others.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::support::binary::{Instance, registry};
use crate::support::content::push_blob;
use crate::support::disk::SmallDisk;
use crate::support::fuse;
use crate::support::process::{run, wait_until};
use crate::support::report::skip;

#[test]
fn a_directory_of_the_data_on_another_file_system_is_refused_at_the_start() {
    let Some(disk) = SmallDisk::mount() else {
        skip("this machine lets nobody mount a small disk");
        return;
    };
    let mut instance = Instance::started();
    push_blob(&instance.client(), "app", b"content");
    instance.stop();
    for part in ["blobs", "blobs/sha512", "blobs/sha256/00", "uploads", "damaged"] {
        let (path, elsewhere) = (instance.data().join(part), disk.path().join("part"));
        let kept = instance.root().join("kept");
        fs::rename(&path, &kept).expect("the directory moves");
        run(Command::new("cp").arg("-a").arg(&kept).arg(&elsewhere)).ok();
        symlink(&elsewhere, &path).expect("a link");
        refused(&instance, &path);
        fs::remove_file(&path).expect("the link goes");
        fs::remove_dir_all(&elsewhere).expect("the copy goes");
        fs::rename(&kept, &path).expect("the directory moves back");
    }
    instance.start();
    instance.stop();
    // A link to a place on the same one is nobody's harm.
    let (uploads, moved) = (instance.data().join("uploads"), instance.root().join("moved"));
    fs::rename(&uploads, &moved).expect("the directory moves");
    symlink(&moved, &uploads).expect("a link");
    instance.start();
    push_blob(&instance.client(), "app", b"other content");
}

#[test]
fn a_directory_of_the_data_under_another_mount_of_the_same_disk_is_refused_at_the_start() {
    let mut instance = Instance::started();
    instance.stop();
    let (uploads, elsewhere) = (instance.data().join("uploads"), instance.root().join("elsewhere"));
    fs::create_dir(&elsewhere).expect("a directory");
    let mounted = run(Command::new("mount").arg("--bind").arg(&elsewhere).arg(&uploads));
    if mounted.code() != Some(0) {
        skip("this machine lets nobody mount a directory");
        return;
    }
    let outcome = std::panic::catch_unwind(|| refused(&instance, &uploads));
    run(Command::new("umount").arg(&uploads)).ok();
    outcome.expect("a refusal");
    instance.start();
}

#[test]
fn data_in_memory_are_warned_of_once() {
    let Some(disk) = SmallDisk::mount() else {
        skip("this machine lets nobody mount a small disk");
        return;
    };
    let mut instance = Instance::new().with_data(disk.path().join("data"));
    instance.start();
    let warning = format!("{} lies in memory (tmpfs)", instance.data().display());
    assert_eq!(instance.errors().matches(&warning).count(), 1, "{}", instance.errors());
    instance.stop();
}

#[test]
fn a_file_system_of_another_program_is_refused_unless_it_is_allowed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(mount) = fuse::mount(directory.path()) else {
        skip("this machine lets nobody mount a file system of his own program");
        return;
    };
    let data = directory.path().join("registry");
    let data = data.to_str().expect("a path in UTF-8");
    let sentence = format!(
        "registry: {data} lies on FUSE, where locks and synced writes are somebody else's promise: \
         choose a directory on a disk of this host; --allow-network-fs keeps the registry there \
         even so\n"
    );
    let start = ["serve", "--data-dir", data, "--listen", "127.0.0.1:0"];
    assert_eq!(registry(&start).fails(1), sentence);
    // It is allowed, and the program behind it makes no directory.
    let allowed = registry(&[&start[..], &["--allow-network-fs"]].concat()).fails(1);
    assert!(allowed.contains("cannot make the directory"), "{allowed}");
    drop(mount);
}

#[test]
fn a_lock_file_that_somebody_removed_lets_no_second_server_in() {
    let mut first = Instance::started();
    fs::remove_file(first.data().join("lock")).expect("the lock file goes");
    let mut second = Instance::new().with_data(first.data().to_owned());
    second.begin();
    wait_until("it waits", || second.errors().contains("finds it), which owns the data directory"));
    push_blob(&first.client(), "app", b"content");
    assert!(first.command(&["status"], &[]).ok().contains(&first.address()));
    first.stop();
    second.wait_until_ready();
    let named = fs::read_to_string(second.data().join("lock")).expect("a lock file");
    assert!(named.contains(&second.pid().to_string()), "{named}");
    second.stop();
}

#[track_caller]
fn refused(instance: &Instance, part: &Path) {
    let data = instance.data().display();
    let expected = format!(
        "registry: {} is another file system, or another mount of it, than {data}, and no file can \
         be moved from one to the other: take away the link or the mount, and move {data} as a \
         whole to the disk that has the room\n",
        part.display()
    );
    for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["ls"]] {
        let refused = instance.command(command, &[]).fails(1);
        assert_eq!(refused, expected, "{command:?}");
    }
}
