//! Sessions that are finished, of each user the latest: whoever did not hear that the last request
//! succeeded sends it again.

use std::collections::{HashMap, VecDeque};

use crate::name::{UploadId, UserName};
use crate::upload::Finished;

/// The finished sessions that are remembered. Each has a `.meta` file, so that it is remembered
/// over a restart too.
#[derive(Debug, Default)]
pub(super) struct FinishedSessions {
    all: HashMap<UploadId, Finished>,
    /// Of each user, the oldest first.
    by_user: HashMap<UserName, VecDeque<UploadId>>,
}

impl FinishedSessions {
    /// Remembers one that has just ended; returns those that are forgotten for it.
    #[must_use = "their files are to be removed"]
    pub(super) fn add(&mut self, id: UploadId, finished: Finished) -> Vec<UploadId> {
        // It may have been met amid its end.
        self.remove(id);
        let of_user = self.by_user.entry(finished.user.clone()).or_default();
        of_user.push_back(id);
        let forgotten = excess(of_user);
        self.all.insert(id, finished);
        forgotten.iter().for_each(|id| drop(self.all.remove(id)));
        forgotten
    }

    /// Forgets the oldest of each user who has too many of them; returns which.
    #[must_use = "their files are to be removed"]
    pub(super) fn trim(&mut self) -> Vec<UploadId> {
        let forgotten: Vec<UploadId> = self.by_user.values_mut().flat_map(excess).collect();
        forgotten.iter().for_each(|id| drop(self.all.remove(id)));
        forgotten
    }

    /// Remembers one of an earlier process, which is older than all of this one.
    pub(super) fn add_old(&mut self, id: UploadId, finished: Finished) {
        self.by_user.entry(finished.user.clone()).or_default().push_front(id);
        self.all.insert(id, finished);
    }

    pub(super) fn get(&self, id: UploadId) -> Option<&Finished> {
        self.all.get(&id)
    }

    /// Forgets one; false if it was not remembered.
    pub(super) fn remove(&mut self, id: UploadId) -> bool {
        let Some(finished) = self.all.remove(&id) else { return false };
        if let Some(of_user) = self.by_user.get_mut(&finished.user) {
            of_user.retain(|own| *own != id);
            if of_user.is_empty() {
                self.by_user.remove(&finished.user);
            }
        }
        true
    }

    pub(super) fn ids(&self) -> Vec<UploadId> {
        self.all.keys().copied().collect()
    }
}

/// Takes off the oldest that are too many.
fn excess(of_user: &mut VecDeque<UploadId>) -> Vec<UploadId> {
    let excess = of_user.len().saturating_sub(FINISHED_UPLOADS_PER_USER);
    of_user.drain(..excess).collect()
}

/// Finished sessions of one user that are remembered: many more than one user's clients end in the
/// seconds in which an answer that was lost is asked for again.
pub(super) const FINISHED_UPLOADS_PER_USER: usize = 256;
