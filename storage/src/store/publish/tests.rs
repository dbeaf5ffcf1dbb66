use std::fs;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use oci::Algorithm;

use super::*;
use crate::account::{Account, UserId};
use crate::in_memory::lock::OnHeld;
use crate::store::OpenOptions;

const CLIENTS: usize = 64;
const LAYER: &[u8] = b"a base layer that everybody has";

pub(super) fn open() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let options = OpenOptions {
        may_create: true,
        uploads_per_user: 2 * CLIENTS,
        reserve_bytes: 0,
        read_pause_time: Duration::from_millis(100),
        idle_connections: 4,
        hot_manifest_bytes: 1 << 20,
        on_held: &|_| OnHeld::Wait,
        allow_network_fs: false,
        on_fatal: |error| panic!("{error}"),
        on_trouble: |_| {},
    };
    let store = Store::open(directory.path(), &options).unwrap();
    (directory, store)
}

fn name(number: usize) -> RepoName {
    format!("team{number}/app").parse().unwrap()
}

fn upload(store: &Store, number: usize) -> UploadWriter {
    let user = Account { name: "pusher".parse().unwrap(), id: UserId::default() };
    let name = name(number);
    let id = store.create_upload(&name, &user, Algorithm::Sha256).unwrap();
    let writer = store.open_upload(&name, &user, id).unwrap();
    writer.append(&[Bytes::from_static(LAYER)]).unwrap();
    writer
}

/// Commits many uploads of one layer that all wait for `first`.
fn commit_at_once(store: &Store, first: impl FnOnce()) -> Vec<Result<(), StorageError>> {
    let digest = Digest::of(Algorithm::Sha256, LAYER);
    let uploads: Vec<UploadWriter> = (0..CLIENTS).map(|number| upload(store, number)).collect();
    thread::scope(|scope| {
        let commits: Vec<_> = uploads
            .iter()
            .map(|upload| scope.spawn(|| store.commit_upload(upload, &digest)))
            .collect();
        while store.claims.waiting(&digest) != CLIENTS {
            thread::yield_now();
        }
        first();
        commits.into_iter().map(|commit| commit.join().unwrap()).collect()
    })
}

fn assert_all_there(store: &Store, directory: &tempfile::TempDir) {
    let digest = Digest::of(Algorithm::Sha256, LAYER);
    for number in 0..CLIENTS {
        let reader = store.open_blob(&name(number), &digest).unwrap().unwrap();
        assert_eq!(reader.read_at(0, 100).unwrap(), LAYER);
    }
    let uploads = fs::read_dir(directory.path().join("uploads")).unwrap();
    let open = uploads.filter(|entry| entry.as_ref().unwrap().path().extension().is_none());
    assert_eq!(open.count(), 0);
    assert_eq!(store.open_uploads(), 0);
}

#[test]
fn what_is_pushed_again_is_remembered_before_its_link_is_looked_at() {
    let (_directory, store) = open();
    let (digest, own) = (Digest::of(Algorithm::Sha256, LAYER), name(0));
    store.commit_upload(&upload(&store, 0), &digest).unwrap();
    store.told.take_back(own.as_str(), &digest);
    let again = upload(&store, 0);
    thread::scope(|scope| {
        let claim = store.claims.claim(&digest);
        let commit = scope.spawn(|| store.commit_upload(&again, &digest));
        while store.claims.waiting(&digest) != 1 {
            thread::yield_now();
        }
        // What collection asks before it takes the link.
        let is_taken = store.told.condemn(own.as_str(), &digest, Duration::from_secs(60));
        store.told.release([(own.as_str(), &digest)].into_iter(), is_taken);
        drop(claim);
        assert_eq!(commit.join().unwrap(), Ok(()));
        assert!(!is_taken);
    });
}

#[test]
fn what_was_told_is_not_forgotten_by_a_look_that_failed() {
    let (_directory, store) = open();
    let (digest, own) = (Digest::of(Algorithm::Sha256, LAYER), name(0));
    store.commit_upload(&upload(&store, 0), &digest).unwrap();
    let again = upload(&store, 0);
    // No file is found in what is no directory, nor can anybody say that there is none.
    let shard = store.layout().blob(&digest).parent().unwrap().to_owned();
    let aside = shard.with_extension("aside");
    fs::rename(&shard, &aside).unwrap();
    fs::write(&shard, "").unwrap();
    store.commit_upload(&again, &digest).unwrap_err();
    assert!(!store.told.condemn(own.as_str(), &digest, Duration::from_secs(60)));
    fs::remove_file(&shard).unwrap();
    fs::rename(&aside, &shard).unwrap();
    // Where the look says that it is not there, nobody was told anything.
    let other = name(1);
    assert_eq!(store.mount_blob(Some(&name(2)), &other, &digest), Ok(false));
    assert!(store.told.condemn(other.as_str(), &digest, Duration::from_secs(60)));
}

#[test]
fn sixty_four_pushes_of_one_layer_that_wait_share_one_publication() {
    let (directory, store) = open();
    let claim = store.claims.claim(&Digest::of(Algorithm::Sha256, LAYER));
    let outcomes = commit_at_once(&store, || drop(claim));
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(store.claims.publications(), 1);
    assert_all_there(&store, &directory);
}

#[test]
fn those_that_come_while_the_first_publishes_share_one_more() {
    let (directory, store) = open();
    let digest = Digest::of(Algorithm::Sha256, LAYER);
    let Turn::Publish(first) = store.claims.claim_to_publish(&digest) else {
        panic!("nobody else")
    };
    let outcomes = commit_at_once(&store, || first.succeeded());
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(store.claims.publications(), 2);
    assert_all_there(&store, &directory);
}
