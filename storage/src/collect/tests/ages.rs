//! Ages are counted on the store's own clock, over stops and crashes.

use super::*;
use crate::db::{Reader, Transaction};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// What the server keeps.
const USUAL: Keep = Keep {
    grace: DAY,
    untagged: Some(DAY),
    listed_within: DAY,
    deleted: DAY,
    history: DAY,
    uploads: DAY,
};

/// Everything that ages: a blob that nothing needs, a deleted image, an untagged manifest, an
/// upload, a stray file, half of an upload and a damaged file.
fn fill(store: &Store) {
    push(store, "a", b"loose");
    let image = image(&[push(store, "a", b"config")]);
    put(store, "a", &image, &["gone"]);
    store.delete_manifest(&repo("a"), image.digest(), None).unwrap();
    put(store, "a", &index(&[], None), &[]);
    let user = pusher();
    store.create_upload(&repo("a"), &user, Algorithm::Sha256).unwrap();
    let stray = Digest::of(Algorithm::Sha256, b"stray");
    fs::write(store.layout.blob(&stray), b"stray").unwrap();
    fs::write(store.layout.damaged_blob(&stray), b"wrong").unwrap();
    fs::write(store.layout.upload(crate::content::upload::UploadId::random().unwrap()), b"half")
        .unwrap();
}

fn everything(done: &Collected) -> [u64; 7] {
    let Collected { uploads, deleted_manifests, untagged_manifests, .. } = *done;
    let Collected { tag_changes, blobs, stray_files, damaged_files, .. } = *done;
    [uploads, deleted_manifests, untagged_manifests, tag_changes, blobs, stray_files, damaged_files]
}

