//! Lines that clients can bring about at will: so many a minute of each kind, and then one that
//! says how many were left out. Else whoever guesses passwords would fill the disk of the log, and
//! hide in it what others do.

use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::warn;

use crate::limits::Limits;

/// What such lines are about. Each kind has its own number of lines, so that none hides another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Kind {
    /// A login that failed.
    Login,
    /// A request that the user's role or a protected tag does not allow.
    Denied,
    /// A push for which the disk has no room, which is whatever a client says that it is going to
    /// send.
    Full,
    /// A request that failed inside.
    Failed,
    /// Content that was pushed, mounted or deleted.
    Changed,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Login, Self::Denied, Self::Full, Self::Failed, Self::Changed];

    fn plural(self) -> &'static str {
        match self {
            Self::Login => "logins that failed",
            Self::Denied => "requests that were denied",
            Self::Full => "pushes for which there was no room",
            Self::Failed => "requests that failed",
            Self::Changed => "content that was pushed, mounted or deleted",
        }
    }
}

/// How many lines of each kind there were in this minute.
#[derive(Debug)]
pub struct Quotas {
    refusals: usize,
    changes: usize,
    asked: [AtomicUsize; Kind::ALL.len()],
}

impl Quotas {
    /// Takes its bounds from the limits.
    pub fn new(limits: &Limits) -> Self {
        let Limits { refusal_lines_per_minute, change_lines_per_minute, .. } = *limits;
        Self {
            refusals: refusal_lines_per_minute,
            changes: change_lines_per_minute,
            asked: Default::default(),
        }
    }

    /// Whether there is room for one more line of this kind. One for which there is none is
    /// counted.
    pub fn may(&self, kind: Kind) -> bool {
        self.asked[kind as usize].fetch_add(1, Ordering::Relaxed) < self.most(kind)
    }

    /// Begins another minute, and says what was left out in the one that ends.
    pub fn renew(&self) {
        for (kind, left_out) in self.left_out() {
            warn!(left_out, "lines were left out of the log, about {}", kind.plural());
        }
    }

    fn left_out(&self) -> Vec<(Kind, usize)> {
        let left_out = |kind: Kind| {
            let asked = self.asked[kind as usize].swap(0, Ordering::Relaxed);
            (kind, asked.saturating_sub(self.most(kind)))
        };
        Kind::ALL.into_iter().map(left_out).filter(|(_, count)| *count > 0).collect()
    }

    fn most(&self, kind: Kind) -> usize {
        match kind {
            Kind::Changed | Kind::Failed => self.changes,
            Kind::Login | Kind::Denied | Kind::Full => self.refusals,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_lines_and_what_is_left_out_is_counted() {
        let limits = Limits { refusal_lines_per_minute: 2, ..Limits::default() };
        let quotas = Quotas::new(&limits);
        let asked: Vec<bool> = (0..5).map(|_| quotas.may(Kind::Login)).collect();
        assert_eq!(asked, [true, true, false, false, false]);
        assert!(quotas.may(Kind::Denied) && quotas.may(Kind::Changed));
        assert_eq!(quotas.left_out(), [(Kind::Login, 3)]);
        // Another minute.
        assert_eq!(quotas.left_out(), []);
        assert!(quotas.may(Kind::Login));
    }
}
