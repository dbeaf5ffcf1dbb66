//! Opening: making a store, completing one that a crash interrupted, and refusing the rest.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use durable::IoError;
use storage::{OpenError, StorageError, Store, Trouble};

use crate::support::{blob_path, directory, open, pull, push, repo, sha256, tree, try_open};

#[test]
fn a_new_directory_becomes_a_store_and_is_one_afterwards() {
    let home = directory();
    let store = try_open(home.path(), true).unwrap();
    assert!(store.is_new());
    assert!(!home.path().join("FORMAT").exists(), "FORMAT is the last step");
    store.finish_creation().unwrap();
    assert_eq!(fs::read_to_string(home.path().join("FORMAT")).unwrap(), "1\n");
    let digest = push(&store, &repo("a"), b"content");
    drop(store);
    let store = try_open(home.path(), false).unwrap();
    assert!(!store.is_new());
    assert_eq!(pull(&store, &repo("a"), &digest).unwrap(), b"content");
}

#[test]
fn every_directory_is_made_with_the_store() {
    let home = directory();
    let _store = open(home.path());
    assert_complete(home.path());
}

fn assert_complete(root: &Path) {
    assert!(root.join("uploads").is_dir());
    for algorithm in ["sha256", "sha512"] {
        for prefix in 0..=u8::MAX {
            let shard = root.join("blobs").join(algorithm).join(format!("{prefix:02x}"));
            assert!(shard.is_dir(), "{} is missing", shard.display());
        }
    }
}

#[test]
fn existing_refuses_a_directory_without_a_store_and_leaves_nothing() {
    let home = directory();
    let refusal = |root: &Path| try_open(root, false).err();
    assert_eq!(refusal(home.path()), Some(OpenError::NoStore(home.path().into())));
    assert_eq!(tree(home.path()), Vec::<std::path::PathBuf>::new());
    let mark = home.path().join("restore-unfinished");
    std::fs::write(&mark, "").expect("what a restore leaves");
    assert_eq!(refusal(home.path()), Some(OpenError::HalfRestored(home.path().into())));
    std::fs::remove_file(&mark).expect("the mark goes");
    let absent = home.path().join("not/there");
    assert_eq!(refusal(&absent), Some(OpenError::NoStore(absent.clone())));
    assert!(!home.path().join("not").exists());
    // A path through a file is as absent.
    fs::write(home.path().join("file"), "").unwrap();
    let below = home.path().join("file/data");
    assert_eq!(refusal(&below), Some(OpenError::NoStore(below.clone())));
}

#[test]
fn a_directory_with_something_else_is_refused_by_its_name() {
    let home = directory();
    fs::create_dir(home.path().join("uploads")).unwrap();
    fs::write(home.path().join("holiday.jpg"), "").unwrap();
    let refusal =
        OpenError::ForeignDirectory { path: home.path().into(), entry: "holiday.jpg".into() };
    assert_eq!(try_open(home.path(), true).err(), Some(refusal));
    assert_eq!(tree(home.path()).len(), 2, "the refusal wrote something");
}

#[test]
fn the_root_of_a_file_system_may_hold_lost_and_found() {
    let home = directory();
    fs::create_dir(home.path().join("lost+found")).unwrap();
    assert!(open(home.path()).is_new());
}

/// Breaks a complete store so that it looks like one whose making was interrupted.
type Interruption = (&'static str, fn(&Path));

const INTERRUPTIONS: &[Interruption] = &[
    ("after the directory was made", |root| keep(root, &[])),
    ("after the lock", |root| keep(root, &["lock"])),
    ("after uploads", |root| keep(root, &["lock", "uploads"])),
    ("amid the shards", |root| {
        keep(root, &["lock", "uploads", "blobs"]);
        fs::remove_dir_all(root.join("blobs/sha512")).unwrap();
        fs::remove_dir_all(root.join("blobs/sha256/7f")).unwrap();
    }),
    ("before the database", |root| keep(root, &["lock", "uploads", "blobs"])),
    ("after the database's file", |root| {
        keep(root, &["lock", "uploads", "blobs"]);
        fs::write(root.join("registry.db"), "").unwrap();
    }),
    ("while the database was made", |root| {
        keep(root, &["lock", "uploads", "blobs"]);
        fs::write(root.join("registry.db"), "").unwrap();
        // SQLite makes one while it sets the journal mode of an empty database.
        fs::write(root.join("registry.db-journal"), "").unwrap();
    }),
    ("after the certificates and the password", |root| {
        keep(root, &["lock", "uploads", "blobs", "registry.db"]);
        fs::create_dir(root.join("tls")).unwrap();
        fs::write(root.join("init-password.new"), "hal").unwrap();
        fs::write(root.join("init-password"), "half").unwrap();
        fs::write(root.join("registry.sock"), "").unwrap();
    }),
    ("while FORMAT was written", |root| {
        keep(root, &["lock", "uploads", "blobs", "registry.db"]);
        fs::write(root.join("FORMAT.new"), "").unwrap();
    }),
];

fn keep(root: &Path, names: &[&str]) {
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if names.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.unwrap();
    }
}

