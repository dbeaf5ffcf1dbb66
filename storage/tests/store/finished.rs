//! Finished sessions: the last request asked again, and what a process leaves that was killed amid
//! it.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use oci::{Algorithm, RepoName};
use storage::{Account, Keep, StorageError, Store, UploadId};

use crate::support::{
    account, blob_path, directory, files, open, open_files, pull, push, repo, sha256,
};

const CONTENT: &[u8] = b"content";

/// The session that these tests are about.
struct Session {
    name: RepoName,
    user: Account,
    id: UploadId,
}

impl Session {
    fn begin(store: &Store) -> Self {
        Self::begin_as(store, "a/b", "pusher")
    }

    fn begin_as(store: &Store, name: &str, pusher: &str) -> Self {
        let (name, user) = (repo(name), account(pusher));
        let id = store.create_upload(&name, &user, Algorithm::Sha256).unwrap();
        let writer = store.open_upload(&name, &user, id).unwrap();
        writer.append(&[Bytes::from_static(CONTENT)]).unwrap();
        Self { name, user, id }
    }

    fn finished(store: &Store) -> Self {
        let session = Self::begin(store);
        session.finish(store, CONTENT).unwrap();
        session
    }

    /// Makes it the blob of this content; whether there was anything left to do.
    fn finish(&self, store: &Store, content: &[u8]) -> Result<bool, StorageError> {
        let digest = sha256(content);
        match store.open_upload_to_finish(&self.name, &self.user, self.id, &digest)? {
            Some(writer) => store.commit_upload(&writer, &digest).map(|()| true),
            None => Ok(false),
        }
    }

    fn offset(&self, store: &Store) -> Result<u64, StorageError> {
        store.upload_offset(&self.name, &self.user, self.id)
    }

    fn file(&self, root: &Path) -> std::path::PathBuf {
        root.join("uploads").join(self.id.to_string())
    }

    /// Notes what a commit notes before it takes the bytes away.
    fn note(&self, root: &Path) {
        let path = root.join("uploads").join(format!("{}.meta", self.id));
        let note = format!(
            "{}\n{{\"digest\":\"{}\",\"size\":{}}}\n\n",
            fs::read_to_string(&path).unwrap(),
            sha256(CONTENT),
            CONTENT.len()
        );
        fs::write(&path, note).unwrap();
    }

    /// What a process leaves that is killed after it gave the bytes their final name.
    fn is_renamed(&self, root: &Path) {
        self.note(root);
        fs::rename(self.file(root), blob_path(root, &sha256(CONTENT))).unwrap();
    }
}

const UNKNOWN: StorageError = StorageError::UploadUnknown;

