//! When a session was used, for the process that comes after this one: a tick of the store's clock
//! in its `.meta`, written with it and again after an hour of use. In one process, time since a use
//! is counted without it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use super::{Meta, Session};
use crate::clock::Clock;
use crate::layout::Layout;
use crate::name::UploadId;

impl Session {
    /// Notes that it was used, if that was not noted within the last hour. The caller has its
    /// state locked.
    pub(super) fn note_use(&self, layout: &Layout) {
        let now = self.clock.now();
        let mut progress = self.progress();
        if now.saturating_sub(progress.noted_tick) < NOTE_TICKS {
            return;
        }
        progress.noted_tick = now;
        drop(progress);
        note(layout, self.id, now);
    }
}

/// When a session of an earlier process was used at the latest, and what is noted of it. What a
/// program left that noted nothing begins to age now.
pub(super) fn before(
    layout: &Layout,
    id: UploadId,
    meta: &Meta,
    clock: &Arc<Clock>,
) -> (Instant, i64) {
    let now = Instant::now();
    let Some(noted) = meta.used_tick else {
        let tick = clock.now();
        note(layout, id, tick);
        return (now, tick);
    };
    // It may have been used until the next note was due.
    let unused = clock.since(noted.saturating_add(NOTE_TICKS));
    (now.checked_sub(unused).unwrap_or(now), noted)
}

/// Writes the tick into the file. What the disk refuses makes the session look older than it is,
/// and harms nobody else.
///
/// Crash argument: what stands there is written over in one piece that is shorter than a page and
/// no shorter than what it covers, so the death of the process leaves one or the other. Like all
/// of a session it is not synced.
fn note(layout: &Layout, id: UploadId, tick: i64) {
    let path = layout.upload_meta(id);
    let Ok(before) = fs::read(&path) else { return };
    let Ok(meta) = serde_json::from_slice::<Meta>(&before) else { return };
    let Ok(after) = serde_json::to_vec(&Meta { used_tick: Some(tick), ..meta }) else { return };
    if after.len() >= before.len() {
        let written = OpenOptions::new().write(true).open(&path);
        let _ = written.and_then(|file| file.write_all_at(&after, 0));
    }
}

/// Ticks of use after which it is noted again.
const NOTE_TICKS: i64 = 3600;
