//! Open files: a process may have so many, each connection and each file is one, and whatever asks
//! for one more fails. So no more is done at once than fits, however few there are.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tracing::warn;

use crate::limits::Limits;

/// There are too few to serve with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "this process may open {found} files at once, and the registry needs {MIN_DESCRIPTORS}: raise \
     LimitNOFILE in its unit, or `ulimit -n` in the shell"
)]
pub struct TooFewDescriptors {
    /// How many this process may open.
    pub found: u64,
}

/// Lets the process have as many open files as the system allows it, and says how many that is.
pub fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let now = match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            warn!(%error, "the limit of open files stays as it is");
            current
        }
    };
    // None is no limit.
    now.unwrap_or(u64::MAX)
}

impl Limits {
    /// These limits, made so small that all they allow at once fits into so many open files.
    ///
    /// # Errors
    /// [`TooFewDescriptors`] below [`MIN_DESCRIPTORS`].
    pub fn fit(self, descriptors: u64) -> Result<Self, TooFewDescriptors> {
        if descriptors < MIN_DESCRIPTORS {
            return Err(TooFewDescriptors { found: descriptors });
        }
        let spare = usize::try_from(descriptors - OWN).unwrap_or(usize::MAX);
        let share = |most: usize, least: usize, part: usize| (spare / part).max(least).min(most);
        let fitting = Self {
            reads: share(self.reads, LEAST_READS, THREADS_SHARE),
            writes: share(self.writes, 1, THREADS_SHARE),
            commits: share(self.commits, 1, THREADS_SHARE),
            heavy: share(self.heavy, 1, THREADS_SHARE),
            longs: share(self.longs, 1, LONGS_SHARE),
            waiting_connections: share(self.waiting_connections, 1, WAITING_SHARE),
            ..self.clone()
        };
        let threads = fitting.database_readers().saturating_mul(OF_A_THREAD);
        let rest = spare.saturating_sub(threads.saturating_add(fitting.waiting_connections));
        let connections = self.connections.min(rest / OF_A_CONNECTION);
        if connections < self.connections {
            let Self { reads, writes, .. } = fitting;
            warn!(descriptors, connections, reads, writes, "few open files: less is done at once");
        }
        Ok(Self { connections, ..fitting })
    }
}

/// The fewest open files with which a server starts.
pub const MIN_DESCRIPTORS: u64 = 68;
/// What a server has open by itself: the database, its listeners and sockets, the log, the event
/// loop, commands; and what connections that were just closed have not given back yet.
const OWN: u64 = 28;
/// A thread that blocks on the disk has a connection to the database, which is its file and its
/// log, and opens a file and a directory at times.
const OF_A_THREAD: usize = 4;
/// A connection has its socket, and a file that it sends or fills, while the one before is closed.
const OF_A_CONNECTION: usize = 3;
/// Where there are few, one in so many goes to a thread for each of reads, writes, commits and what
/// is heavy.
const THREADS_SHARE: usize = 32;
/// The same for newcomers that wait for a place.
const WAITING_SHARE: usize = 24;
/// The same for upkeep.
const LONGS_SHARE: usize = 64;
/// The fewest threads for reads: one that waits is not all. Of those that write, one may wait for
/// a sync and another one commit an upload.
const LEAST_READS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// What these limits allow to be open at once.
    fn at_once(limits: &Limits) -> u64 {
        let threads = limits.database_readers() * OF_A_THREAD;
        let connections = limits.connections * OF_A_CONNECTION + limits.waiting_connections;
        OWN + (threads + connections) as u64
    }

    #[test]
    fn whatever_is_allowed_at_once_fits_from_the_fewest_on() {
        let all = Limits::default();
        for descriptors in (MIN_DESCRIPTORS..20_000).chain([65_536, 1 << 20, u64::MAX]) {
            let limits = all.clone().fit(descriptors).unwrap();
            assert!(at_once(&limits) <= descriptors, "{descriptors}");
            assert!(limits.connections >= 5 && limits.reads >= 2, "{descriptors}");
            assert!(limits.writes >= 1 && limits.commits >= 1, "{descriptors}");
            assert!(limits.heavy >= 1 && limits.longs >= 1, "{descriptors}");
        }
        let enough = all.clone().fit(at_once(&all)).unwrap();
        assert_eq!(at_once(&enough), at_once(&all), "with enough nothing is less");
        assert!(at_once(&all) < 16_384, "the unit allows more");
    }

    #[test]
    fn fewer_are_refused() {
        let refusal = Limits::default().fit(MIN_DESCRIPTORS - 1).map(drop);
        assert_eq!(refusal, Err(TooFewDescriptors { found: 67 }));
    }
}
