//! Backups that are damaged are blamed for it, and nothing but a backup changes one.

use std::fs;
use std::path::{Path, PathBuf};

use super::{backup, check, directory, push, restore};
use crate::support::binary::{Instance, registry};
use crate::support::clients::Curl;

/// One of SQLite's pages.
const PAGE_BYTES: usize = 4096;

#[test]
fn a_damaged_backup_is_blamed_and_not_the_new_directory() {
    let instance = Instance::started();
    push(&Curl::of(&instance), 0);
    backup(&instance, &[]).ok();
    let database = directory(&instance).join("registry.db");
    let good = fs::read(&database).expect("the database");
    let mut broken = good.clone();
    broken[PAGE_BYTES..].fill(0xa5);
    let blamed = format!("the backup in {} is damaged (", directory(&instance).display());
    for bad in [&broken[..], &good[..good.len() / 2], b"no database at all", b""] {
        fs::write(&database, bad).expect("a bad database");
        let said = restore(&instance, "new").fails(1);
        assert!(said.contains(&blamed) && said.contains("with an older backup"), "{said}");
        assert!(!said.contains("new/registry.db"), "{said}");
    }
    // The same directory takes the older one.
    fs::write(&database, good).expect("the database");
    let mark = directory(&instance).join("backup.json");
    let whole = fs::read(&mark).expect("the mark");
    fs::write(&mark, "{").expect("a bad mark");
    let said = restore(&instance, "new").fails(1);
    assert!(said.contains(&blamed) && said.contains("backup.json"), "{said}");
    let said = backup(&instance, &[]).fails(1);
    assert!(said.contains("back up into another directory"), "{said}");
    fs::write(&mark, whole).expect("the mark");
    restore(&instance, "new").ok();
}

#[test]
fn only_backups_change_a_backup() {
    let instance = Instance::started();
    push(&Curl::of(&instance), 0);
    backup(&instance, &[]).ok();
    let before = tree(&directory(&instance));
    let path = directory(&instance).display().to_string();
    for words in [&["ls"][..], &["status"], &["gc"], &["verify"], &["rm", "backup/0:0"]] {
        let said = registry(&[words, &["--data-dir", &path]].concat()).fails(1);
        assert!(said.contains(&format!("{path} is a backup: to look into it, restore")), "{said}");
    }
    let said = registry(&["backup", "/nowhere", "--data-dir", &path, "--same-file-system"]);
    assert!(said.fails(1).contains("is a backup: "));
    for inside in ["backup", "backup/in", "backup/blobs/../deep/in"] {
        let said = restore(&instance, inside).fails(1);
        assert!(said.contains("lies inside the backup in"), "{said}");
    }
    assert_eq!(tree(&directory(&instance)), before);
    let mut served = Instance::new().with_data(directory(&instance));
    served.start();
    check(&Curl::of(&served), 0);
    served.command(&["ls"], &[]).ok();
}

/// Everything below a directory, with the bytes of what is a file.
fn tree(root: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let (mut found, mut open) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path.clone());
            }
            found.push((path.clone(), fs::read(&path).ok()));
        }
    }
    found.sort();
    found
}
