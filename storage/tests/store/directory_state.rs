//! Looking at a directory without touching it.

use std::fs;
use std::io::ErrorKind;

use durable::IoError;
use storage::{DirectoryContent, DirectoryState, OpenError, StorageError, Trouble};

use crate::support::{directory, open, tree, try_open};

/// What is there, when nobody owns it.
fn content(root: &std::path::Path) -> DirectoryContent {
    let survey = DirectoryState::of(root).unwrap();
    assert_eq!(survey.holder, None);
    survey.content
}

#[test]
fn what_is_in_a_directory_is_told_and_nothing_appears_there() {
    let home = directory();
    let root = home.path().join("data");
    assert_eq!(content(&root), DirectoryContent::Absent);
    fs::create_dir(&root).unwrap();
    assert_eq!(content(&root), DirectoryContent::Empty);
    fs::create_dir(root.join("lost+found")).unwrap();
    assert_eq!(content(&root), DirectoryContent::Empty, "the root of a file system");
    assert_eq!(tree(&root).len(), 1, "looking made something");
    drop(try_open(&root, true).unwrap());
    let before = tree(&root);
    assert_eq!(content(&root), DirectoryContent::Unfinished);
    assert_eq!(tree(&root), before);
    drop(open(&root));
    assert_eq!(content(&root), DirectoryContent::Store { format: 1 });
    fs::remove_file(root.join("lock")).unwrap();
    assert_eq!(content(&root), DirectoryContent::Store { format: 1 });
    assert!(!root.join("lock").exists());
}

#[test]
fn the_owner_is_named_while_it_runs_and_does_not_notice() {
    let home = directory();
    for finished in [false, true] {
        let store = try_open(home.path(), true).unwrap();
        if finished {
            store.finish_creation().unwrap();
        }
        let holder = DirectoryState::of(home.path()).unwrap().holder.expect("an owner");
        let expected = format!("process {} (", std::process::id());
        assert!(holder.to_string().starts_with(&expected), "{holder}");
        drop(store);
        assert_eq!(DirectoryState::of(home.path()).unwrap().holder, None);
    }
    assert!(try_open(home.path(), false).is_ok(), "looking keeps nobody out");
}

#[test]
fn what_cannot_be_a_store_is_refused_as_an_open_would_refuse_it() {
    let home = directory();
    fs::write(home.path().join("holiday.jpg"), "").unwrap();
    let error =
        OpenError::ForeignDirectory { path: home.path().into(), entry: "holiday.jpg".into() };
    assert_eq!(DirectoryState::of(home.path()), Err(error));
    assert!(matches!(
        DirectoryState::of(&home.path().join("holiday.jpg")),
        Err(OpenError::Storage(StorageError::Failed(Trouble::Io(IoError {
            kind: ErrorKind::NotADirectory,
            ..
        }))))
    ));
    fs::write(home.path().join("FORMAT"), "2\n").unwrap();
    let error =
        StorageError::Failed(Trouble::NewerFormat { path: home.path().into(), found: 2, known: 1 });
    assert_eq!(DirectoryState::of(home.path()), Err(error.into()));
}
