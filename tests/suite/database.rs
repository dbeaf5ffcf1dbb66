//! The database's file: what it needs outside of itself, and what it may not hold.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use oci::MediaType;
use serde_json::json;

use crate::support::binary::{Instance, registry};
use crate::support::content::{CONFIG, LAYER, Manifest, descriptor, push_blob, push_image};
use crate::support::disk::SmallDisk;
use crate::support::report::skip;

#[test]
fn a_full_directory_for_temporary_files_refuses_nobody() {
    let Some(disk) = SmallDisk::mount() else {
        return skip("this machine lets nobody mount a small disk to fill");
    };
    let full = fs::write(disk.path().join("filler"), vec![0; SmallDisk::BYTES + 1]);
    assert_eq!(full.expect_err("the disk is too small").kind(), ErrorKind::StorageFull);
    let directory = disk.path().to_str().expect("a path of text");
    let mut instance = Instance::new()
        .with_variable("SQLITE_TMPDIR", directory)
        .with_variable("TMPDIR", directory);
    instance.start();
    let client = instance.client();
    push_blob(&client, "a", b"{}");
    let layers: Vec<String> = (0..60).map(|n| format!("layer {n}")).collect();
    for layer in &layers {
        push_blob(&client, "a", layer.as_bytes());
    }
    for count in [1, 5, 10, 20, 40, 60] {
        let layers = layers[..count].iter().map(|layer| descriptor(LAYER, layer.as_bytes()));
        let layers: Vec<_> = layers.collect();
        for annotation in ["first", "second"] {
            let document = json!({
                "config": descriptor(CONFIG, b"{}"),
                "layers": layers,
                "annotations": { "this": annotation },
            });
            let image = Manifest::new(MediaType::OCI_MANIFEST, document);
            image.put(&client, "a", &format!("{annotation}-{count}")).expect(201);
        }
    }
    instance.command(&["rm"], &["a", "--all"]).ok();
    instance.command(&["gc"], &["--grace", "0s", "--undo-time", "0s"]).ok();
    instance.stop();
}

#[test]
fn a_database_that_somebody_changed_is_refused_by_what_is_foreign_in_it() {
    let instance = Instance::started();
    push_image(&instance.client(), "a", "1", b"a layer");
    let backup = instance.root().join("backup").display().to_string();
    instance.command(&["backup"], &[&backup, "--same-file-system"]).ok();
    let mut restored = Instance::new();
    let data = restored.data().display().to_string();
    registry(&["restore", &backup, "--data-dir", &data]).ok();

    let named = "registry.db holds an altered table \"users\", which the registry did not make";
    change(&restored.data().join("registry.db"));
    let words = [&["ls"][..], &["gc"], &["verify"], &["user", "list"], &["status"]];
    for words in words {
        let said = restored.command(words, &[]).fails(1);
        assert!(said.contains(named), "{words:?}: {said}");
    }
    let elsewhere = restored.root().join("elsewhere").display().to_string();
    let said = restored.command(&["backup"], &[&elsewhere, "--same-file-system"]).fails(1);
    assert!(said.contains(named), "{said}");
    restored.begin();
    assert_eq!(restored.wait().code(), Some(1));
    assert!(restored.errors().contains(named), "{}", restored.errors());

    change(&Path::new(&backup).join("registry.db"));
    let new = restored.root().join("new").display().to_string();
    let said = registry(&["restore", &backup, "--data-dir", &new]).fails(1);
    assert!(said.contains(named), "{said}");
}

/// Lets a table allow what it did not, as who writes to the file could let it call a function.
fn change(database: &Path) {
    let (ours, theirs) = (b"'push', 'pull'))", b"'push', 'full'))");
    let mut bytes = fs::read(database).expect("a database");
    let places: Vec<usize> = bytes
        .windows(ours.len())
        .enumerate()
        .filter(|(_, text)| text == ours)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "the table's text is not there");
    // What was freed may hold it too.
    for at in places {
        bytes[at..at + ours.len()].copy_from_slice(theirs);
    }
    fs::write(database, bytes).expect("a database");
}
