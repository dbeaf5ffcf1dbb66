//! The scrub: every stored byte is read and checked now and then, slowly, by itself.
//!
//! What it is at is kept in the store, so that a server that is restarted often comes to the end
//! even so.

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::time::Duration;

use storage::{BrokenImages, Finding, Image, Lost, Scrub, StorageError, Store, Verified};
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::advice::told;
use crate::blocking::Blocking;
use crate::command::data::HURT_IMAGES;

/// Scrubs when that is due, for ever. When the future is dropped, a scrub that is under way stops
/// and keeps its place.
pub(crate) async fn scrub_on_schedule(store: Arc<Store>, how: Scrub, blocking: Blocking) {
    let alive = Arc::new(());
    loop {
        let (owned, wanted) = (Arc::clone(&store), Arc::downgrade(&alive));
        let outcome = blocking.begin_long(move || scrub(&owned, &how, &wanted)).await;
        match outcome {
            // That is said elsewhere, once.
            Ok(()) | Err(StorageError::ReadOnly) => {}
            Err(cause) => {
                let cause = told(&cause);
                error!(%cause, "stored data could not be checked any further; trying again later");
            }
        }
        sleep(how.interval.min(LOOK_INTERVAL)).await;
    }
}

/// Scrubs if that is due, as long as somebody wants it, and logs what it finds when it finds it.
fn scrub(store: &Store, how: &Scrub, wanted: &Weak<()>) -> Result<(), StorageError> {
    let mut logged = 0;
    let outcome = store.scrub(how, &mut |verified| {
        log_findings(verified, &mut logged);
        match wanted.strong_count() {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    let Some(verified) = outcome? else { return Ok(()) };
    log_findings(&verified, &mut logged);
    if !verified.is_done {
        return Ok(());
    }
    log_verified(&verified, store.lost()?, &store.broken_images(&[], HURT_IMAGES)?);
    Ok(())
}

/// Logs the end of a verification, and what is lost now, whenever that was found.
pub(crate) fn log_verified(verified: &Verified, lost: Lost, hurt: &BrokenImages) {
    let Verified { manifests, blobs, blob_bytes, .. } = verified;
    info!(manifests, blobs, blob_bytes, "every stored byte was read and checked");
    let missized = verified.missized.len() as u64 + verified.more_missized;
    if missized > 0 {
        warn!(
            manifests = missized,
            "these say other sizes than there are, which some clients refuse: `registry verify` \
             names them"
        );
    }
    if !lost.is_nothing() {
        let images: Vec<String> = hurt.images.iter().map(Image::to_string).collect();
        error!(
            blobs = lost.blobs,
            manifests = lost.manifests,
            images = images.join(" "),
            more_images = hurt.more,
            "lost: push or mirror these images again"
        );
    }
}

/// Logs what a verification found that was not logged before: `logged` says how much was.
pub(crate) fn log_findings(verified: &Verified, logged: &mut usize) {
    for finding in verified.findings.iter().skip(*logged) {
        match finding {
            Finding::Blob { put_aside: Some(path), .. } => {
                error!(put_aside = %path.display(), "{finding}");
            }
            finding if finding.is_loss() => error!("{finding}"),
            finding => warn!("{finding}"),
        }
    }
    *logged = verified.findings.len();
}

/// How often it is looked whether a scrub is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(3600);
