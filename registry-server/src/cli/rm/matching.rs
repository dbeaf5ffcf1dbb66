//! `registry rm` with a pattern: an old release goes, and one command brings it back.

use std::path::Path;

use oci::PastedPattern;
use serde::Serialize;
use storage::shell_word;

use super::report::{sum, tags, tell_rest, words};
use crate::cli::progress::run_shown;
use crate::command::image::{PlanRemovalOfMatching, RemoveMatching, RemovedImage};
use crate::control;
use crate::text::format::{now, time};
use crate::text::{print, print_json};

/// What went, or would go, as it is printed as JSON.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    removed: &'a RemovedImage,
    /// The command that brings it back; none if nothing went.
    undo: Option<&'a str>,
}

/// Removes all images whose tags a pattern stands for, or says what that would remove.
pub(super) fn remove(
    data_dir: &Path,
    image: &str,
    dry_run: bool,
    json: bool,
) -> anyhow::Result<()> {
    // All that is refused is refused here, before the first one goes.
    let mut removed = run_shown(data_dir, PlanRemovalOfMatching { tags: image.parse()? })?;
    // In quotes, since a shell puts the names of files in the place of a pattern.
    let undo =
        format!("registry tag restore {} --since {}", shell_word(&removed.image), time(now()));
    if !dry_run {
        let mut went = (0, 0);
        let outcome = remove_in_steps(data_dir, &removed.image.parse()?, &mut went);
        outcome.inspect_err(|error| tell_rest(error, went, &undo))?;
        (removed.tag_count, removed.manifest_count) = went;
        removed.dry_run = false;
    }
    let undo = (!dry_run).then_some(undo.as_str());
    if json {
        return print_json(&Document { removed: &removed, undo });
    }
    let mut lines = tags(&removed);
    lines.append(&sum(&removed, words(dry_run).1));
    if let Some(undo) = undo {
        lines.line(format_args!("to undo it: {undo}"));
    }
    Ok(print(&lines)?)
}

/// Removes them some at a time, and counts what went: a push may have brought more meanwhile.
fn remove_in_steps(
    data_dir: &Path,
    tags: &PastedPattern,
    went: &mut (u64, u64),
) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let step = control::run(data_dir, RemoveMatching { tags: tags.clone(), after })?;
        *went = (went.0.saturating_add(step.tags), went.1.saturating_add(step.manifests));
        match step.next {
            None => return Ok(()),
            next => after = next,
        }
    }
}
