//! What only the inside of the sessions shows: that one is never two, and that asking for one
//! waits for no disk.

use std::fs;
use std::sync::mpsc;

use super::*;
use crate::account::UserId;
use crate::layout::Layout;
use crate::space::Space;

fn sessions(limit: usize) -> (tempfile::TempDir, Sessions) {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::new(directory.path());
    layout.make_directories().unwrap();
    (directory, Sessions::new(Content::new(&layout), limit, Arc::new(Clock::from(1))))
}

fn names() -> (RepoName, Account) {
    let user = Account { name: "owner".parse().unwrap(), id: UserId::default() };
    ("a".parse().unwrap(), user)
}

/// Asks many times, while another thread ends the session, that it is this one or none.
fn assert_never_two(sessions: &Sessions, session: &Arc<Session>, end: impl FnOnce() + Send) {
    let (name, user) = names();
    let (started, has_started) = mpsc::channel();
    std::thread::scope(|scope| {
        // The disk works for the session, so whoever ends it has to wait.
        let busy = session.lock_for_test();
        let ending = scope.spawn(move || {
            started.send(()).unwrap();
            end();
        });
        has_started.recv().unwrap();
        for _ in 0..1000 {
            let found = sessions.find(&name, &user, session.id).unwrap().open().unwrap();
            assert!(Arc::ptr_eq(&found, session), "two sessions write to one file");
            std::thread::yield_now();
        }
        assert!(!ending.is_finished());
        drop(busy);
        ending.join().unwrap();
        let found = sessions.find(&name, &user, session.id);
        assert_eq!(found.err(), Some(StorageError::UploadUnknown));
    });
}

#[test]
fn a_session_that_is_cancelled_while_it_is_busy_is_never_two() {
    let (_directory, sessions) = sessions(10);
    let (name, user) = names();
    let id = sessions.create(&name, &user, Algorithm::Sha256).unwrap();
    let session = sessions.find(&name, &user, id).unwrap().open().unwrap();
    assert_never_two(&sessions, &session, || assert!(sessions.cancel(&session)));
}

#[test]
fn a_session_that_ends_for_another_while_it_is_busy_is_never_two() {
    let (_directory, sessions) = sessions(1);
    let (name, user) = names();
    let id = sessions.create(&name, &user, Algorithm::Sha256).unwrap();
    let session = sessions.find(&name, &user, id).unwrap().open().unwrap();
    let end = || drop(sessions.create(&name, &user, Algorithm::Sha256).unwrap().to_string());
    // Being asked for makes a session the one used last, but it is the only other one.
    assert_never_two(&sessions, &session, end);
    assert_eq!(sessions.count(), 1);
}

#[test]
fn asking_for_a_session_waits_for_no_disk() {
    let (_directory, sessions) = sessions(10);
    let (name, user) = names();
    let id = sessions.create(&name, &user, Algorithm::Sha256).unwrap();
    let session = sessions.find(&name, &user, id).unwrap().open().unwrap();
    let (answer, answered) = mpsc::channel();
    std::thread::scope(|scope| {
        let busy = session.lock_for_test();
        scope.spawn(|| {
            let found = sessions.find(&name, &user, id).unwrap().open().unwrap();
            answer.send(found.offset()).unwrap();
        });
        // Long only for a failure; it is answered at once.
        let offset = answered.recv_timeout(Duration::from_secs(60));
        drop(busy);
        assert_eq!(offset, Ok(Ok(0)));
    });
}

#[test]
fn a_session_that_the_disk_ended_is_not_kept_for_ever() {
    let (directory, sessions) = sessions(10);
    let (name, user) = names();
    let id = sessions.create(&name, &user, Algorithm::Sha256).unwrap();
    let session = sessions.find(&name, &user, id).unwrap().open().unwrap();
    let layout = Layout::new(directory.path());
    let space = Arc::new(Space::new(&layout, 0));
    let writer = Content::new(&layout).open_upload(session, &space).unwrap();
    let digest = oci::Digest::of(Algorithm::Sha256, b"");
    let fail = |left| {
        let outcome = Err(Unpublished { error: StorageError::Full, left });
        sessions.conclude(writer.check_digest(&digest).unwrap(), &outcome);
        outcome.map_err(|unpublished| unpublished.error)
    };
    // A commit that leaves the bytes as they were can be tried again.
    assert_eq!(fail(UploadRemains::Intact), Err(StorageError::Full));
    assert_eq!(writer.offset(), Ok(0));
    // One that does not ends the session; its files go at once.
    assert_eq!(fail(UploadRemains::Nothing), Err(StorageError::Full));
    assert_eq!(fs::read_dir(layout.uploads()).unwrap().count(), 0);
    assert_eq!(
        sessions.sweep(Duration::from_secs(3600), false, &|_| Ok(Vec::new())),
        Ok(SweptUploads::default())
    );
    assert_eq!(sessions.count(), 0);
}
