//! `registry rm` with a pattern: an old release goes, and one command brings it back.

use std::path::Path;

use anyhow::bail;
use serde::Serialize;
use storage::shell_word;

use super::{ask, sum, tags, tell_rest, words};
use crate::admin::{Command, ImageCommand, ImageReply, RemovedEntry, Reply};
use crate::cli::meter::run_shown;
use crate::cli::words::{now, time};
use crate::text::{print, print_json};

/// What went, or would go, as it is printed as JSON.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    removed: &'a RemovedEntry,
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
    let command = Command::Image(ImageCommand::PlanMatching { image: image.to_owned() });
    // All that is refused is refused here, before the first one goes.
    let Reply::Image(ImageReply::Removed(mut removed)) = run_shown(data_dir, command)? else {
        bail!("the running server's answer makes no sense")
    };
    // In quotes, since a shell puts the names of files in the place of a pattern.
    let undo =
        format!("registry tag restore {} --since {}", shell_word(&removed.image), time(now()));
    if !dry_run {
        let mut went = (0, 0);
        let outcome = remove_in_steps(data_dir, &removed.image, &mut went);
        outcome.inspect_err(|error| tell_rest(error, went, &undo))?;
        (removed.tag_count, removed.manifest_count) = went;
        removed.dry_run = false;
    }
    let undo = (!dry_run).then_some(undo.as_str());
    if json {
        return print_json(&Document { removed: &removed, undo });
    }
    let mut page = tags(&removed);
    page.append(&sum(&removed, words(dry_run).1));
    if let Some(undo) = undo {
        page.line(format_args!("to undo it: {undo}"));
    }
    Ok(print(&page)?)
}

/// Removes them some at a time, and counts what went: a push may have brought more meanwhile.
fn remove_in_steps(data_dir: &Path, image: &str, went: &mut (u64, u64)) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let command = ImageCommand::RemoveMatching { image: image.to_owned(), after };
        let ImageReply::MatchingStep { tags, manifests, last } = ask(data_dir, command)? else {
            bail!("the running server's answer makes no sense")
        };
        *went = (went.0.saturating_add(tags), went.1.saturating_add(manifests));
        if last.is_none() {
            return Ok(());
        }
        after = last;
    }
}
