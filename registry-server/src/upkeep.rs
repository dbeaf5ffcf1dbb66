//! Upkeep: what is done to the store now and then while everybody pushes and pulls.
//!
//! Each task runs on a thread of its own (`Blocking::begin_long`), works in short steps, and notes
//! in the store when it ended, so that a restart does not begin to count anew. Time is counted on
//! the store's own clock: a jump of the host's makes nothing due.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use storage::{Collected, Keep, OnStep, StorageError, Store};
use tokio::time::sleep;
use tracing::{error, info};

use crate::advice::told;
use crate::blocking::Blocking;

mod scrub;

pub(crate) use scrub::{log_findings, log_verified, scrub_on_schedule};

/// Collects, and logs what it did unless nothing was to be done to the store.
///
/// # Errors
/// Those of [`Store::collect`].
pub fn collect(
    store: &Store,
    keep: &Keep,
    is_dry_run: bool,
    on_step: OnStep<'_>,
) -> Result<Collected, StorageError> {
    let done = store.collect(keep, is_dry_run, on_step)?;
    if !is_dry_run && done.is_whole {
        info!(
            blobs = done.blobs,
            bytes = done.blob_bytes,
            manifests = done.deleted_manifests + done.untagged_manifests,
            uploads = done.uploads,
            stray_files = done.stray_files,
            "collection ended"
        );
    }
    Ok(done)
}

/// Collects every `interval` for ever.
pub(crate) async fn collect_on_schedule(
    store: Arc<Store>,
    keep: Keep,
    interval: Duration,
    blocking: Blocking,
) {
    let owned = Arc::clone(&store);
    let age = blocking.read(move || owned.since_collection()).await.ok().flatten();
    let mut wait = age.map_or(Duration::ZERO, |age| interval.saturating_sub(age));
    loop {
        sleep(wait).await;
        let owned = Arc::clone(&store);
        let mut go_on = |_: &Collected| ControlFlow::Continue(());
        let run = blocking.begin_long(move || collect(&owned, &keep, false, &mut go_on)).await;
        wait = interval;
        match run {
            Ok(done) => {
                // It left the blobs, because a process ended not long ago that told nobody what
                // clients had heard.
                if done.blobs_wait_seconds > 0 {
                    wait = interval.min(Duration::from_secs(done.blobs_wait_seconds));
                }
            }
            // That is said elsewhere, once.
            Err(StorageError::ReadOnly) => {}
            Err(cause) => {
                error!(cause = %told(&cause), "collection could not go on; the next run will");
                wait = interval.min(AFTER_FAILURE);
            }
        }
    }
}

/// How soon collection is tried again when it failed, at the latest.
const AFTER_FAILURE: Duration = Duration::from_secs(3600);
