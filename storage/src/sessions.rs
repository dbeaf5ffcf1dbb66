//! All open upload sessions: finding them, bounding them and letting them expire.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::digest::Algorithm;
use crate::error::{IoContext, StorageError};
use crate::layout::Layout;
use crate::name::{RepoName, UploadId, UserName};
use crate::upload::{Session, remove_files};

/// What a sweep ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// How many sessions.
    pub(crate) sessions: u64,
    /// The bytes that had come for them.
    pub(crate) bytes: u64,
}

impl Ended {
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
    layout: Layout,
    limit_per_user: usize,
    clock: Arc<Clock>,
    open: Mutex<HashMap<UploadId, Arc<Session>>>,
}

impl Sessions {
    pub(crate) fn new(layout: Layout, limit_per_user: usize, clock: Arc<Clock>) -> Self {
        Self { layout, limit_per_user, clock, open: Mutex::new(HashMap::new()) }
    }

    /// Begins a session. At the limit, the one of this user that was idle longest ends for it.
    pub(crate) fn create(
        &self,
        repository: &RepoName,
        user: &UserName,
        algorithm: Algorithm,
    ) -> Result<UploadId, StorageError> {
        let session = Session::create(&self.layout, repository, user, algorithm, &self.clock)?;
        let id = session.id;
        self.lock().insert(id, Arc::new(session));
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
        user: &UserName,
        id: UploadId,
    ) -> Result<Arc<Session>, StorageError> {
        let session = self.load(id).ok_or(StorageError::UploadUnknown)?;
        if session.repository == *repository && session.user == *user {
            Ok(session)
        } else {
            Err(StorageError::UploadUnknown)
        }
    }

    /// Forgets a session that is over.
    pub(crate) fn forget(&self, id: UploadId) {
        self.lock().remove(&id);
    }

    /// Ends the session and removes its files; false if it was over already.
    ///
    /// It is forgotten only when it is over: as long as its files are there, a request must find
    /// this session and not recover another one that writes to the same file.
    pub(crate) fn cancel(&self, session: &Session) -> bool {
        let was_open = session.cancel(&self.layout);
        self.forget(session.id);
        was_open
    }

    /// How many sessions are open, as far as this process knows.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Whether there is a file of a session, and no session.
    pub(crate) fn is_half(&self, id: UploadId) -> bool {
        let files = [self.layout.upload(id), self.layout.upload_meta(id)];
        files.iter().any(|path| path.exists()) && self.load(id).is_none()
    }

    /// Ends every session that nobody used for `idle`, and makes known those that an earlier
    /// process left. What is left of a session that a crash tore goes as `may_go` says, which is
    /// asked of all of them. Returns what ended, or in a dry run what would.
    pub(crate) fn sweep(
        &self,
        idle: Duration,
        is_dry_run: bool,
        may_go: MayGo<'_>,
    ) -> Result<Ended, StorageError> {
        let (mut ended, mut halves) = (Ended::default(), Vec::new());
        for id in self.listed()? {
            let held = self.bytes(id);
            match self.load(id) {
                Some(session) if session.last_used().elapsed() < idle => {}
                Some(session) if is_dry_run || self.cancel(&session) => ended.add(held),
                Some(_) => {}
                None => halves.push(id),
            }
        }
        for (&id, _) in halves.iter().zip(may_go(&halves)?).filter(|(_, may_go)| *may_go) {
            // By now its other file may be there.
            if !self.is_half(id) {
                continue;
            }
            ended.add(self.bytes(id));
            if !is_dry_run {
                remove_files(&self.layout, id);
            }
        }
        // A session that a failing disk ended has no files that the walk could meet.
        self.lock().retain(|_, session| !session.is_over());
        Ok(ended)
    }

    /// The sessions of which there is a file.
    fn listed(&self) -> Result<HashSet<UploadId>, StorageError> {
        let uploads = self.layout.uploads();
        let mut listed = HashSet::new();
        for entry in fs::read_dir(&uploads).at("list", &uploads)? {
            let name = entry.at("list", &uploads)?.file_name();
            listed.extend(name.to_string_lossy().trim_end_matches(".meta").parse::<UploadId>());
        }
        Ok(listed)
    }

    /// How many bytes came for a session.
    fn bytes(&self, id: UploadId) -> u64 {
        fs::metadata(self.layout.upload(id)).map_or(0, |file| file.len())
    }

    fn load(&self, id: UploadId) -> Option<Arc<Session>> {
        // Locked while the two files are looked at: one session must never become two.
        let mut open = self.lock();
        if let Some(session) = open.get(&id) {
            return Some(Arc::clone(session));
        }
        let recovered = Arc::new(Session::recover(&self.layout, id, &self.clock)?);
        open.insert(id, Arc::clone(&recovered));
        Some(recovered)
    }

    fn longest_idle_beyond_limit(&self, user: &UserName, newest: UploadId) -> Option<Arc<Session>> {
        let open = self.lock();
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

    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Arc<Session>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