#[test]
fn everything_ages_while_the_store_is_open_and_only_then() {
    let (directory, store) = old();
    fill(&store);
    assert_eq!(everything(&collect(&store, &USUAL)), [0; 7]);
    let mut store = again(&directory, store, true);
    // What stands in the files and rows of times is of no account, a wall clock that jumps neither.
    let wall = "UPDATE blobs SET created_at = 0;
                UPDATE repository_manifests SET pushed_at = 0;
                UPDATE deleted_manifests SET deleted_at = 0;
                UPDATE tag_history SET changed_at = 0;
                UPDATE upkeep SET ended_at = 0;";
    store.database.write(move |c: &Transaction<'_>| c.run(wall)).unwrap();
    for entry in fs::read_dir(store.layout.uploads()).unwrap() {
        let file = fs::File::options().write(true).open(entry.unwrap().path()).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
    assert_eq!(everything(&collect(&store, &USUAL)), [0; 7]);
    // Each process lives for a part of the time.
    for _ in 0..5 {
        assert_eq!(everything(&collect(&store, &USUAL)), [0; 7]);
        store.database.clock().pass(DAY / 5);
        store = again(&directory, store, true);
    }
    // The last use of an upload is known to the hour.
    store.database.clock().pass(HOUR + Duration::from_secs(2));
    assert_eq!(everything(&collect(&store, &USUAL)), [2, 1, 1, 2, 2, 1, 1]);
    assert!(sizes(&store).iter().all(|(_, size)| *size == 0), "{:?}", sizes(&store));
    let seen = |c: &Reader<'_>| c.number("SELECT count(*) FROM seen_files");
    assert_eq!(store.database.read(seen), Ok(0));
}

#[test]
fn a_registry_that_is_stopped_before_the_grace_time_is_over_collects_too() {
    let (directory, mut store) = open();
    let blob = push(&store, "a", b"loose");
    let told = push(&store, "a", b"told");
    let keep = Keep { grace: DAY, ..NOTHING };
    for _ in 0..4 {
        assert!(collect(&store, &keep).blobs_wait_seconds > 0);
        store.database.clock().pass(DAY / 4);
        store = again(&directory, store, true);
        // The last answer is of the last but one process.
        assert_eq!(store.tell_blob_size(&repo("a"), &told), Ok(Some(4)));
    }
    store.database.clock().pass(Duration::from_secs(2));
    let store = again(&directory, store, true);
    let done = collect(&store, &keep);
    assert_eq!((done.blobs_wait_seconds, done.blobs), (0, 1));
    assert!(!has(&store, "a", &blob) && has(&store, "a", &told));
    // A crash forgets what was told, and with it the right to take anything.
    store.database.clock().pass(2 * DAY);
    let store = again(&directory, store, false);
    assert!(collect(&store, &keep).blobs_wait_seconds > 0);
    assert!(has(&store, "a", &told));
}

#[test]
fn what_was_told_is_not_believed_beside_another_database() {
    let (directory, store) = old();
    let kept = store.layout.promises().with_extension("kept");
    let root = store.layout.promises();
    drop(store);
    fs::copy(&root, &kept).unwrap();
    let store = open_at(directory.path());
    push(&store, "a", b"told to be there");
    drop(store);
    // As when a copy is brought up to date with files that are newer and nothing is removed.
    fs::rename(&kept, &root).unwrap();
    let store = open_at(directory.path());
    assert!(collect(&store, &Keep { grace: HOUR, ..NOTHING }).blobs_wait_seconds > 0);
}

#[test]
fn what_cannot_be_written_or_read_at_a_stop_is_not_known() {
    let keep = Keep { grace: HOUR, ..NOTHING };
    let (directory, store) = old();
    // Nothing can be renamed to the name of a directory that holds something.
    let path = store.layout.promises();
    fs::create_dir_all(path.join("x")).unwrap();
    drop(store);
    assert!(!path.with_extension("new").exists());
    let store = open_at(directory.path());
    assert!(collect(&store, &keep).blobs_wait_seconds > 0);
    fs::remove_dir_all(&path).unwrap();
    store.database.clock().pass(2 * HOUR);
    drop(store);
    let mut content = fs::read(&path).unwrap();
    *content.last_mut().unwrap() ^= 1;
    fs::write(&path, content).unwrap();
    let store = open_at(directory.path());
    assert!(collect(&store, &keep).blobs_wait_seconds > 0);
    assert!(!path.exists());
}

#[test]
fn what_was_deleted_in_the_first_second_of_a_store_can_be_restored() {
    let (_directory, store) = open();
    let image = put(&store, "a", &index(&[], None), &["first"]);
    store.delete_manifest(&repo("a"), &image, None).unwrap();
    let keep = Keep { deleted: DAY, history: DAY, ..UNTAGGED_TOO };
    assert_eq!(collect(&store, &keep).deleted_manifests, 0);
    let tag = tags(&["first"]).remove(0);
    store.restore_tag(&repo("a"), &tag, RestorePoint::LastChange, None).unwrap();
    assert!(has_manifest(&store, "a", &image));
}

#[test]
fn what_was_noted_before_a_crash_on_a_clock_that_lost_time_goes_when_everything_may() {
    let (directory, store) = open();
    push(&store, "a", b"loose");
    let image = put(&store, "a", &index(&[], None), &["gone"]);
    store.delete_manifest(&repo("a"), &image, None).unwrap();
    let ahead = "UPDATE repository_blobs SET linked_at = linked_at + 60;
                 UPDATE deleted_manifests SET deleted_tick = deleted_tick + 60;
                 UPDATE tag_history SET changed_tick = changed_tick + 60;";
    store.database.write(move |c: &Transaction<'_>| c.run(ahead)).unwrap();
    let store = again(&directory, store, false);
    let minute = Duration::from_secs(60);
    let done = collect(&store, &Keep { grace: Duration::ZERO, deleted: minute, ..USUAL });
    assert_eq!((done.blobs, done.deleted_manifests), (1, 0));
    assert_eq!(everything(&collect(&store, &NOTHING)), [0, 1, 0, 2, 0, 0, 0]);
}

#[test]
fn an_upload_that_is_used_each_hour_is_young_after_a_restart() {
    let (directory, store) = open();
    let (name, user) = (repo("a"), pusher());
    let id = store.create_upload(&name, &user, Algorithm::Sha256).unwrap();
    let writer = store.open_upload(&name, &user, id).unwrap();
    for _ in 0..30 {
        store.database.clock().pass(HOUR);
        writer.append(&[Bytes::from_static(b"x")]).unwrap();
    }
    drop(writer);
    let store = again(&directory, store, false);
    assert_eq!(store.expire_uploads(DAY), Ok(0));
    assert_eq!(store.upload_offset(&name, &user, id), Ok(30));
    store.database.clock().pass(DAY + 2 * HOUR);
    let store = again(&directory, store, true);
    assert_eq!(store.expire_uploads(DAY), Ok(1));
}

#[test]
fn an_upload_of_a_program_that_noted_no_use_begins_to_age_when_it_is_met() {
    let (directory, store) = old();
    let (name, user) = (repo("a"), pusher());
    let id = store.create_upload(&name, &user, Algorithm::Sha256).unwrap();
    let meta = store.layout.upload_meta(id);
    fs::write(&meta, br#"{"repository":"a","user":"pusher","algorithm":"sha256"}"#).unwrap();
    let store = again(&directory, store, true);
    assert_eq!(store.expire_uploads(DAY), Ok(0));
    store.database.clock().pass(DAY / 2);
    let store = again(&directory, store, true);
    assert_eq!(store.expire_uploads(DAY), Ok(0));
    store.database.clock().pass(DAY);
    let store = again(&directory, store, true);
    assert_eq!(store.expire_uploads(DAY), Ok(1));
    assert!(!meta.exists());
}

#[test]
fn upkeep_is_due_when_the_store_was_open_for_long_enough() {
    let (directory, store) = open();
    assert_eq!(store.since_collection(), Ok(None));
    collect(&store, &NOTHING);
    let scrub = crate::Scrub { interval: DAY, bytes_per_second: None };
    let mut go_on = |_: &crate::Verified| ControlFlow::Continue(());
    assert!(store.scrub(&scrub, &mut go_on).unwrap().is_some());
    let jump = "UPDATE upkeep SET ended_at = 0";
    store.database.write(move |c: &Transaction<'_>| c.run(jump)).unwrap();
    let mut store = again(&directory, store, true);
    for _ in 0..4 {
        assert!(store.since_collection().unwrap().unwrap() < DAY);
        assert_eq!(store.scrub(&scrub, &mut go_on), Ok(None));
        store.database.clock().pass(DAY / 4);
        store = again(&directory, store, true);
    }
    assert!(store.since_collection().unwrap().unwrap() >= DAY);
    assert!(store.scrub(&scrub, &mut go_on).unwrap().is_some());
}

#[test]
fn a_dry_run_notes_no_file_and_a_file_with_a_row_by_now_is_forgotten() {
    let (_directory, store) = old();
    let stray = Digest::of(Algorithm::Sha256, b"stray");
    fs::write(store.layout.blob(&stray), b"stray").unwrap();
    let keep = Keep { grace: DAY, ..NOTHING };
    let known = || {
        let count = |c: &Reader<'_>| c.number("SELECT count(*) FROM seen_files");
        store.database.read(count).unwrap()
    };
    let mut go_on = |_: &Collected| ControlFlow::Continue(());
    store.collect(&keep, true, &mut go_on).unwrap();
    assert_eq!(known(), 0);
    collect(&store, &keep);
    assert_eq!(known(), 1);
    put(&store, "a", &image(&[push(&store, "a", b"stray")]), &["latest"]);
    collect(&store, &keep);
    assert_eq!(known(), 0);
}

#[test]
fn a_link_that_a_clock_made_that_was_ahead_is_as_young_as_now_and_ages_from_there() {
    let (_directory, store) = old();
    let blob = push(&store, "a", b"blob");
    let ahead = "UPDATE repository_blobs SET linked_at = 4000000000";
    store.database.write(move |transaction| transaction.run(ahead)).unwrap();
    let keep = Keep { grace: HOUR, ..NOTHING };
    assert_eq!(collect(&store, &keep).links, 0);
    store.database.clock().pass(2 * HOUR);
    assert_eq!(collect(&store, &keep).links, 1);
    assert!(!has(&store, "a", &blob));
}
