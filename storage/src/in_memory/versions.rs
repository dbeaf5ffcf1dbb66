//! Which manifests may be answered otherwise since when, so that what was read once can be answered
//! again without a look into the database.
//!
//! Every commit that can change an answer has a number here, and each repository the number of the
//! last one that touched it. Places for these are fewer than repositories may be: what touches one
//! of those that share a place touches all of them. What is lost concerns every repository.
//!
//! The argument that an answer out of memory is the one that the database would give at the moment
//! at which [`Versions::holds`] says so. Whoever reads takes the number of the last commit before
//! the database is read ([`Versions::now`]). The writer makes the place of what it is about to
//! commit unanswerable before the commit, and gives it the number of the commit only after that
//! ([`Versions::change`]), whether it succeeded or not.
//!
//! - A commit that ended before the number was taken was seen by the read that followed.
//! - One that ended later has a greater number, at the place of what it touched, so what was read
//!   before it does not hold.
//! - While one is under way, whoever reads may see the state before it or after it. But nothing of
//!   its repositories holds meanwhile, so nobody hears an older state out of memory after somebody
//!   else has read the newer one.
//!
//! The callers of the writes of a commit are answered after it has its number: an answer that comes
//! after theirs is the new one.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::db::key::RepoId;

/// The numbers of the last commits. It knows nothing of what was read.
#[derive(Debug)]
pub(crate) struct Versions {
    /// The number of the last commit that changed anything.
    last: AtomicU64,
    /// That of the last one that touched all repositories.
    of_all: AtomicU64,
    /// The same of the repositories that share a place.
    of_some: Box<[AtomicU64; PLACES]>,
}

/// Which commits a read has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u64);

impl Versions {
    /// No commit was seen yet.
    pub(crate) fn new() -> Self {
        let of_some = Box::new([const { AtomicU64::new(0) }; PLACES]);
        Self { last: AtomicU64::new(0), of_all: AtomicU64::new(0), of_some }
    }

    /// Which commits a read will have seen that begins now.
    pub(crate) fn now(&self) -> Version {
        Version(self.last.load(Ordering::SeqCst))
    }

    /// Whether what was read of a repository is what would be read now.
    pub(crate) fn holds(&self, read: Version, repository: RepoId) -> bool {
        let is_older = |touched: &AtomicU64| touched.load(Ordering::SeqCst) <= read.0;
        is_older(&self.of_some[place(repository)]) && is_older(&self.of_all)
    }

    /// Lets nothing hold of what a commit is about to change, until the value that is returned is
    /// dropped: after the commit, and before anybody hears of it. One thread commits.
    pub(crate) fn change(&self, touched: Touched) -> Changing<'_> {
        let changing = Changing { versions: self, touched };
        changing.set(UNDER_WAY);
        changing
    }
}

/// A commit that is under way.
#[derive(Debug)]
pub(crate) struct Changing<'a> {
    versions: &'a Versions,
    touched: Touched,
}

impl Changing<'_> {
    fn set(&self, number: u64) {
        let Touched { is_all, places } = &self.touched;
        if *is_all {
            self.versions.of_all.store(number, Ordering::SeqCst);
        }
        for (word, bits) in places.iter().enumerate().filter(|(_, bits)| **bits != 0) {
            for bit in (0..WORD_BITS).filter(|bit| bits & (1 << bit) != 0) {
                self.versions.of_some[word * WORD_BITS + bit].store(number, Ordering::SeqCst);
            }
        }
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        if self.touched != Touched::default() {
            // First the number that reads take, so that none takes one that is older than this
            // commit and holds.
            let number = self.versions.last.fetch_add(1, Ordering::SeqCst) + 1;
            self.set(number);
        }
    }
}

/// What a commit touches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    is_all: bool,
    places: [u64; PLACES / WORD_BITS],
}

impl Touched {
    /// A repository.
    pub(crate) fn add(&mut self, repository: RepoId) {
        let place = place(repository);
        self.places[place / WORD_BITS] |= 1 << (place % WORD_BITS);
    }

    /// All repositories.
    pub(crate) fn add_all(&mut self) {
        self.is_all = true;
    }
}

/// Numbers of repositories follow each other.
fn place(repository: RepoId) -> usize {
    usize::try_from(repository.number().rem_euclid(PLACES as i64)).unwrap_or_default()
}

/// Places of repositories.
const PLACES: usize = 1024;
/// Bits of a word.
const WORD_BITS: usize = u64::BITS as usize;
/// Greater than any number of a commit.
const UNDER_WAY: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(repositories: &[i64]) -> Touched {
        let mut touched = Touched::default();
        repositories.iter().for_each(|repository| touched.add(RepoId::kept(*repository)));
        touched
    }

    fn holds(versions: &Versions, read: Version, repository: i64) -> bool {
        versions.holds(read, RepoId::kept(repository))
    }

    #[test]
    fn a_commit_ends_what_was_read_before_it_and_nothing_of_others() {
        let versions = Versions::new();
        let read = versions.now();
        drop(versions.change(Touched::default()));
        assert_eq!(versions.now(), read, "nothing was touched");
        drop(versions.change(touched(&[1, 3, -1])));
        let hold = |read| [1, 2, 3, -1, 4].map(|one| holds(&versions, read, one));
        assert_eq!(hold(read), [false, true, false, false, true]);
        assert_eq!(hold(versions.now()), [true; 5]);
        let read = versions.now();
        let mut all = Touched::default();
        all.add_all();
        drop(versions.change(all));
        assert_eq!(hold(read), [false; 5]);
        assert_eq!(hold(versions.now()), [true; 5]);
    }

    #[test]
    fn nothing_holds_while_a_commit_is_under_way() {
        let versions = Versions::new();
        let before = versions.now();
        let changing = versions.change(touched(&[1]));
        // It may see the commit or not.
        let meanwhile = versions.now();
        assert_eq!([before, meanwhile].map(|read| holds(&versions, read, 1)), [false; 2]);
        assert!(holds(&versions, before, 2));
        drop(changing);
        assert_eq!([before, meanwhile].map(|read| holds(&versions, read, 1)), [false; 2]);
        assert!(holds(&versions, versions.now(), 1));
    }

    #[test]
    fn those_that_share_a_place_are_touched_together() {
        let versions = Versions::new();
        let read = versions.now();
        drop(versions.change(touched(&[1 + PLACES as i64])));
        assert!(!holds(&versions, read, 1) && holds(&versions, read, 2));
    }
}