fn collect(store: &Store, uploads: Duration) {
    let none = Duration::ZERO;
    let keep = Keep {
        grace: none,
        untagged: None,
        listed_within: none,
        deleted: none,
        history: none,
        uploads,
    };
    let done = store.collect(&keep, false, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(done.is_whole);
}

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

#[test]
fn the_last_request_may_be_asked_again_also_after_a_restart() {
    let home = directory();
    let mut store = open(home.path());
    let session = Session::finished(&store);
    for _ in 0..2 {
        for _ in 0..2 {
            assert_eq!(session.finish(&store, CONTENT), Ok(false));
        }
        // Only this, and only of whom it is.
        assert_eq!(session.finish(&store, b"other"), Err(UNKNOWN));
        let digest = sha256(CONTENT);
        for (name, user) in [("a", "pusher"), ("a/b", "other")].map(|(n, u)| (repo(n), account(u)))
        {
            let again = store.open_upload_to_finish(&name, &user, session.id, &digest);
            assert_eq!(again.err(), Some(UNKNOWN));
            assert_eq!(store.cancel_upload(&name, &user, session.id), Err(UNKNOWN));
        }
        assert_eq!(session.offset(&store), Err(UNKNOWN));
        assert_eq!(
            store.open_upload(&session.name, &session.user, session.id).err(),
            Some(UNKNOWN)
        );
        assert_eq!(store.open_uploads(), 0);
        drop(store);
        store = open(home.path());
    }
    assert_eq!(session.finish(&store, CONTENT), Ok(false));
    // Who ends it, as `oc` does after each upload, has heard the answer.
    assert_eq!(store.cancel_upload(&session.name, &session.user, session.id), Err(UNKNOWN));
    assert!(files(home.path(), "uploads").is_empty());
    assert_eq!(session.finish(&store, CONTENT), Err(UNKNOWN));
}

#[test]
fn what_is_not_there_any_more_is_not_finished() {
    let home = directory();
    let store = open(home.path());
    let session = Session::finished(&store);
    push(&store, &repo("other"), CONTENT);
    assert_eq!(store.delete_blob(&session.name, &sha256(CONTENT)), Ok(true));
    assert_eq!(session.finish(&store, CONTENT), Err(UNKNOWN));
    assert_eq!(session.offset(&store), Err(UNKNOWN));
    assert_eq!(store.blob_size(&session.name, &sha256(CONTENT)), Ok(None));
    assert_eq!(pull(&store, &repo("other"), &sha256(CONTENT)).unwrap(), CONTENT);
    let session = Session::finished(&store);
    collect(&store, WEEK);
    assert!(files(home.path(), "blobs").is_empty());
    assert_eq!(session.finish(&store, CONTENT), Err(UNKNOWN));
    assert_eq!(session.offset(&store), Err(UNKNOWN));
}

#[test]
fn no_more_finished_sessions_of_a_user_are_remembered_than_are_allowed() {
    const MOST: usize = 256;
    let home = directory();
    let store = open(home.path());
    let first = Session::finished(&store);
    for _ in 0..MOST - 1 {
        Session::finished(&store);
    }
    assert_eq!(files(home.path(), "uploads").len(), MOST);
    assert_eq!(first.finish(&store, CONTENT), Ok(false));
    let last = Session::finished(&store);
    assert_eq!(files(home.path(), "uploads").len(), MOST);
    assert_eq!(first.finish(&store, CONTENT), Err(UNKNOWN));
    drop(store);
    let store = open(home.path());
    // A server looks through them as soon as it is there.
    assert_eq!(store.expire_uploads(WEEK), Ok(0));
    let newest = Session::finished(&store);
    assert_eq!(files(home.path(), "uploads").len(), MOST);
    assert_eq!(newest.finish(&store, CONTENT), Ok(false));
    // They expire as sessions do, and none ends with them.
    assert_eq!(store.expire_uploads(Duration::ZERO), Ok(0));
    assert!(files(home.path(), "uploads").is_empty());
    for session in [last, newest] {
        assert_eq!(session.finish(&store, CONTENT), Err(UNKNOWN));
    }
}

#[test]
fn a_kill_before_the_row_gives_the_session_its_bytes_back() {
    type Ask = fn(&Session, &Store);
    let asks: [Ask; 4] = [
        |session, store| assert_eq!(session.offset(store), Ok(7)),
        |session, store| {
            store.open_upload(&session.name, &session.user, session.id).unwrap();
        },
        |_, store| assert_eq!(store.expire_uploads(WEEK), Ok(0)),
        // Else these bytes were nobody's.
        |_, store| collect(store, WEEK),
    ];
    for (number, ask) in asks.into_iter().enumerate() {
        let home = directory();
        let store = open(home.path());
        let session = Session::begin(&store);
        drop(store);
        session.is_renamed(home.path());
        let store = open(home.path());
        ask(&session, &store);
        assert!(files(home.path(), "blobs").is_empty(), "{number}");
        assert_eq!(open_files(home.path()), [session.file(home.path())], "{number}");
        // It can grow as if nothing had been, and becomes another blob.
        assert_eq!(session.offset(&store), Ok(7), "{number}");
        let writer = store.open_upload(&session.name, &session.user, session.id).unwrap();
        writer.append(&[Bytes::from_static(b" and more")]).unwrap();
        assert_eq!(session.finish(&store, b"content and more"), Ok(true), "{number}");
        let digest = sha256(b"content and more");
        assert_eq!(pull(&store, &session.name, &digest).unwrap(), b"content and more");
        assert_eq!(store.blob_size(&session.name, &sha256(CONTENT)), Ok(None));
    }
}

#[test]
fn a_kill_before_the_row_and_the_same_request_again() {
    let home = directory();
    let store = open(home.path());
    let sessions = [Session::begin(&store), Session::begin(&store)];
    drop(store);
    sessions[0].is_renamed(home.path());
    // The other one was about to be renamed.
    sessions[1].note(home.path());
    let store = open(home.path());
    for session in &sessions {
        assert_eq!(session.finish(&store, CONTENT), Ok(true));
        assert_eq!(session.finish(&store, CONTENT), Ok(false));
    }
    assert_eq!(pull(&store, &repo("a/b"), &sha256(CONTENT)).unwrap(), CONTENT);
    assert!(open_files(home.path()).is_empty());
}

#[test]
fn a_killed_request_gets_its_bytes_back_before_somebody_else_publishes_the_same() {
    for other in ["other", "a/b"] {
        let home = directory();
        let store = open(home.path());
        let session = Session::begin(&store);
        drop(store);
        session.is_renamed(home.path());
        let store = open(home.path());
        // Somebody pushes the same before the session is asked for.
        push(&store, &repo(other), CONTENT);
        assert_eq!(open_files(home.path()), [session.file(home.path())], "{other}");
        assert_eq!(session.offset(&store), Ok(7), "{other}");
        assert_eq!(session.finish(&store, CONTENT), Ok(true), "{other}");
        for name in ["other", "a/b"].map(repo).iter().filter(|name| name.as_str() != other) {
            let held = *name == session.name;
            assert_eq!(pull(&store, name, &sha256(CONTENT)).is_some(), held, "{other}");
        }
        assert_eq!(pull(&store, &repo(other), &sha256(CONTENT)).unwrap(), CONTENT);
    }
}

#[test]
fn a_killed_request_is_answered_by_the_blob_that_others_published() {
    let home = directory();
    let store = open(home.path());
    let session = Session::begin(&store);
    drop(store);
    session.is_renamed(home.path());
    // A program that gave nothing back put another file in its place.
    fs::remove_file(blob_path(home.path(), &sha256(CONTENT))).unwrap();
    let store = open(home.path());
    push(&store, &repo("other"), CONTENT);
    for _ in 0..2 {
        // Bytes that a row names are given back to nobody.
        assert_eq!(session.offset(&store), Err(UNKNOWN));
        assert_eq!(store.expire_uploads(WEEK), Ok(0));
    }
    assert_eq!(pull(&store, &session.name, &sha256(CONTENT)), None);
    assert_eq!(session.finish(&store, CONTENT), Ok(false));
    assert_eq!(pull(&store, &session.name, &sha256(CONTENT)).unwrap(), CONTENT);
    // From here on the client has heard it.
    drop(store);
    let store = open(home.path());
    assert_eq!(store.delete_blob(&session.name, &sha256(CONTENT)), Ok(true));
    assert_eq!(session.finish(&store, CONTENT), Err(UNKNOWN));
    assert_eq!(pull(&store, &session.name, &sha256(CONTENT)), None);
}

#[test]
fn a_killed_request_is_not_answered_by_wrong_bytes_of_others() {
    let home = directory();
    let store = open(home.path());
    let session = Session::begin(&store);
    drop(store);
    session.is_renamed(home.path());
    fs::remove_file(blob_path(home.path(), &sha256(CONTENT))).unwrap();
    let store = open(home.path());
    push(&store, &repo("other"), CONTENT);
    fs::write(blob_path(home.path(), &sha256(CONTENT)), "conteNt").unwrap();
    assert_eq!(session.finish(&store, CONTENT), Err(UNKNOWN));
    assert_eq!(store.blob_size(&session.name, &sha256(CONTENT)), Ok(None));
}

#[test]
fn the_bytes_of_a_killed_request_go_back_to_it_and_to_nobody_who_pushed_them_before() {
    type Ask = fn(&Session, &Store);
    let asks: [Ask; 2] = [
        |_, store| assert_eq!(store.expire_uploads(WEEK), Ok(0)),
        |session, store| assert_eq!(session.offset(store), Ok(7)),
    ];
    for (number, ask) in asks.into_iter().enumerate() {
        let home = directory();
        let store = open(home.path());
        let before: Vec<Session> = (0..20).map(|_| Session::finished(&store)).collect();
        store.delete_blob(&repo("a/b"), &sha256(CONTENT)).unwrap();
        collect(&store, WEEK);
        assert!(files(home.path(), "blobs").is_empty());
        let session = Session::begin_as(&store, "c", "other");
        drop(store);
        session.is_renamed(home.path());
        let store = open(home.path());
        for old in &before {
            assert_eq!(old.offset(&store), Err(UNKNOWN), "{number}");
        }
        ask(&session, &store);
        assert_eq!(open_files(home.path()), [session.file(home.path())], "{number}");
        assert_eq!(session.finish(&store, CONTENT), Ok(true), "{number}");
        for old in &before {
            assert_eq!(old.finish(&store, CONTENT), Err(UNKNOWN), "{number}");
        }
    }
}

#[test]
fn a_kill_before_a_lost_blob_is_found_again_costs_nothing() {
    let home = directory();
    let store = open(home.path());
    let digest = push(&store, &repo("a/b"), CONTENT);
    fs::write(blob_path(home.path(), &digest), "conteNt").unwrap();
    let how = storage::Verification { bytes_per_second: None, is_dry_run: false };
    store.verify(&how, &mut |_| ControlFlow::Continue(())).unwrap();
    let session = Session::begin(&store);
    drop(store);
    session.is_renamed(home.path());
    let store = open(home.path());
    assert_eq!(store.blob_size(&session.name, &digest), Ok(None), "it is still called lost");
    assert_eq!(session.offset(&store), Err(UNKNOWN));
    assert_eq!(session.finish(&store, CONTENT), Ok(false));
    assert_eq!(pull(&store, &session.name, &digest).unwrap(), CONTENT);
    // Wrong bytes in its place are not what the session became.
    fs::write(blob_path(home.path(), &digest), "conteNt").unwrap();
    store.verify(&how, &mut |_| ControlFlow::Continue(())).unwrap();
    fs::write(blob_path(home.path(), &digest), "conteNt").unwrap();
    assert_eq!(session.finish(&store, CONTENT), Err(UNKNOWN));
    assert_eq!(store.blob_size(&session.name, &digest), Ok(None));
}

#[test]
fn a_session_that_is_given_back_torn_bytes_becomes_no_blob() {
    let home = directory();
    let store = open(home.path());
    let session = Session::begin(&store);
    drop(store);
    session.is_renamed(home.path());
    fs::write(blob_path(home.path(), &sha256(CONTENT)), "cont\0\0\0").unwrap();
    let store = open(home.path());
    let mismatch = session.finish(&store, CONTENT);
    assert!(matches!(mismatch, Err(StorageError::DigestMismatch { .. })), "{mismatch:?}");
    assert_eq!(session.finish(&store, CONTENT), Err(UNKNOWN));
    assert!(files(home.path(), "blobs").is_empty() && files(home.path(), "uploads").is_empty());
}

#[test]
fn of_requests_that_end_one_session_at_once_none_hears_of_trouble() {
    let home = directory();
    let store = open(home.path());
    for _ in 0..20 {
        let session = Session::begin(&store);
        std::thread::scope(|scope| {
            let asking: Vec<_> =
                (0..4).map(|_| scope.spawn(|| session.finish(&store, CONTENT))).collect();
            for asking in asking {
                // One that had begun may have lost the session to a later one.
                let answer = asking.join().unwrap();
                let is_bearable = matches!(answer, Ok(_) | Err(StorageError::UploadTaken));
                assert!(is_bearable || answer == Err(UNKNOWN), "{answer:?}");
            }
        });
        assert_eq!(session.finish(&store, CONTENT), Ok(false));
        assert_eq!(pull(&store, &session.name, &sha256(CONTENT)).unwrap(), CONTENT);
    }
}
