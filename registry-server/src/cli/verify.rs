//! `registry verify`.

use std::num::NonZeroU32;

use anyhow::bail;
use clap::Args;
use oci::Digest;

use super::data_dir::DataDir;
use super::progress::run_shown;
use crate::command::data::{Verify, VerifyReport};
use crate::text::format::{bytes, counted};
use crate::text::{Lines, print, print_json};

/// The flags of `verify`.
#[derive(Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    data: DataDir,
    /// Only say what is wrong, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Read at most so many MiB a second [default: as fast as the disk gives them]
    #[arg(long, value_name = "MIB")]
    rate: Option<NonZeroU32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: VerifyArgs) -> anyhow::Result<()> {
    let command = Verify { dry_run: args.dry_run, mib_per_second: args.rate };
    let report = run_shown(&args.data.path()?, command)?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&describe(&report, args.dry_run))?;
    }
    if report.is_bad() {
        bail!("something is lost or damaged: it says above what, and what to do");
    }
    Ok(())
}

fn describe(report: &VerifyReport, is_dry_run: bool) -> Lines {
    let (manifests, blobs) = (counted(report.manifests, "manifest"), counted(report.blobs, "blob"));
    let read = bytes(report.blob_bytes);
    let mut lines = Lines::of(format_args!("read {manifests} and {blobs}, {read}"));
    for found in &report.found {
        lines.line(&found.what);
        if let Some(path) = &found.put_aside {
            lines.line(format_args!("  its file was put aside: {}", path.display()));
        }
    }
    if report.more_found > 0 {
        lines.line(format_args!("and {} more", report.more_found));
    }
    if !report.missized.is_empty() {
        lines.line("other sizes than there are, which some clients refuse:");
        named(&mut lines, &report.missized, report.more_missized, "more manifest");
    }
    if report.found.is_empty() && report.missized.is_empty() && !report.is_bad() {
        lines.line("nothing is wrong");
    }
    if report.lost_blobs + report.lost_manifests > 0 {
        let (blobs, manifests) = (report.lost_blobs, report.lost_manifests);
        let (blobs, manifests) = (counted(blobs, "blob"), counted(manifests, "manifest"));
        lines.line(format_args!("lost: {blobs} and {manifests}"));
        lost(&mut lines, "blob", &report.lost_blob_digests, report.lost_blobs);
        lost(&mut lines, "manifest", &report.lost_manifest_digests, report.lost_manifests);
    }
    if !report.hurt.is_empty() {
        lines.line(match is_dry_run {
            true => "push or mirror these images again, after `registry verify` without --dry-run:",
            false => "these images cannot be pulled until you push or mirror them again:",
        });
        named(&mut lines, &report.hurt, 0, "");
    }
    if report.more_hurt > 0 {
        lines.line(format_args!("  and {} more", report.more_hurt));
    }
    if report.stray_files > 0 {
        let (files, size) = (counted(report.stray_files, "file"), bytes(report.stray_bytes));
        lines.line(format_args!("{files} without a row, {size}: `registry gc` takes what is old"));
    }
    lines
}

/// Lines that name things, and say how many more there are.
fn named(lines: &mut Lines, things: &[String], more: u64, of_these: &str) {
    things.iter().for_each(|thing| lines.line(format_args!("  {thing}")));
    if more > 0 {
        lines.line(format_args!("  and {}", counted(more, of_these)));
    }
}

/// Lines that name the first of so many lost things.
fn lost(lines: &mut Lines, thing: &str, digests: &[Digest], count: u64) {
    let lost: Vec<String> = digests.iter().map(|digest| format!("the {thing} {digest}")).collect();
    let more = count.saturating_sub(digests.len() as u64);
    named(lines, &lost, more, &format!("more {thing}"));
}
