//! Blobs that went bad, disks that are full, and directories that hold something else.

use std::collections::BTreeSet;
use std::fs;

use super::{blob, export, export_run, image, large, put};
use crate::support::binary::Instance;
use crate::support::clients::Curl;
use crate::support::disk::SmallDisk;
use crate::support::images::sha256;
use crate::support::layout::{Layout, volumes};
use crate::support::report::skip;

#[test]
fn a_blob_that_went_bad_is_named_with_its_images_and_what_is_there_passes_for_nothing() {
    let instance = Instance::started();
    let curl = Curl::of(&instance);
    for tag in ["1", "2"] {
        put(&curl, "app", tag, &image(0));
    }
    put(&curl, "other", "1", &image(1));
    let (bad, place) = (image(0), tempfile::tempdir().expect("a directory"));
    let path = blob(&instance, &bad.layer);
    for flags in [&[][..], &["--tar"]] {
        let mut bytes = bad.layer.clone();
        bytes[0] ^= 1;
        fs::write(&path, &bytes).expect("a blob");
        let root = place.path().join(format!("bundle{}", flags.len()));
        let said = export_run(&instance, &root, flags).fails(1);
        let digest = sha256(&bad.layer);
        for part in [digest.as_str(), "app:1, app:2", "not what they were", "`registry verify`"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("other:1"), "{said}");
        assert!(root.join("registry-bundle.unfinished").exists());
        for name in ["registry-bundle.sig", "index.json", "bundle.tar"] {
            assert!(!root.join(name).exists(), "{name}");
        }
        // Pushed again it is right, and the same command goes on.
        put(&curl, "app", "1", &bad);
        fs::write(&path, &bad.layer).expect("a blob");
        export(&instance, &root, flags);
        assert!(!root.join("registry-bundle.unfinished").exists());
        assert_eq!(Layout::read(&volumes(&root), &BTreeSet::new()).names.len(), 3);
    }
    // One that is gone is found before anything is written.
    fs::remove_file(&path).expect("a blob");
    let root = place.path().join("gone");
    let said = export_run(&instance, &root, &[]).fails(1);
    assert!(said.contains("nothing was written") && said.contains("app:1, app:2"), "{said}");
    fs::remove_file(blob(&instance, &bad.config)).expect("a blob");
    let said = export_run(&instance, &root, &[]).fails(1);
    assert!(said.contains("is lost in the registry, and so is 1 other; type"), "{said}");
    assert!(!root.exists());
    export(&instance, &root, &["other"]);
}

#[test]
fn what_an_export_left_is_read_again_and_nothing_else_is_overwritten() {
    let instance = Instance::started();
    let curl = Curl::of(&instance);
    put(&curl, "app", "1", &image(0));
    let place = tempfile::tempdir().expect("a directory");
    let root = place.path().join("bundle");
    export(&instance, &root, &[]);
    let said = export_run(&instance, &root, &[]).fails(1);
    assert!(said.contains("holds a bundle already"), "{said}");
    // As if it had been cut short, with a blob that went bad since, and one of another export.
    let blobs = root.join("blobs/sha256");
    let layer = blobs.join(&sha256(&image(0).layer)["sha256:".len()..]);
    fs::write(root.join("registry-bundle.unfinished"), "").expect("a file");
    fs::write(&layer, "bad").expect("a file");
    fs::write(blobs.join("0".repeat(64)), "another").expect("a file");
    fs::write(root.join("bundle-1-of-2.tar.part"), "another").expect("a file");
    fs::create_dir(root.join("bundle-1-of-2")).expect("a directory");
    fs::write(root.join("mine.txt"), "mine").expect("a file");
    export(&instance, &root, &[]);
    Layout::read(std::slice::from_ref(&root), &BTreeSet::new());
    assert_eq!(fs::read(&layer).expect("the blob"), image(0).layer);
    assert_eq!(fs::read(root.join("mine.txt")).expect("a file"), b"mine");
    for name in ["bundle-1-of-2", "bundle-1-of-2.tar.part", "registry-bundle.unfinished"] {
        assert!(!root.join(name).exists(), "{name}");
    }
    // Layouts instead of one, and archives instead of layouts.
    for (flags, gone) in [(&["--tar"][..], "blobs"), (&[], "bundle.tar")] {
        fs::write(root.join("registry-bundle.unfinished"), "").expect("a file");
        export(&instance, &root, flags);
        assert!(!root.join(gone).exists(), "{gone}");
    }

    let full = place.path().join("full");
    fs::create_dir_all(full.join("photos")).expect("a directory");
    let said = export_run(&instance, &full, &[]).fails(1);
    assert!(said.contains("is not empty") && said.contains("overwrites nothing"), "{said}");
    let file = place.path().join("file");
    fs::write(&file, "").expect("a file");
    export_run(&instance, &file, &[]).fails(1);
    let said = export_run(&instance, &place.path().join("no/such"), &[]).fails(1);
    assert!(said.contains("is the disk mounted?"), "{said}");
    let inside = instance.data().join("bundle");
    let said = export_run(&instance, &inside, &[]).fails(1);
    assert!(said.contains("lies inside the registry's own data"), "{said}");
    assert!(!inside.exists());
    // What every file system of a kind has is in nobody's way.
    let mounted = place.path().join("mounted");
    fs::create_dir_all(mounted.join("lost+found")).expect("a directory");
    export(&instance, &mounted, &[]);
}

#[test]
fn a_disk_without_room_is_told_before_and_one_that_fills_up_can_be_gone_on_with() {
    let Some(disk) = SmallDisk::mount() else {
        skip("this machine lets nobody mount a small disk to fill");
        return;
    };
    let instance = Instance::started();
    let curl = Curl::of(&instance);
    for number in 0..20 {
        put(&curl, "app", &number.to_string(), &large(number));
    }
    let (root, filler) = (disk.path().join("bundle"), disk.path().join("filler"));
    fs::write(&filler, vec![0; SmallDisk::BYTES - (4 << 20)]).expect("a filler");
    let said = export_run(&instance, &root, &[]).fails(1);
    assert!(said.contains("there is no space in") && said.contains("are needed"), "{said}");
    assert_eq!(fs::read_dir(&root).expect("the directory").count(), 0);
    for flags in [&[][..], &["--tar"]] {
        // What was left of one that was cut short may be part of it: the disk itself says no.
        fs::write(root.join("registry-bundle.unfinished"), "").expect("a file");
        let said = export_run(&instance, &root, flags).fails(1);
        assert!(said.contains("No space left") && said.contains("type the same again"), "{said}");
        assert!(!root.join("registry-bundle.sig").exists() && !root.join("bundle.tar").exists());
    }
    fs::remove_file(&filler).expect("the filler goes");
    export(&instance, &root, &[]);
    assert_eq!(Layout::read(&[root], &BTreeSet::new()).names.len(), 20);
}
