//! `registry verify`.

use std::num::NonZeroU32;

use anyhow::bail;
use clap::Args;

use super::meter::run_shown;
use super::words::{bytes, counted};
use super::{DataDir, print, print_json};
use crate::admin::{Command, Reply, VerifyReport};

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
    let command = Command::Verify { dry_run: args.dry_run, mib_per_second: args.rate };
    let Reply::Verified(report) = run_shown(&args.data.path()?, command)? else {
        bail!("the running server's answer makes no sense")
    };
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

fn told(report: &VerifyReport, is_dry_run: bool) -> String {
    let mut text = format!(
        "read {} and {}, {}\n",
        counted(report.manifests, "manifest"),
        counted(report.blobs, "blob"),
        bytes(report.blob_bytes)
    );
    for found in &report.found {
        text += &format!("{}\n", found.what);
        if let Some(path) = &found.put_aside {
            text += &format!("  its file was put aside: {}\n", path.display());
        }
    }
    if report.more_found > 0 {
        text += &format!("and {} more\n", report.more_found);
    }
    if report.found.is_empty() && !report.is_bad() {
        text += "nothing is wrong\n";
    }
    if report.lost_blobs + report.lost_manifests > 0 {
        let (blobs, manifests) = (report.lost_blobs, report.lost_manifests);
        let (blobs, manifests) = (counted(blobs, "blob"), counted(manifests, "manifest"));
        text += &format!("lost: {blobs} and {manifests}\n");
        text += &named("blob", &report.lost_blob_digests, report.lost_blobs);
        text += &named("manifest", &report.lost_manifest_digests, report.lost_manifests);
    }
    if !report.hurt.is_empty() {
        text += match is_dry_run {
            true => "push or mirror these images again, after `registry verify` without --dry-run:",
            false => "these images cannot be pulled until you push or mirror them again:",
        };
        text += "\n";
        report.hurt.iter().for_each(|image| text += &format!("  {image}\n"));
    }
    if report.more_hurt > 0 {
        text += &format!("  and {} more\n", report.more_hurt);
    }
    if report.stray_files > 0 {
        let (files, size) = (counted(report.stray_files, "file"), bytes(report.stray_bytes));
        text += &format!("{files} without a row, {size}: `registry gc` takes what is old\n");
    }
    text
}

/// Lines that name the first of so many lost things.
fn named(thing: &str, digests: &[String], count: u64) -> String {
    let mut text: String = digests.iter().map(|it| format!("  the {thing} {it}\n")).collect();
    let more = count.saturating_sub(digests.len() as u64);
    if more > 0 {
        text += &format!("  and {}\n", counted(more, &format!("more {thing}")));
    }
    text
}
