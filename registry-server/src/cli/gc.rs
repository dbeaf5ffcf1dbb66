//! `registry gc`.

use clap::Args;
use storage::{Collected, KeptUntagged, Share};

use super::data_dir::DataDir;
use super::progress::run_shown;
use crate::command::data::{Collect, Collection};
use crate::config::ConfigDuration;
use crate::text::format::{bytes, counted, duration};
use crate::text::{Lines, print, print_json};

/// The flags of `gc`.
#[derive(Args)]
pub(super) struct GcArgs {
    #[command(flatten)]
    data: DataDir,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Keep blobs that were pushed, mounted or asked for within this time [default: the setting
    /// gc-grace]
    #[arg(long, value_name = "TIME")]
    grace: Option<ConfigDuration>,
    /// Let manifests go that had no tag for this long [default: the setting gc-untagged-after]
    #[arg(long, value_name = "TIME")]
    untagged_after: Option<ConfigDuration>,
    /// Keep what was deleted within this time, so that it can be restored [default: the setting
    /// undo-time]
    #[arg(long, value_name = "TIME")]
    undo_time: Option<ConfigDuration>,
    /// Forget what tags named longer ago than this, though never within the undo time
    /// [default: 90d]
    #[arg(long, value_name = "TIME")]
    history_time: Option<ConfigDuration>,
    /// Let upload sessions go that nobody used for this long [default: 7d]
    #[arg(long, value_name = "TIME")]
    uploads_after: Option<ConfigDuration>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: GcArgs) -> anyhow::Result<()> {
    let command = Collect {
        dry_run: args.dry_run,
        grace: args.grace,
        untagged: args.untagged_after,
        deleted: args.undo_time,
        history: args.history_time,
        uploads: args.uploads_after,
    };
    let Collection { done, is_served } = run_shown(&args.data.path()?, command)?;
    if args.json {
        print_json(&done)
    } else {
        Ok(print(&describe(&done, args.dry_run, is_served))?)
    }
}

fn describe(done: &Collected, is_dry_run: bool, is_served: bool) -> Lines {
    let rows = [
        ("blobs", sized(done.blobs, done.blob_bytes)),
        ("damaged files", sized(done.damaged_files, done.damaged_bytes)),
        ("files without a row", sized(done.stray_files, done.stray_bytes)),
        ("deleted manifests", done.deleted_manifests.to_string()),
        ("untagged manifests", done.untagged_manifests.to_string()),
        ("upload sessions", sized(done.uploads, done.upload_bytes)),
        ("changes of tags", done.tag_changes.to_string()),
    ];
    let verb = if is_dry_run { "would go" } else { "gone" };
    let row = |(what, count)| format!("{what:<21}{count} {verb}");
    let mut lines: Lines = rows.into_iter().map(row).collect();
    if done.blobs_wait_seconds > 0 && is_served {
        lines.line(
            "No blob was looked at: what clients were told before the server last ended without \
             being stopped is not known.",
        );
        lines.line(format_args!(
            "Collect again in {}, or now with a shorter --grace if nobody pushes.",
            duration(done.blobs_wait_seconds)
        ));
    } else if done.blobs_wait_seconds > 0 {
        lines.line(
            "No blob was looked at: what clients were told is not known for long enough. Now that \
             no server runs, nobody pushes: --grace 0s takes blobs too.",
        );
    }
    if done.foreign_files > 0 {
        lines.line(format_args!(
            "Left alone: {} in DATA/blobs that no registry put there.",
            counted(done.foreign_files, "thing")
        ));
    }
    lines.append(&done.untagged_kept.as_ref().map(stays).unwrap_or_default());
    lines
}

/// What stays although no tag leads to it, and why.
fn stays(kept: &KeptUntagged) -> Lines {
    let all = kept.all();
    if all.manifests == 0 {
        return Lines::default();
    }
    let all = manifests(all);
    let mut lines = Lines::of(format_args!("Left, although no tag leads to it: {all}"));
    for (share, why) in reasons(kept) {
        lines.line(format_args!("  {} {why}", manifests(share)));
    }
    if kept.never_tagged.manifests + kept.once_tagged.manifests > 0 {
        lines.line(
            "Clusters pull by digest. What none needs goes with --untagged-after TIME, or one at a \
             time with `registry rm REPO@DIGEST`.",
        );
    }
    lines
}

/// What keeps manifests to which no tag leads, in words, with how much each of that is.
pub(super) fn reasons(kept: &KeptUntagged) -> Vec<(Share, &'static str)> {
    let KeptUntagged { never_tagged, once_tagged, listed, referrers, recent } = *kept;
    let mut reasons = vec![
        (never_tagged, "pushed by digest and never tagged"),
        (once_tagged, "tagged once, and no more"),
        (listed, "listed by an index of these"),
        (referrers, "referring to one of these"),
        (recent, "within the grace or the undo time"),
    ];
    reasons.retain(|(share, _)| share.manifests > 0);
    reasons
}

fn sized(count: u64, size: u64) -> String {
    if count == 0 { "0".to_owned() } else { format!("{count} ({})", bytes(size)) }
}

/// How many manifests, and how much lies in them.
pub(super) fn manifests(share: Share) -> String {
    format!("{} ({})", counted(share.manifests, "manifest"), bytes(share.bytes))
}