#[test]
fn an_interrupted_creation_is_completed_by_the_next_open() {
    let home = directory();
    for (index, (what, interrupt)) in INTERRUPTIONS.iter().enumerate() {
        let root = home.path().join(index.to_string());
        drop(open(&root));
        interrupt(&root);
        assert_eq!(try_open(&root, false).err(), Some(OpenError::NoStore(root.clone())), "{what}");
        let store = try_open(&root, true).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(store.is_new(), "{what}");
        store.finish_creation().unwrap();
        assert_complete(&root);
        assert!(!root.join("FORMAT.new").exists(), "{what}");
        let digest = push(&store, &repo("a"), b"content");
        drop(store);
        let store = try_open(&root, false).unwrap();
        assert!(!store.is_new(), "{what}");
        assert_eq!(pull(&store, &repo("a"), &digest).unwrap(), b"content", "{what}");
    }
}

#[test]
fn a_store_that_was_never_finished_is_new_again_with_what_it_held() {
    let home = directory();
    let store = try_open(home.path(), true).unwrap();
    let digest = push(&store, &repo("a"), b"content");
    drop(store);
    let store = try_open(home.path(), true).unwrap();
    assert!(store.is_new());
    assert!(pull(&store, &repo("a"), &digest).is_some());
}

#[test]
fn finishing_an_old_store_leaves_its_format_alone() {
    let home = directory();
    drop(open(home.path()));
    let written = fs::metadata(home.path().join("FORMAT")).unwrap().modified().unwrap();
    open(home.path());
    let now = fs::metadata(home.path().join("FORMAT")).unwrap().modified().unwrap();
    assert_eq!(now, written);
}

#[test]
fn a_later_or_damaged_format_is_refused_before_anything_is_written() {
    let home = directory();
    let path = home.path().join("FORMAT");
    fs::write(&path, "2\n").unwrap();
    let later =
        StorageError::Failed(Trouble::NewerFormat { path: home.path().into(), found: 2, known: 1 });
    for may_create in [true, false] {
        assert_eq!(try_open(home.path(), may_create).err(), Some(later.clone().into()));
    }
    for text in ["", "\n", "one", "0", "-1", "1 2", "99999999999"] {
        fs::write(&path, text).unwrap();
        let damaged = StorageError::Failed(Trouble::Damaged {
            path: path.clone(),
            what: "it should hold one number, 1 or greater".into(),
        });
        assert_eq!(try_open(home.path(), true).err(), Some(damaged.into()), "{text:?}");
    }
    assert_eq!(tree(home.path()), [path]);
}

#[test]
fn a_complete_store_without_its_database_is_damaged_and_not_begun_anew() {
    let home = directory();
    drop(open(home.path()));
    let database = home.path().join("registry.db");
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(home.path().join(format!("registry.db{suffix}")));
    }
    let damaged = StorageError::Failed(Trouble::Damaged {
        path: database.clone(),
        what: "it is missing".to_owned(),
    });
    assert_eq!(try_open(home.path(), true).err(), Some(damaged.into()));
    assert!(!database.exists());
}

#[test]
fn a_database_that_is_not_one_is_refused() {
    let home = directory();
    drop(open(home.path()));
    fs::write(home.path().join("registry.db"), vec![7; 8192]).unwrap();
    assert!(matches!(
        try_open(home.path(), true).err(),
        Some(OpenError::Storage(StorageError::Failed(Trouble::DatabaseDamaged(_))))
    ));
}

#[test]
fn missing_parents_are_made() {
    let home = directory();
    let root = home.path().join("a/b/c");
    drop(open(&root));
    assert!(!open(&root).is_new());
}

#[test]
fn a_file_in_place_of_the_directory_is_refused() {
    let home = directory();
    let root = home.path().join("data");
    fs::write(&root, "").unwrap();
    assert!(matches!(
        try_open(&root, true).err(),
        Some(OpenError::Storage(StorageError::Failed(Trouble::Io(IoError {
            kind: ErrorKind::AlreadyExists, path, ..
        })))) if path == root
    ));
}

#[test]
fn a_relative_path_works() {
    // The tests of this binary share a working directory, so the path climbs to the root first.
    let home = directory();
    let depth = std::env::current_dir().unwrap().components().count() - 1;
    let mut root = std::path::PathBuf::from("../".repeat(depth));
    root.push(home.path().strip_prefix("/").unwrap());
    root.push("data");
    let digest = push(&open(&root), &repo("a"), b"content");
    assert_eq!(digest, sha256(b"content"));
    let absolute = home.path().join("data");
    assert!(blob_path(&absolute, &digest).is_file());
    assert_eq!(pull(&open(&absolute), &repo("a"), &digest).unwrap(), b"content");
}

#[test]
fn a_name_alone_is_a_path() {
    let name = "storage::single component";
    let Some(parent) = crate::again::handed_over() else {
        let home = directory();
        let parent = home.path().to_str().unwrap();
        let before = ["sh", "-c", "cd \"$0\" && exec \"$@\"", parent];
        crate::again::run(&before, "open::a_name_alone_is_a_path", parent);
        assert!(home.path().join(name).join("FORMAT").is_file());
        return;
    };
    assert_eq!(std::env::current_dir().unwrap(), Path::new(&parent));
    let store: Store = open(Path::new(name));
    push(&store, &repo("a"), b"content");
}
