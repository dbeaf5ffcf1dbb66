//! A backup of a registry whose own disk is full.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::{backup, push, restored, summary};
use crate::support::binary::Instance;
use crate::support::clients::Curl;
use crate::support::content::{Manifest, push_blob};
use crate::support::disk::SmallDisk;
use crate::support::report::skip;

/// What one image adds to the database, at least.
const LARGE: usize = 512 << 10;
/// What the filler leaves: less than the database takes beside what uploads leave free.
const ROOM: usize = 2 << 20;

#[test]
fn without_room_for_the_copy_nothing_is_copied_and_a_registry_that_rests_needs_none() {
    let Some(disk) = SmallDisk::mount() else {
        skip("this machine lets nobody mount a small disk to fill");
        return;
    };
    let mut instance = Instance::new().with_data(disk.path().join("data"));
    instance.start();
    let (curl, client) = (Curl::of(&instance), instance.client());
    push(&curl, 0);
    for number in 0..3 {
        let config = format!("{{\"n\":{number}}}");
        push_blob(&client, "large", config.as_bytes());
        push_blob(&client, "large", b"a layer");
        let more = serde_json::json!({ "annotations": { "n": "x".repeat(LARGE) } });
        let manifest = Manifest::image_with(config.as_bytes(), b"a layer", &more);
        manifest.put(&client, "large", &number.to_string()).expect(201);
    }
    backup(&instance, &[]).ok();

    // Room for pushes, and not for the database.
    let filler = disk.path().join("filler");
    fs::write(&filler, vec![0; free(disk.path()) - ROOM]).expect("a filler");
    let before = free(disk.path());
    let said = backup(&instance, &[]).fails(1);
    for part in ["MiB are needed and ", "--stopped", "`systemctl stop registry`"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(free(disk.path()), before);
    push(&curl, 1);
    let said = backup(&instance, &["--stopped"]).fails(1);
    assert!(said.contains("serves, and --stopped is for one that rests"), "{said}");

    instance.stop();
    let more = disk.path().join("more");
    let full = fs::write(&more, vec![0; SmallDisk::BYTES]).expect_err("the disk is too small");
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    let told = summary(&instance, &["--stopped"]);
    assert_eq!((&told["copied_blobs"], &told["present_blobs"]), (&2.into(), &6.into()));
    assert!(!instance.data().join("backup.db").exists());
    restored(&instance, 2);
    // The next one goes on with it, also while the registry serves again.
    fs::remove_file(filler).expect("the filler goes");
    fs::remove_file(more).expect("the filler goes");
    instance.start();
    push(&curl, 2);
    assert_eq!(summary(&instance, &[])["copied_blobs"], 2);
    restored(&instance, 3);
    instance.stop();
}

/// The bytes that are free on a disk.
fn free(path: &Path) -> usize {
    let space = rustix::fs::statvfs(path).expect("the disk");
    usize::try_from(space.f_bavail * space.f_frsize).expect("a small disk")
}
