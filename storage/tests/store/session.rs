//! Upload sessions: whose they are, how many there may be, and how they end.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use oci::Algorithm;
use storage::{StorageError, Store, UploadId};

use crate::support::{UPLOADS_PER_USER, account, directory, files, open, repo, sha256};

const HOUR: Duration = Duration::from_secs(3600);

fn begin(store: &Store, name: &str) -> UploadId {
    store.create_upload(&repo("a"), &account(name), Algorithm::Sha256).unwrap()
}

fn offset(store: &Store, name: &str, id: UploadId) -> Result<u64, StorageError> {
    store.upload_offset(&repo("a"), &account(name), id)
}

/// Makes a session look as if nobody used it for a day.
fn age(root: &Path, id: UploadId) {
    let path = root.join("uploads").join(format!("{id}.meta"));
    let text = fs::read_to_string(&path).unwrap();
    let (before, _) = text.split_once(r#""used_tick":"#).unwrap();
    fs::write(&path, format!(r#"{before}"used_tick":"-0000000000000086400"}}"#)).unwrap();
}

#[test]
fn to_another_user_or_repository_a_session_does_not_exist() {
    let home = directory();
    let store = open(home.path());
    let id = begin(&store, "owner");
    let strangers =
        [("a", "stranger"), ("b", "owner"), ("a/b", "owner")].map(|(r, u)| (repo(r), account(u)));
    for round in 0..2 {
        for (name, stranger) in &strangers {
            let unknown = Some(StorageError::UploadUnknown);
            assert_eq!(store.upload_offset(name, stranger, id).err(), unknown, "{round}");
            assert_eq!(store.open_upload(name, stranger, id).err(), unknown, "{round}");
            assert_eq!(store.cancel_upload(name, stranger, id).err(), unknown, "{round}");
        }
        assert_eq!(offset(&store, "owner", id), Ok(0));
    }
    drop(store);
    // Nor does it after a restart, when its files say whose it is.
    let store = open(home.path());
    for (name, stranger) in &strangers {
        let outcome = store.open_upload(name, stranger, id);
        assert_eq!(outcome.err(), Some(StorageError::UploadUnknown));
    }
    assert_eq!(offset(&store, "owner", id), Ok(0));
}

#[test]
fn a_cancelled_session_is_gone_with_its_files_and_its_writers() {
    let home = directory();
    let store = open(home.path());
    let id = begin(&store, "owner");
    let (name, owner) = (repo("a"), account("owner"));
    let writer = store.open_upload(&name, &owner, id).unwrap();
    writer.append(&[Bytes::from_static(b"content")]).unwrap();
    assert_eq!(store.cancel_upload(&name, &owner, id), Ok(true));
    assert!(files(home.path(), "uploads").is_empty());
    assert_eq!(store.open_uploads(), 0);
    let unknown = StorageError::UploadUnknown;
    assert_eq!(writer.append(&[Bytes::from_static(b"x")]), Err(unknown.clone()));
    assert_eq!(store.commit_upload(&writer, &sha256(b"content")), Err(unknown.clone()));
    assert_eq!(store.cancel_upload(&name, &owner, id), Err(unknown));
    assert!(files(home.path(), "uploads").is_empty());
}

#[test]
fn at_the_limit_the_session_of_that_user_idle_longest_ends() {
    let home = directory();
    let store = open(home.path());
    let other = begin(&store, "other");
    let own: Vec<UploadId> = (0..UPLOADS_PER_USER).map(|_| begin(&store, "owner")).collect();
    assert_eq!(offset(&store, "owner", own[0]), Ok(0), "asking counts as using");
    let newest = begin(&store, "owner");
    assert_eq!(offset(&store, "owner", own[1]), Err(StorageError::UploadUnknown));
    for id in [own[0], own[2], newest] {
        assert_eq!(offset(&store, "owner", id), Ok(0));
    }
    assert_eq!(offset(&store, "other", other), Ok(0), "others are not touched");
    assert_eq!(files(home.path(), "uploads").len(), 2 * (UPLOADS_PER_USER + 1));
    assert_eq!(store.open_uploads(), UPLOADS_PER_USER + 1);
}

#[test]
fn sessions_begun_at_once_do_not_pass_the_limit() {
    let home = directory();
    let store = open(home.path());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    begin(&store, "owner");
                }
            });
        }
    });
    // Two that end sessions for two new ones at one time may end one too many, never one too few.
    assert!((1..=UPLOADS_PER_USER).contains(&store.open_uploads()), "{}", store.open_uploads());
    assert_eq!(files(home.path(), "uploads").len(), 2 * store.open_uploads());
}

