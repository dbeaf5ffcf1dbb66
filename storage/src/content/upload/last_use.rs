//! When a session was used, for the process that comes after this one: a tick of the store's clock
//! in its `.meta`, written with it and again after an hour of use. In one process, time since a use
//! is counted without it.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::meta::Meta;
use crate::clock::Clock;

/// What is known of the uses of a session that an earlier process left.
pub(super) struct Before {
    /// When it was used at the latest.
    pub(super) last_used: Instant,
    /// The tick that is noted of it.
    pub(super) noted_tick: i64,
    /// The length of the first line of its `.meta`.
    pub(super) meta_bytes: u64,
}

/// Finds out when a session of an earlier process was used. What a program left that noted nothing
/// begins to age now.
pub(super) fn before(path: &Path, meta: &Meta, clock: &Arc<Clock>) -> Before {
    let now = Instant::now();
    if let Some(noted_tick) = meta.used_tick {
        // It may have been used until the next note was due.
        let unused = clock.since(noted_tick.saturating_add(NOTE_TICKS));
        let last_used = now.checked_sub(unused).unwrap_or(now);
        return Before { last_used, noted_tick, meta_bytes: meta.first_bytes };
    }
    let noted_tick = clock.now();
    let Meta { repository, user, algorithm, .. } = meta;
    // That program wrote no second line, which a longer first one could cover.
    let written =
        OpenOptions::new().write(true).open(path).ok().and_then(|file| {
            Meta::write(&file, path, repository, user, *algorithm, noted_tick).ok()
        });
    Before { last_used: now, noted_tick, meta_bytes: written.unwrap_or(meta.first_bytes) }
}

/// Ticks of use after which it is noted again.
pub(super) const NOTE_TICKS: i64 = 3600;
