//! One process owns a store; whoever comes second learns for whom it waits.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use storage::{DirectoryState, LockHolder, OnHeld, OpenError, OpenOptions, Store};

use crate::support::{directory, fatal, open, push, repo, try_open};

#[test]
fn the_second_open_is_refused_and_told_who_holds_the_store() {
    let home = directory();
    let store = open(home.path());
    let Some(OpenError::Owned(holder)) = try_open(home.path(), true).err() else {
        panic!("two owners at once");
    };
    let expected = format!("process {} (", std::process::id());
    assert!(holder.to_string().starts_with(&expected), "{holder}");
    // The refusal costs the owner nothing.
    push(&store, &repo("a"), b"content");
    assert!(matches!(try_open(home.path(), true).err(), Some(OpenError::Owned(_))));
    drop(store);
    assert!(try_open(home.path(), true).is_ok());
}

#[test]
fn nobody_is_named_who_does_not_hold_it() {
    let home = directory();
    let path = home.path().join("lock");
    let unknown = |what: &str| {
        let Some(OpenError::Owned(holder)) = try_open(home.path(), true).err() else {
            panic!("{what}: two owners at once");
        };
        assert_eq!(holder.to_string(), unknown_in(home.path()), "{what}");
        assert_eq!(DirectoryState::of(home.path()).unwrap().holder, Some(holder), "{what}");
    };
    let store = open(home.path());
    for (what, text) in [
        ("no text", ""),
        ("another text", "process one (registry serve)"),
        ("what a terminal obeys", "process 1 (registry \u{1b}[2J)"),
        // No process has so high a number.
        ("a process that ended", "process 2147483646 (registry backup)"),
    ] {
        std::fs::write(&path, text).unwrap();
        unknown(what);
    }
    drop(store);
    // Somebody else holds the directory, and the file names who had it last.
    std::fs::write(&path, "process 1 (registry serve)\n").unwrap();
    let other = std::fs::File::open(home.path()).unwrap();
    other.lock_shared().unwrap();
    unknown("a lock on the directory alone");
}

/// What is said of a process that nothing names.
fn unknown_in(directory: &Path) -> String {
    let directory = directory.display();
    format!("an unknown process (as root, `fuser -v {directory}` or `lslocks` finds it)")
}

#[test]
fn a_lock_file_that_somebody_removed_lets_nobody_in() {
    let home = directory();
    let store = open(home.path());
    for _ in 0..2 {
        std::fs::remove_file(home.path().join("lock")).unwrap();
        let Some(OpenError::Owned(holder)) = try_open(home.path(), true).err() else {
            panic!("two owners at once");
        };
        assert_eq!(holder.to_string(), unknown_in(home.path()));
        assert!(!home.path().join("lock").exists());
        assert_eq!(DirectoryState::of(home.path()).unwrap().holder, Some(holder));
        // Nor does a file that somebody else puts there.
        std::fs::write(home.path().join("lock"), "").unwrap();
        assert!(matches!(try_open(home.path(), true).err(), Some(OpenError::Owned(_))));
    }
    drop(store);
    assert_eq!(DirectoryState::of(home.path()).unwrap().holder, None);
    assert!(try_open(home.path(), true).is_ok());
}

#[test]
fn a_program_of_before_that_locks_the_file_alone_is_an_owner_too() {
    let home = directory();
    drop(open(home.path()));
    let path = home.path().join("lock");
    std::fs::write(&path, "process 1 (registry serve)\n").unwrap();
    let before = std::fs::File::open(&path).unwrap();
    before.lock().unwrap();
    let Some(OpenError::Owned(holder)) = try_open(home.path(), true).err() else {
        panic!("two owners at once");
    };
    assert_eq!(holder.to_string(), "process 1 (registry serve)");
    assert_eq!(DirectoryState::of(home.path()).unwrap().holder, Some(holder));
    drop(before);
    assert!(try_open(home.path(), true).is_ok());
}

#[test]
fn who_waits_gets_the_store_when_it_is_dropped() {
    let home = directory();
    let first = open(home.path());
    let (asked, was_asked) = mpsc::channel();
    let root = home.path().to_owned();
    let waiting = std::thread::spawn(move || {
        let questions = AtomicUsize::new(0);
        let on_held = |holder: &LockHolder| {
            questions.fetch_add(1, Ordering::Relaxed);
            asked.send(holder.to_string()).unwrap();
            OnHeld::Wait
        };
        let options = OpenOptions {
            may_create: false,
            uploads_per_user: 1,
            reserve_bytes: 0,
            idle_connections: 16,
            hot_manifest_bytes: 1 << 20,
            read_pause_time: std::time::Duration::from_secs(1),
            on_held: &on_held,
            allow_network_fs: false,
            on_fatal: fatal,
            on_trouble: |_| {},
        };
        let store = Store::open(&root, &options).unwrap();
        (store, questions.into_inner())
    });
    assert!(was_asked.recv().unwrap().contains(&std::process::id().to_string()));
    assert!(!waiting.is_finished());
    // What the first owner does last, the second finds.
    let digest = push(&first, &repo("a"), b"last words");
    drop(first);
    let (second, questions) = waiting.join().unwrap();
    assert_eq!(questions, 1);
    assert_eq!(second.blob_size(&repo("a"), &digest), Ok(Some(10)));
    assert!(matches!(try_open(home.path(), true).err(), Some(OpenError::Owned(_))));
}

#[test]
fn of_two_first_starts_at_once_one_makes_the_store() {
    let home = directory();
    let wait = |_: &LockHolder| OnHeld::Wait;
    let options = || OpenOptions {
        may_create: true,
        uploads_per_user: 1,
        reserve_bytes: 0,
        idle_connections: 16,
        hot_manifest_bytes: 1 << 20,
        read_pause_time: std::time::Duration::from_secs(1),
        on_held: &wait,
        allow_network_fs: false,
        on_fatal: fatal,
        on_trouble: |_| {},
    };
    let made = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let store = Store::open(home.path(), &options()).unwrap();
                    store.finish_creation().unwrap();
                    store.is_new()
                })
            })
            .collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(made.iter().filter(|&&is_new| is_new).count(), 1, "{made:?}");
}
