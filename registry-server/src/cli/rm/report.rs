//! What is said of a removal, whatever it is that goes.

use crate::command::image::RemovedImage;
use crate::control::Refused;
use crate::text::format::{bytes, counted};
use crate::text::{Lines, note};

/// The tags, a line each.
pub(super) fn tags(removed: &RemovedImage) -> Lines {
    let mut lines: Lines = removed.tags.iter().map(|tag| format!("tag       {tag}")).collect();
    lines.append(&more(removed.tags.len(), removed.tag_count, "tags"));
    lines
}

/// How much goes, and when its space comes back.
pub(super) fn sum(removed: &RemovedImage, go: &str) -> Lines {
    let mut lines = Lines::of(format_args!(
        "{go}: {}, {}, and {} in {} that nothing else holds",
        counted(removed.tag_count, "tag"),
        counted(removed.manifest_count, "manifest"),
        bytes(removed.blob_bytes),
        counted(removed.blobs, "blob"),
    ));
    lines.line(SPACE);
    lines
}

/// Says how what went is undone, after something kept the rest from going.
pub(super) fn tell_rest(error: &anyhow::Error, went: (u64, u64), undo: &str) {
    match went {
        // What is refused changes nothing: each step is one transaction.
        (0, 0) if error.is::<Refused>() => {}
        (0, 0) => note(&format!("whether anything went is not known; to undo it: {undo}")),
        _ => note(&format!("not all of them went; to undo what did: {undo}")),
    }
}

/// How it is said that something goes, in the middle of a sentence and at its beginning.
pub(super) fn words(dry_run: bool) -> (&'static str, &'static str) {
    if dry_run { ("would go", "would remove") } else { ("went", "removed") }
}

pub(super) fn more(shown: usize, count: u64, what: &str) -> Lines {
    match count.saturating_sub(shown as u64) {
        0 => Lines::default(),
        more => Lines::of(format_args!("and {more} more {what}")),
    }
}

/// When the space of what was removed comes back.
pub(super) const SPACE: &str = "the space comes back when the time for undoing it is over and \
                                collection has run; at once, and for good, with `registry gc \
                                --undo-time 0s --grace 0s` while nobody pushes";