#[test]
fn what_nobody_used_expires_and_the_rest_stays() {
    let home = directory();
    let store = open(home.path());
    let (idle, used) = (begin(&store, "owner"), begin(&store, "owner"));
    assert_eq!(store.expire_uploads(HOUR), Ok(0));
    // In this process both were used a moment ago, however old their files look.
    age(home.path(), idle);
    age(home.path(), used);
    assert_eq!(store.expire_uploads(HOUR), Ok(0));
    assert_eq!(store.expire_uploads(Duration::ZERO), Ok(2));
    assert_eq!(store.open_uploads(), 0);
    assert!(files(home.path(), "uploads").is_empty());
}

#[test]
fn sessions_of_an_earlier_process_expire_too() {
    let home = directory();
    let store = open(home.path());
    let (idle, asked, fresh) =
        (begin(&store, "owner"), begin(&store, "owner"), begin(&store, "owner"));
    drop(store);
    age(home.path(), idle);
    age(home.path(), asked);
    let store = open(home.path());
    assert_eq!(offset(&store, "owner", asked), Ok(0));
    assert_eq!(store.expire_uploads(HOUR), Ok(1));
    assert_eq!(offset(&store, "owner", idle), Err(StorageError::UploadUnknown));
    assert_eq!(offset(&store, "owner", asked), Ok(0));
    assert_eq!(offset(&store, "owner", fresh), Ok(0));
    assert_eq!(store.open_uploads(), 2, "the sweep makes known what it meets");
}

#[test]
fn a_damaged_session_is_unknown_until_it_expires() {
    let home = directory();
    let damages: [(&str, &[u8]); 6] = [
        ("empty", b""),
        ("torn", br#"{"repository":"a","us"#),
        ("zeros", &[0; 60]),
        ("not UTF-8", b"\xff\xfe"),
        ("a bad name", br#"{"repository":"../a","user":"owner","algorithm":"sha256"}"#),
        ("an unknown algorithm", br#"{"repository":"a","user":"owner","algorithm":"md5"}"#),
    ];
    for (what, content) in damages {
        let store = open(home.path());
        let id = begin(&store, "owner");
        drop(store);
        fs::write(home.path().join("uploads").join(format!("{id}.meta")), content).unwrap();
        let store = open(home.path());
        assert_eq!(offset(&store, "owner", id), Err(StorageError::UploadUnknown), "{what}");
        assert_eq!(store.expire_uploads(HOUR), Ok(0), "{what}");
        assert_eq!(files(home.path(), "uploads").len(), 2, "{what}");
        assert_eq!(store.expire_uploads(Duration::ZERO), Ok(1), "{what}");
        assert!(files(home.path(), "uploads").is_empty(), "{what}");
    }
}

#[test]
fn half_a_session_is_unknown_and_expires() {
    let home = directory();
    for half in ["", ".meta"] {
        let store = open(home.path());
        let id = begin(&store, "owner");
        drop(store);
        fs::remove_file(home.path().join("uploads").join(format!("{id}{half}"))).unwrap();
        let store = open(home.path());
        assert_eq!(offset(&store, "owner", id), Err(StorageError::UploadUnknown));
        assert_eq!(store.expire_uploads(HOUR), Ok(0));
        assert_eq!(store.expire_uploads(Duration::ZERO), Ok(1));
        assert!(files(home.path(), "uploads").is_empty());
    }
}

#[test]
fn expiry_leaves_alone_what_is_not_a_session() {
    let home = directory();
    let store = open(home.path());
    let strange = home.path().join("uploads").join("README");
    fs::write(&strange, "").unwrap();
    assert_eq!(store.expire_uploads(Duration::ZERO), Ok(0));
    assert!(strange.exists());
}
