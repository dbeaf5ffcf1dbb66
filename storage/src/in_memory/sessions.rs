//! All upload sessions: finding them, bounding them and letting them expire.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oci::{Algorithm, RepoName};

use crate::account::Account;
use crate::clock::Clock;
use crate::content::upload::{CheckedUpload, FinishedUpload, Recovered, Session, UploadId};
use crate::content::{Content, SizedDigest, Unpublished, UploadRemains};
use crate::error::StorageError;

mod finished;

use finished::FinishedSessions;

/// What a sweep ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SweptUploads {
    /// How many sessions.
    pub(crate) sessions: u64,
    /// The bytes that had come for them.
    pub(crate) bytes: u64,
}

impl SweptUploads {
    fn add(&mut self, bytes: u64) {
        self.sessions += 1;
        self.bytes += bytes;
    }
}

/// Says which of these, of which there are files and no session, may go.
pub(crate) type MayGo<'a> = &'a dyn Fn(&[UploadId]) -> Result<Vec<bool>, StorageError>;

/// The sessions this process knows. Those of an earlier process come in when they are asked for,
/// or when the sweep meets them.
pub(crate) struct Sessions {
    content: Content,
    limit_per_user: usize,
    table: Mutex<Table>,
    clock: Arc<Clock>,
}

#[derive(Default)]
struct Table {
    open: HashMap<UploadId, Arc<Session>>,
    finished: FinishedSessions,
}

/// A session as this process knows it.
#[derive(Debug)]
pub(crate) enum KnownSession {
    /// It is open.
    Open(Arc<Session>),
    /// Its bytes became a blob, or an earlier process died when they were about to.
    Finished(FinishedUpload),
}

impl KnownSession {
    /// The session, if it is open.
    pub(crate) fn open(self) -> Option<Arc<Session>> {
        match self {
            Self::Open(session) => Some(session),
            Self::Finished(_) => None,
        }
    }
}

impl Sessions {
    pub(crate) fn new(content: Content, limit_per_user: usize, clock: Arc<Clock>) -> Self {
        Self { content, limit_per_user, table: Mutex::default(), clock }
    }

    /// Begins a session. At the limit, the one of this user that was idle longest ends for it.
    pub(crate) fn create(
        &self,
        repository: &RepoName,
        user: &Account,
        algorithm: Algorithm,
    ) -> Result<UploadId, StorageError> {
        let session = self.content.begin_upload(repository, user, algorithm, &self.clock)?;
        let id = session.id;
        self.lock().open.insert(id, Arc::new(session));
        // Counted with the new one in, so that sessions begun at once cannot pass the limit.
        while let Some(excess) = self.longest_idle_beyond_limit(user, id) {
            self.cancel(&excess);
        }
        Ok(id)
    }

    /// Finds a session of this user in this repository. Anybody else's is as unknown as none.
    pub(crate) fn find(
        &self,
        repository: &RepoName,
        user: &Account,
        id: UploadId,
    ) -> Result<KnownSession, StorageError> {
        let found = self.load(id).ok_or(StorageError::UploadUnknown)?;
        let is_theirs = match &found {
            KnownSession::Open(session) => {
                session.repository == *repository && session.user == *user
            }
            KnownSession::Finished(finished) => {
                finished.repository == *repository && finished.user == *user
            }
        };
        if is_theirs { Ok(found) } else { Err(StorageError::UploadUnknown) }
    }

    /// Forgets a session that is over.
    pub(crate) fn forget(&self, id: UploadId) {
        self.lock().open.remove(&id);
    }

    /// Ends the session of a checked upload as its publication did, unless that left the upload as
    /// it was.
    pub(crate) fn conclude(&self, upload: CheckedUpload<'_>, outcome: &Result<(), Unpublished>) {
        match outcome {
            Err(Unpublished { left: UploadRemains::Intact, .. }) => {}
            Err(Unpublished { left: UploadRemains::Nothing, .. }) => upload.abandon(),
            Ok(()) | Err(Unpublished { left: UploadRemains::Placed, .. }) => {
                let finished = upload.finish(outcome.is_ok());
                self.add_finished(upload.session().id, finished);
                upload.end();
            }
        }
    }

    fn add_finished(&self, id: UploadId, finished: FinishedUpload) {
        let forgotten = {
            let mut table = self.lock();
            table.open.remove(&id);
            table.finished.add(id, finished)
        };
        for id in forgotten {
            self.content.remove_upload(id);
        }
    }

    /// Forgets the oldest finished sessions of each user who has too many of them, which those of
    /// an earlier process may bring about.
    pub(crate) fn trim_finished(&self) {
        let forgotten = self.lock().finished.trim();
        for id in forgotten {
            self.content.remove_upload(id);
        }
    }

    /// Forgets a finished session and what was noted of it.
    pub(crate) fn forget_finished(&self, id: UploadId) {
        if self.lock().finished.remove(id) {
            self.content.remove_upload(id);
        }
    }

    /// Makes known what an earlier process left.
    pub(crate) fn meet_all(&self) -> Result<(), StorageError> {
        for id in self.content.uploads()? {
            self.load(id);
        }
        Ok(())
    }

    /// The sessions without bytes of which nobody has heard that they became a blob, with that
    /// blob: of each blob the one that was to become it last, as far as they are known.
    pub(crate) fn unpublished(&self) -> HashMap<SizedDigest, UploadId> {
        self.lock().finished.unpublished()
    }

    /// Remembers of a session that it has become its blob.
    pub(crate) fn note_published(&self, id: UploadId) {
        if self.lock().finished.note_published(id) {
            self.content.note_published(id);
        }
    }

