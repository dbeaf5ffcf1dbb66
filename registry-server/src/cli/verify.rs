//! `registry verify`.

use std::num::NonZeroU32;

use anyhow::bail;
use clap::Args;
use oci::Digest;

use super::data_dir::DataDir;
use super::progress::run_shown;
use crate::command::data::{Verify, VerifyReport};
use crate::text::format::{bytes, counted};
use crate::text::{Page, print, print_json};

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
        print(&told(&report, args.dry_run))?;
    }
    if report.is_bad() {
        bail!("something is lost or damaged: it says above what, and what to do");
    }
    Ok(())
}

fn told(report: &VerifyReport, is_dry_run: bool) -> Page {
    let (manifests, blobs) = (counted(report.manifests, "manifest"), counted(report.blobs, "blob"));
    let read = bytes(report.blob_bytes);
    let mut page = Page::of(format_args!("read {manifests} and {blobs}, {read}"));
    for found in &report.found {
        page.line(&found.what);
        if let Some(path) = &found.put_aside {
            page.line(format_args!("  its file was put aside: {}", path.display()));
        }
    }
    if report.more_found > 0 {
        page.line(format_args!("and {} more", report.more_found));
    }
    if !report.missized.is_empty() {
        page.line("other sizes than there are, which some clients refuse:");
        named(&mut page, &report.missized, report.more_missized, "more manifest");
    }
    if report.found.is_empty() && report.missized.is_empty() && !report.is_bad() {
        page.line("nothing is wrong");
    }
    if report.lost_blobs + report.lost_manifests > 0 {
        let (blobs, manifests) = (report.lost_blobs, report.lost_manifests);
        let (blobs, manifests) = (counted(blobs, "blob"), counted(manifests, "manifest"));
        page.line(format_args!("lost: {blobs} and {manifests}"));
        lost(&mut page, "blob", &report.lost_blob_digests, report.lost_blobs);
        lost(&mut page, "manifest", &report.lost_manifest_digests, report.lost_manifests);
    }
    if !report.hurt.is_empty() {
        page.line(match is_dry_run {
            true => "push or mirror these images again, after `registry verify` without --dry-run:",
            false => "these images cannot be pulled until you push or mirror them again:",
        });
        named(&mut page, &report.hurt, 0, "");
    }
    if report.more_hurt > 0 {
        page.line(format_args!("  and {} more", report.more_hurt));
    }
    if report.stray_files > 0 {
        let (files, size) = (counted(report.stray_files, "file"), bytes(report.stray_bytes));
        page.line(format_args!("{files} without a row, {size}: `registry gc` takes what is old"));
    }
    page
}

/// Lines that name things, and say how many more there are.
fn named(page: &mut Page, things: &[String], more: u64, of_these: &str) {
    things.iter().for_each(|thing| page.line(format_args!("  {thing}")));
    if more > 0 {
        page.line(format_args!("  and {}", counted(more, of_these)));
    }
}

/// Lines that name the first of so many lost things.
fn lost(page: &mut Page, thing: &str, digests: &[Digest], count: u64) {
    let lost: Vec<String> = digests.iter().map(|digest| format!("the {thing} {digest}")).collect();
    let more = count.saturating_sub(digests.len() as u64);
    named(page, &lost, more, &format!("more {thing}"));
}
