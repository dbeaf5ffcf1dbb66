//! What uploads leave free, and what deletes do when others left nothing.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use durable::DiskSpace;
use oci::Algorithm;
use storage::{Role, StorageError};

use crate::full::{Ballast, on_a_small_disk};
use crate::support::{
    account, index, open, open_with_reserve, pull, push, repo, sha256, tag, try_open, try_push,
    user,
};

#[test]
fn uploads_leave_the_reserve_free_and_rows_use_it() {
    let test = "reserve::uploads_leave_the_reserve_free_and_rows_use_it";
    let Some(disk) = on_a_small_disk(test) else { return };
    let (name, pusher) = (repo("a"), account("pusher"));
    // More than a twentieth of the disk, so a twentieth it is.
    let store = open_with_reserve(&disk.join("data"), true, 1 << 30).unwrap();
    let kept = DiskSpace::of(&disk).unwrap().total_bytes / 20;
    let id = store.create_upload(&name, &pusher, Algorithm::Sha256).unwrap();
    let writer = store.open_upload(&name, &pusher, id).unwrap();
    let digest = push(&store, &name, b"there");
    let ballast = Ballast::fill(&disk, usize::try_from(kept + 128 * 1024).unwrap());
    let free_bytes = DiskSpace::of(&disk).unwrap().free_bytes;
    assert!(free_bytes > kept && free_bytes < kept + (1 << 20), "{free_bytes}");

    let no_room =
        |wanted_bytes| StorageError::NoRoom { wanted_bytes, free_bytes, kept_bytes: kept };
    assert_eq!(store.check_room(1 << 30), Err(no_room(1 << 30)));
    assert_eq!(store.check_room(free_bytes - kept), Ok(()));
    assert_eq!(store.check_room(free_bytes - kept + 1), Err(no_room(free_bytes - kept + 1)));
    let piece = Bytes::from(vec![1; 1 << 20]);
    assert_eq!(writer.append(std::slice::from_ref(&piece)), Err(no_room(1 << 20)));
    writer.append(&[Bytes::from_static(b"fits")]).unwrap();

    drop(ballast);
    let _ballast = Ballast::fill(&disk, usize::try_from(kept / 2).unwrap());
    let begun = store.create_upload(&name, &account("another"), Algorithm::Sha256);
    assert!(matches!(begun, Err(StorageError::NoRoom { wanted_bytes: 0, .. })), "{begun:?}");
    // What is whole needs a row and no more.
    store.commit_upload(&writer, &sha256(b"fits")).unwrap();
    store.push_manifest(&name, index("x"), vec![tag("latest")], None).unwrap();
    assert_eq!(store.mount_blob(Some(&name), &repo("b"), &digest), Ok(true));
    assert_eq!(store.delete_tag(&name, &tag("latest"), None), Ok(true));
}

#[test]
fn deletes_work_when_others_left_not_one_byte() {
    let test = "reserve::deletes_work_when_others_left_not_one_byte";
    let Some(disk) = on_a_small_disk(test) else { return };
    let root = disk.join("data");
    let store = open(&root);
    let name = repo("a");
    let kept = push(&store, &name, b"kept");
    let digests: Vec<_> = (0..50_u32).map(|n| push(&store, &name, &n.to_le_bytes())).collect();
    for n in 0..50 {
        let mark = n.to_string();
        store.push_manifest(&name, index(&mark), vec![tag(&format!("t{n}"))], None).unwrap();
        let password_hash = "x".repeat(90);
        store.add_user(user(&mark), Role::Pull, password_hash).unwrap();
    }
    let whole = reserve_bytes(&root);
    assert!(whole > 0, "there is no reserve");
    let ballast = Ballast::fill(&disk, 0);
    use_up_the_log(&store);
    assert_eq!(reserve_bytes(&root), whole, "what only adds has taken of the reserve");

    for (n, digest) in digests.iter().enumerate() {
        let mark = n.to_string();
        assert_eq!(store.delete_tag(&name, &tag(&format!("t{n}")), None), Ok(true), "{n}");
        assert_eq!(store.delete_manifest(&name, index(&mark).digest(), None), Ok(true), "{n}");
        assert_eq!(store.delete_blob(&name, digest), Ok(true), "{n}");
        assert_eq!(store.remove_user(&user(&mark)), Ok(true), "{n}");
        let pushed = try_push(&store, &repo("b"), &vec![7; 2 << 20]);
        assert!(matches!(pushed, Err(StorageError::Full | StorageError::NoRoom { .. })));
    }
    assert!(reserve_bytes(&root) < whole, "the disk was not full");
    drop(store);
    // A start makes files, too.
    let store = try_open(&root, false).unwrap();
    assert_eq!(store.tags(&name, None, 10).map(|tags| tags.map(|tags| tags.len())), Ok(Some(0)));
    assert_eq!(pull(&store, &name, &kept).unwrap(), b"kept");
    drop(ballast);
    push(&store, &name, b"more");
    assert_eq!(reserve_bytes(&root), whole, "the reserve was not made whole");
}

/// Adds rows until there is no room for one more, neither in the log nor in the database.
fn use_up_the_log(store: &storage::Store) {
    let mut refused = 0;
    for n in 0.. {
        let text = "x".repeat(if refused == 0 { 64 * 1024 } else { 1 });
        match store.push_manifest(&repo("filler"), index(&format!("{n}{text}")), vec![], None) {
            Ok(_) if refused < 5 => {}
            Ok(_) => refused = 0,
            Err(StorageError::Full) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        if refused == 20 {
            return;
        }
    }
}

fn reserve_bytes(root: &Path) -> u64 {
    fs::metadata(root.join("reserve")).unwrap().len()
}
