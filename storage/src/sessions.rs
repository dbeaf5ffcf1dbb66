//! All open upload sessions: finding them, bounding them and letting them expire.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

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

/// The sessions this process knows. Those of an earlier process come in when they are asked for,
/// or when the sweep meets them.
pub(crate) struct Sessions {
    layout: Layout,
    limit_per_user: usize,
    open: Mutex<HashMap<UploadId, Arc<Session>>>,
}

impl Sessions {
    pub(crate) fn new(layout: Layout, limit_per_user: usize) -> Self {
        Self { layout, limit_per_user, open: Mutex::new(HashMap::new()) }
    }

    /// Begins a session. At the limit, the one of this user that was idle longest ends for it.
    pub(crate) fn create(
        &self,
        repository: &RepoName,
        user: &UserName,
        algorithm: Algorithm,
    ) -> Result<UploadId, StorageError> {
        let session = Session::create(&self.layout, repository, user, algorithm)?;
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

    /// Ends every session that nobody used for `idle`, and makes known those that an earlier
    /// process left. Returns what ended, or in a dry run what would.
    pub(crate) fn sweep(&self, idle: Duration, is_dry_run: bool) -> Result<Ended, StorageError> {
        // Each has two files, which a dry run both meets.
        let (mut ended, mut bytes) = (HashSet::new(), 0);
        let uploads = self.layout.uploads();
        for entry in fs::read_dir(&uploads).at("list", &uploads)? {
            let entry = entry.at("list", &uploads)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let Ok(id) = name.trim_end_matches(".meta").parse::<UploadId>() else { continue };
            let Ok(metadata) = entry.metadata() else { continue };
            let age =
                metadata.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
            let held = fs::metadata(self.layout.upload(id)).map_or(0, |file| file.len());
            let file_is_old = age.is_some_and(|age| age >= idle);
            match self.load(id) {
                Some(session)
                    if file_is_old
                        && session.last_used().elapsed() >= idle
                        && (is_dry_run || self.cancel(&session)) =>
                {
                    bytes += if ended.insert(id) { held } else { 0 };
                }
                None if file_is_old => {
                    if !is_dry_run {
                        remove_files(&self.layout, id);
                    }
                    bytes += if ended.insert(id) { held } else { 0 };
                }
                _ => {}
            }
        }
        // A session that a failing disk ended has no files that the walk could meet.
        self.lock().retain(|_, session| !session.is_over());
        Ok(Ended { sessions: ended.len() as u64, bytes })
    }

    fn load(&self, id: UploadId) -> Option<Arc<Session>> {
        // Locked while the two files are looked at: one session must never become two.
        let mut open = self.lock();
        if let Some(session) = open.get(&id) {
            return Some(Arc::clone(session));
        }
        let recovered = Arc::new(Session::recover(&self.layout, id)?);
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
