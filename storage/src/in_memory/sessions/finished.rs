//! Sessions that are finished, of each user the latest: whoever did not hear that the last request
//! succeeded sends it again.

use std::collections::{HashMap, VecDeque};

use crate::account::Account;
use crate::content::SizedDigest;
use crate::content::upload::{FinishedUpload, UploadId};

/// The finished sessions that are remembered. Each has a `.meta` file, so that it is remembered
/// over a restart too.
#[derive(Debug, Default)]
pub(super) struct FinishedSessions {
    all: HashMap<UploadId, FinishedUpload>,
    /// Of each user, the oldest first.
    by_user: HashMap<Account, VecDeque<UploadId>>,
}

impl FinishedSessions {
    /// Remembers one that has just ended; returns those that are forgotten for it.
    #[must_use = "their files are to be removed"]
    pub(super) fn add(&mut self, id: UploadId, finished: FinishedUpload) -> Vec<UploadId> {
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

    /// Remembers one of an earlier process, which is older than all of this one. Of those the
    /// latest count most too: the process may have died over the requests that ended them.
    pub(super) fn add_old(&mut self, id: UploadId, finished: FinishedUpload) {
        let of_user = self.by_user.entry(finished.user.clone()).or_default();
        let is_later = |other: &UploadId| {
            let noted = self.all.get(other).and_then(|other| other.noted);
            noted.is_none() || noted > finished.noted
        };
        let place = of_user.iter().position(is_later).unwrap_or(of_user.len());
        of_user.insert(place, id);
        self.all.insert(id, finished);
    }

    pub(super) fn get(&self, id: UploadId) -> Option<&FinishedUpload> {
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

    /// Those of which nobody has heard that they became a blob, of each blob the latest.
    pub(super) fn unpublished(&self) -> HashMap<SizedDigest, UploadId> {
        let all = self.all.iter().filter(|(_, finished)| !finished.is_published);
        let mut all: Vec<_> = all.collect();
        // The latest comes last and stays; those of this process are later than all others.
        all.sort_by_key(|(_, finished)| (finished.noted.is_none(), finished.noted, finished.since));
        all.into_iter().map(|(id, finished)| (finished.blob, *id)).collect()
    }

    /// Remembers of one that it became its blob; false if it is not remembered itself, or so
    /// already.
    pub(super) fn note_published(&mut self, id: UploadId) -> bool {
        let Some(finished) = self.all.get_mut(&id) else { return false };
        !std::mem::replace(&mut finished.is_published, true)
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use super::*;
    use crate::account::UserId;
    use oci::{Algorithm, Digest};

    fn finished(noted: Option<u64>, is_published: bool) -> FinishedUpload {
        FinishedUpload {
            repository: "a".parse().unwrap(),
            user: Account { name: "pusher".parse().unwrap(), id: UserId::default() },
            blob: SizedDigest { digest: Digest::of(Algorithm::Sha256, b""), size: 0 },
            is_published,
            since: Instant::now(),
            noted: noted.map(|noted| SystemTime::UNIX_EPOCH + Duration::from_secs(noted)),
        }
    }

    fn id() -> UploadId {
        UploadId::random().unwrap()
    }

    #[test]
    fn of_those_that_wait_for_one_blob_it_is_the_latest_and_nobody_who_heard_that_he_has_it() {
        let mut sessions = FinishedSessions::default();
        let [early, late, latest, own] = [(); 4].map(|()| id());
        let blob = finished(None, true).blob;
        sessions.add_old(latest, finished(Some(9), true));
        assert!(sessions.unpublished().is_empty());
        sessions.add_old(late, finished(Some(8), false));
        sessions.add_old(early, finished(Some(7), false));
        assert_eq!(sessions.unpublished(), HashMap::from([(blob, late)]));
        assert!(sessions.add(own, finished(None, false)).is_empty());
        assert_eq!(sessions.unpublished(), HashMap::from([(blob, own)]));
        assert!(sessions.note_published(own) && !sessions.note_published(own));
        assert!(sessions.note_published(late));
        assert_eq!(sessions.unpublished(), HashMap::from([(blob, early)]));
    }

    #[test]
    fn the_oldest_are_forgotten_and_those_of_an_earlier_process_before_all_others() {
        let mut sessions = FinishedSessions::default();
        let finished = |noted| finished(noted, true);
        let own = id();
        assert!(sessions.add(own, finished(None)).is_empty());
        let old: Vec<UploadId> = (0..FINISHED_UPLOADS_PER_USER).map(|_| id()).collect();
        // They are met in no order.
        for number in [2, 0, 1].into_iter().chain(3..old.len()) {
            sessions.add_old(old[number], finished(Some(number as u64)));
        }
        assert_eq!(sessions.trim(), [old[0]]);
        assert_eq!(sessions.trim(), []);
        assert_eq!(sessions.add(id(), finished(None)), [old[1]]);
        assert!(sessions.remove(old[3]));
        assert_eq!(sessions.add(id(), finished(None)), []);
        assert_eq!(sessions.add(id(), finished(None)), [old[2]]);
        assert!(sessions.get(own).is_some() && sessions.get(old[0]).is_none());
    }
}
