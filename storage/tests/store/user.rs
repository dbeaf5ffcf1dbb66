//! Users, and the number by which a remembered password knows that it may be stale.

use storage::{Role, StorageError, User};

use crate::support::{directory, open, user};

fn person(name: &str, role: Role, hash: &str) -> User {
    User { name: user(name), role, password_hash: hash.into() }
}

#[test]
fn users_are_added_changed_and_removed() {
    let home = directory();
    let store = open(home.path());
    assert!(store.users().unwrap().is_empty());
    let (init, robot) =
        (person("init", Role::Administrator, "h1"), person("a+robot", Role::Push, "h2"));
    store.add_user(init.clone()).unwrap();
    store.add_user(robot.clone()).unwrap();
    assert!(store.users().unwrap() == [robot.clone(), init.clone()], "in the order of names");
    let again = store.add_user(person("init", Role::Pull, "other"));
    assert_eq!(again, Err(StorageError::UserExists));
    assert!(store.user(&init.name).unwrap().unwrap() == init, "the refusal changed something");
    assert_eq!(store.set_password(&init.name, "h3".into()), Ok(true));
    assert_eq!(store.set_password(&user("nobody"), "h3".into()), Ok(false));
    drop(store);
    let store = open(home.path());
    let init = store.user(&init.name).unwrap().unwrap();
    assert_eq!((init.role, init.password_hash.as_str()), (Role::Administrator, "h3"));
    assert_eq!(store.remove_user(&robot.name), Ok(true));
    assert_eq!(store.remove_user(&robot.name), Ok(false));
    assert!(store.user(&robot.name).unwrap().is_none());
}

#[test]
fn the_names_of_users_are_case_sensitive() {
    let home = directory();
    let store = open(home.path());
    store.add_user(person("Init", Role::Pull, "h")).unwrap();
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
    store.add_user(person("init", Role::Pull, "h")).unwrap();
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
    let printed = format!("{:?}", person("init", Role::Push, "argon2id-secret"));
    assert_eq!(printed, "User(init, push)");
}
