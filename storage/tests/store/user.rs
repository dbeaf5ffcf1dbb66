//! Users: what is kept of them, that nobody inherits from a namesake, and the number by which a
//! remembered password knows that it may be stale.

use bytes::Bytes;
use oci::Algorithm;
use storage::{Account, Role, StorageError, Store, UploadId};

use crate::support::{directory, files, open, pull, repo, sha256, user};

fn add(store: &Store, name: &str, role: Role, hash: &str) -> Result<(), StorageError> {
    store.add_user(user(name), role, hash.to_owned())
}

fn kept(store: &Store, name: &str) -> Option<(String, Role, String)> {
    let user = store.user(&user(name)).unwrap()?;
    Some((user.name.to_string(), user.role, user.password_hash))
}

#[test]
fn users_are_added_changed_and_removed() {
    let home = directory();
    let store = open(home.path());
    assert!(store.users().unwrap().is_empty());
    add(&store, "init", Role::Administrator, "h1").unwrap();
    add(&store, "a+robot", Role::Push, "h2").unwrap();
    let users = store.users().unwrap();
    let names: Vec<_> = users.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(names, ["a+robot", "init"], "in the order of names");
    assert_eq!(add(&store, "init", Role::Pull, "other"), Err(StorageError::UserExists));
    let init = |role, hash: &str| Some(("init".to_owned(), role, hash.to_owned()));
    assert_eq!(kept(&store, "init"), init(Role::Administrator, "h1"), "the refusal changed it");
    assert_eq!(store.set_password(&user("init"), "h3".into()), Ok(true));
    assert_eq!(store.set_password(&user("nobody"), "h3".into()), Ok(false));
    drop(store);
    let store = open(home.path());
    assert_eq!(kept(&store, "init"), init(Role::Administrator, "h3"));
    assert_eq!(store.remove_user(&user("a+robot")), Ok(true));
    assert_eq!(store.remove_user(&user("a+robot")), Ok(false));
    assert_eq!(kept(&store, "a+robot"), None);
}

#[test]
fn the_names_of_users_are_case_sensitive() {
    let home = directory();
    let store = open(home.path());
    add(&store, "Init", Role::Pull, "h").unwrap();
    assert!(store.user(&user("init")).unwrap().is_none());
}

#[test]
fn every_change_of_a_user_moves_the_version_before_it_is_answered() {
    let home = directory();
    let store = open(home.path());
    let mut last = store.users_version();
    let mut has_moved = |what: &str| {
        let now = store.users_version();
        assert!(now > last, "{what}");
        last = now;
    };
    add(&store, "init", Role::Pull, "h").unwrap();
    has_moved("add");
    store.set_password(&user("init"), "h2".into()).unwrap();
    has_moved("password");
    store.remove_user(&user("init")).unwrap();
    has_moved("remove");
    let unchanged = store.users_version();
    store.user(&user("init")).unwrap();
    store.users().unwrap();
    assert_eq!(store.users_version(), unchanged);
}

#[test]
fn no_hash_is_printed() {
    let home = directory();
    let store = open(home.path());
    add(&store, "init", Role::Push, "argon2id-secret").unwrap();
    let init = store.user(&user("init")).unwrap().unwrap();
    assert_eq!(format!("{init:?}"), "User(init, push)");
}

/// Adds a user and gives who it is.
fn added(store: &Store, name: &str) -> Account {
    add(store, name, Role::Push, "h").unwrap();
    store.user(&user(name)).unwrap().unwrap().account()
}

fn begin(store: &Store, account: &Account, bytes: &'static [u8]) -> UploadId {
    let id = store.create_upload(&repo("a"), account, Algorithm::Sha256).unwrap();
    let writer = store.open_upload(&repo("a"), account, id).unwrap();
    writer.append(&[Bytes::from_static(bytes)]).unwrap();
    id
}

