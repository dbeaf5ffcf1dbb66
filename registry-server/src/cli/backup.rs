//! `registry backup`: a copy of the registry on another disk, made while it serves or rests.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;

use super::data_dir::DataDir;
use super::progress::ProgressLine;
use crate::backup::{BackupOrder, BackupSummary, make_backup};
use crate::text::format::{bytes, counted, duration};
use crate::text::{Lines, print, print_json};

/// The flags of `backup`.
#[derive(Args)]
pub(super) struct BackupArgs {
    #[command(flatten)]
    data: DataDir,
    /// The directory of the backup, on another file system; made, or brought up to date
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Read what is there already as well, and copy what has gone bad
    #[arg(long)]
    verify: bool,
    /// Only while no server runs: then nothing is copied on the registry's own disk
    #[arg(long)]
    stopped: bool,
    /// Make a backup that another copy of this registry wrote last the backup of this one
    #[arg(long)]
    take_over: bool,
    /// Allow a directory on the registry's own file system, which is lost with it
    #[arg(long)]
    same_file_system: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Brings the backup up to date, and tells what was done.
pub(super) fn run(args: BackupArgs) -> anyhow::Result<()> {
    let order = BackupOrder {
        data: args.data.path()?,
        directory: args.directory,
        verify: args.verify,
        must_rest: args.stopped,
        may_take_over: args.take_over,
        may_share_disk: args.same_file_system,
    }
    .with_whole_paths()?;
    let line = ProgressLine::new();
    let outcome = make_backup(&order, &line.listener());
    line.end();
    let summary = outcome?;
    match args.json {
        true => print_json(&summary)?,
        false => print(&text(&summary, &order.data, &order.directory))?,
    }
    match summary.not_taken.is_empty() {
        true => Ok(()),
        false => bail!(complaint(&summary)),
    }
}

fn text(summary: &BackupSummary, data: &Path, directory: &Path) -> Lines {
    let blobs = |count, size| format!("{count}, {}", bytes(size));
    let outside = match summary.outside.as_slice() {
        [] => "nothing".to_owned(),
        names => names.join(", "),
    };
    let rows = [
        ("blobs copied", blobs(summary.copied_blobs, summary.copied_bytes)),
        ("already there", blobs(summary.present_blobs, summary.present_bytes)),
        ("removed", summary.removed_blobs.to_string()),
        ("database", bytes(summary.database_bytes)),
        ("of the host", outside),
        ("time", duration(summary.seconds)),
    ];
    let (data, directory) = (data.display(), directory.display());
    let mut lines = Lines::of(format_args!("{data} is backed up in {directory}"));
    rows.iter().for_each(|(name, value)| lines.line(format_args!("{name:<14}{value}")));
    lines
}

fn complaint(summary: &BackupSummary) -> String {
    format!(
        "the backup is whole but for {} whose bytes are wrong or gone in the registry: \
         {}; type `registry verify`, which tells what they belong to, push that again, then \
         back up again",
        counted(summary.not_taken.len() as u64, "blob"),
        summary.not_taken.join(", ")
    )
}