    /// Gives a finished session its bytes back from the file of the blob, which no row names, so
    /// that it is open again; false if there are none. The caller holds the claim on the blob, and
    /// has the session from [`Sessions::unpublished`].
    ///
    /// Crash argument: no row names the file, so nobody reads it and nobody else relies on it; and
    /// it gets another name, never a second one. A crash leaves it under either, and under both
    /// it is the session's. Whose it is: sessions that became the blob once, and were told so, have
    /// no claim to it, since it came after them. Of the others it belongs to the one that noted
    /// last what it becomes: before a commit puts a file in the place of another that no row names,
    /// that one goes back to its session, so two of them wait for one file only where an earlier
    /// program wrote their notes.
    pub(crate) fn put_back(&self, id: UploadId) -> bool {
        let mut table = self.lock();
        let Some(finished) = table.finished.get(id) else { return table.open.contains_key(&id) };
        if !self.content.make_upload_again(&finished.blob.digest, id) {
            return false;
        }
        table.finished.remove(id);
        table.recover(&self.content, &self.clock, id).is_some()
    }

    /// Ends the session and removes its files; false if it was over already.
    ///
    /// It is forgotten only when it is over: as long as its files are there, a request must find
    /// this session and not recover another one that writes to the same file.
    pub(crate) fn cancel(&self, session: &Session) -> bool {
        let was_open = self.content.cancel_upload(session);
        self.forget(session.id);
        was_open
    }

    /// Ends every session of a user, of an earlier process too, and forgets the finished ones.
    pub(crate) fn end_all_of(&self, user: &Account) -> Result<(), StorageError> {
        for id in self.content.uploads()? {
            match self.load(id) {
                Some(KnownSession::Open(session)) if session.user == *user => {
                    self.cancel(&session);
                }
                Some(KnownSession::Finished(_)) if self.is_finished_of(id, user) => {
                    self.forget_finished(id);
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// How many sessions are open, as far as this process knows.
    pub(crate) fn count(&self) -> usize {
        self.lock().open.len()
    }

    /// Whether there is a file of a session, and no session.
    pub(crate) fn is_half(&self, id: UploadId) -> bool {
        self.content.has_upload(id) && self.load(id).is_none()
    }

    /// Ends every session that nobody used for `idle`, and makes known those that an earlier
    /// process left. What is left of a session that a crash tore goes as `may_go` says, which is
    /// asked of all of them. Returns what ended, or in a dry run what would.
    pub(crate) fn sweep(
        &self,
        idle: Duration,
        is_dry_run: bool,
        may_go: MayGo<'_>,
    ) -> Result<SweptUploads, StorageError> {
        let (mut ended, mut halves) = (SweptUploads::default(), Vec::new());
        for id in self.content.uploads()? {
            let held = self.content.upload_bytes(id);
            match self.load(id) {
                Some(KnownSession::Open(session)) if session.last_used().elapsed() < idle => {}
                Some(KnownSession::Open(session)) if is_dry_run || self.cancel(&session) => {
                    ended.add(held);
                }
                Some(KnownSession::Open(_)) => {}
                // Nothing of it was open, so nothing ends.
                Some(KnownSession::Finished(_)) => {
                    if !is_dry_run && self.is_finished_for(id, idle) {
                        self.forget_finished(id);
                    }
                }
                None => halves.push(id),
            }
        }
        for (&id, _) in halves.iter().zip(may_go(&halves)?).filter(|(_, may_go)| *may_go) {
            // By now its other file may be there.
            if !self.is_half(id) {
                continue;
            }
            ended.add(self.content.upload_bytes(id));
            if !is_dry_run {
                self.content.remove_upload(id);
            }
        }
        // A session that a failing disk ended has no files that the walk could meet.
        self.lock().open.retain(|_, session| !session.is_over());
        Ok(ended)
    }

    fn load(&self, id: UploadId) -> Option<KnownSession> {
        // Locked while the two files are looked at: one session must never become two.
        self.lock().recover(&self.content, &self.clock, id)
    }

    fn is_finished_for(&self, id: UploadId, idle: Duration) -> bool {
        self.lock().finished.get(id).is_some_and(|finished| finished.since.elapsed() >= idle)
    }

    fn is_finished_of(&self, id: UploadId, user: &Account) -> bool {
        self.lock().finished.get(id).is_some_and(|finished| finished.user == *user)
    }

    fn longest_idle_beyond_limit(&self, user: &Account, newest: UploadId) -> Option<Arc<Session>> {
        let table = self.lock();
        let open = &table.open;
        if open.len() <= self.limit_per_user {
            return None;
        }
        let own: Vec<_> = open.values().filter(|session| session.user == *user).collect();
        if own.len() <= self.limit_per_user {
            return None;
        }
        let others = own.into_iter().filter(|session| session.id != newest);
        others.min_by_key(|session| session.last_used()).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Finds a session, of an earlier process too.
    fn recover(
        &mut self,
        content: &Content,
        clock: &Arc<Clock>,
        id: UploadId,
    ) -> Option<KnownSession> {
        if let Some(session) = self.open.get(&id) {
            return Some(KnownSession::Open(Arc::clone(session)));
        }
        if let Some(finished) = self.finished.get(id) {
            return Some(KnownSession::Finished(finished.clone()));
        }
        Some(match content.recover_upload(id, clock)? {
            Recovered::Open(session) => {
                self.open.insert(id, Arc::clone(&session));
                KnownSession::Open(session)
            }
            Recovered::Finished(finished) => {
                self.finished.add_old(id, finished.clone());
                KnownSession::Finished(finished)
            }
        })
    }
}

#[cfg(test)]
mod tests;