#[test]
fn uploads_end_with_their_user_and_a_namesake_inherits_nothing() {
    const UNKNOWN: StorageError = StorageError::UploadUnknown;
    let (home, name) = (directory(), repo("a"));
    let digest = sha256(b"finished");
    let (first, resting, finished) = {
        let store = open(home.path());
        let first = added(&store, "ann");
        let finished = begin(&store, &first, b"finished");
        let writer = store.open_upload(&name, &first, finished).unwrap();
        store.commit_upload(&writer, &digest).unwrap();
        (first.clone(), begin(&store, &first, b"rests over a restart"), finished)
    };
    let store = open(home.path());
    let other = added(&store, "bob");
    let kept = begin(&store, &other, b"kept");
    let running = begin(&store, &first, b"runs");
    let writer = store.open_upload(&name, &first, running).unwrap();
    assert_eq!(store.is_user(&first), Ok(true));
    assert_eq!(store.remove_user(&first.name), Ok(true));
    assert_eq!(store.is_user(&first), Ok(false));
    // What was running is over, and hears of it.
    assert_eq!(writer.check(), Err(UNKNOWN));
    assert_eq!(writer.append(&[Bytes::from_static(b"on")]), Err(UNKNOWN));
    assert_eq!(store.commit_upload(&writer, &sha256(b"runs")), Err(UNKNOWN));
    let second = added(&store, "ann");
    assert_ne!(second, first);
    let assert_gone = |store: &Store| {
        for account in [&first, &second] {
            for id in [resting, running, finished] {
                assert_eq!(store.upload_offset(&name, account, id), Err(UNKNOWN), "{id}");
                let outcome = store.open_upload_to_finish(&name, account, id, &digest);
                assert_eq!(outcome.err(), Some(UNKNOWN), "{id}");
                assert_eq!(store.cancel_upload(&name, account, id), Err(UNKNOWN), "{id}");
            }
        }
    };
    assert_gone(&store);
    // Nothing is left of them but what others have, and what was pushed.
    let left = files(home.path(), "uploads");
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(store.upload_offset(&name, &other, kept), Ok(4));
    assert_eq!(pull(&store, &name, &digest).as_deref(), Some(&b"finished"[..]));
    drop(store);
    assert_gone(&open(home.path()));
}

#[test]
fn what_a_crash_left_of_a_removed_user_belongs_to_no_namesake() {
    let (home, name) = (directory(), repo("a"));
    let store = open(home.path());
    let first = added(&store, "ann");
    let id = begin(&store, &first, b"left");
    let files = ["", ".meta"].map(|end| home.path().join("uploads").join(format!("{id}{end}")));
    let content = files.each_ref().map(|file| std::fs::read(file).unwrap());
    store.remove_user(&first.name).unwrap();
    let second = added(&store, "ann");
    drop(store);
    // As if the process had died between the row and the files.
    for (file, content) in files.iter().zip(content) {
        std::fs::write(file, content).unwrap();
    }
    let store = open(home.path());
    let offset = store.upload_offset(&name, &second, id);
    assert_eq!(offset, Err(StorageError::UploadUnknown));
}

#[test]
fn what_an_older_program_left_is_its_users_until_they_are_removed() {
    let (home, name) = (directory(), repo("a"));
    let store = open(home.path());
    let current = added(&store, "ann");
    drop(store);
    // An older program gave nobody such a number, and noted none with an upload.
    let database = rusqlite::Connection::open(home.path().join("registry.db")).unwrap();
    database.execute("UPDATE users SET id = ''", []).unwrap();
    drop(database);
    let store = open(home.path());
    let old = store.user(&current.name).unwrap().unwrap().account();
    assert_ne!(old, current);
    let id = begin(&store, &old, b"old");
    let meta = home.path().join("uploads").join(format!("{id}.meta"));
    assert!(!std::fs::read_to_string(&meta).unwrap().contains("user_id"));
    drop(store);
    let store = open(home.path());
    assert_eq!(store.upload_offset(&name, &old, id), Ok(3));
    store.remove_user(&old.name).unwrap();
    let new = added(&store, "ann");
    for account in [&old, &new] {
        let offset = store.upload_offset(&name, account, id);
        assert_eq!(offset, Err(StorageError::UploadUnknown));
    }
}
