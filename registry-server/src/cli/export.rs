//! `registry export`: images on a medium that is carried elsewhere.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use oci::ImagePattern;

use super::data_dir::DataDir;
use super::progress::ProgressLine;
use crate::export::{ExportOrder, ExportReport, To, make_export, read_receipt};
use crate::text::format::{bytes, counted, duration, time};
use crate::text::{Lines, binary_output, note_lines, print, print_json};

/// The flags of `export`.
#[derive(Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    data: DataDir,
    /// A directory that is empty or not there yet; - for an archive on standard output
    #[arg(value_name = "DEST")]
    destination: PathBuf,
    /// Repositories and images, as in team/app, team/app:1 or, in quotes, 'team/*:4.*' [default:
    /// everything]
    #[arg(value_name = "PATTERN")]
    patterns: Vec<ImagePattern>,
    /// Write archives instead of directories
    #[arg(long)]
    tar: bool,
    /// Split what is written into volumes of at most this size, as in 4GB or 600MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    volume_size: Option<u64>,
    /// Leave out what the registry has that wrote this receipt
    #[arg(long, value_name = "RECEIPT")]
    since: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Writes the images, and tells what was written.
pub(super) fn run(args: ExportArgs) -> anyhow::Result<()> {
    let is_pipe = args.destination == Path::new(PIPE);
    if is_pipe && args.volume_size.is_some() {
        bail!("a pipe has no volumes: leave out --volume-size, or name a directory");
    }
    let to = match (is_pipe, args.tar) {
        (true, _) => To::Pipe(binary_output().context("name a directory, or a file behind >")?),
        (false, true) => To::Archives(args.destination.clone()),
        (false, false) => To::Directory(args.destination.clone()),
    };
    let order = ExportOrder {
        data: args.data.path()?,
        patterns: args.patterns,
        to,
        volume_bytes: args.volume_size,
        since: args.since.as_deref().map(read_receipt).transpose()?,
    };
    let line = ProgressLine::new();
    let outcome = make_export(order, &line.listener());
    line.end();
    let report = outcome?;
    match (is_pipe, args.json) {
        // Standard output is the archive.
        (true, _) => note_lines(&text(&report)),
        (false, true) => print_json(&report)?,
        (false, false) => print(&text(&report))?,
    }
    Ok(())
}

fn text(report: &ExportReport) -> Lines {
    let blobs = counted(report.blobs, "blob");
    let manifests = counted(report.manifests, "manifest");
    let mut rows = vec![
        ("images", report.images.to_string()),
        ("written", format!("{} in {manifests} and {blobs}", bytes(report.bytes))),
    ];
    if let Some(receipt) = &report.receipt {
        let whose = match receipt.registry.to_string() == report.registry {
            // The medium with the right one may be in another drawer.
            true => "this registry itself or a copy of it: is it the other side's?".to_owned(),
            false => format!("the registry {}", receipt.registry),
        };
        rows.push(("receipt", format!("written {} by {whose}", time(receipt.made))));
    }
    if report.left_out_blobs > 0 || report.ambiguous_blobs > 0 {
        let left_out = counted(report.left_out_blobs, "blob");
        rows.push(("left out", format!("{}, {left_out}", bytes(report.left_out_bytes))));
    }
    if report.ambiguous_blobs > 0 {
        let sent = counted(report.ambiguous_blobs, "blob");
        rows.push(("not left out", format!("{sent} that the receipt does not tell from others")));
    }
    if report.unknown_bundles > 0 {
        let bundles = counted(report.unknown_bundles, "bundle");
        rows.push(("not known", format!("what {bundles} of the receipt held: it went along")));
    }
    if report.absent_children > 0 {
        let children = counted(report.absent_children, "manifest");
        rows.push(("sparse", format!("{children} that indexes list and the registry lacks")));
    }
    if report.volumes.len() > 1 {
        rows.push(("volumes", report.volumes.join(", ")));
    }
    rows.push(("signed by", report.key.clone()));
    rows.push(("time", duration(report.seconds)));
    let mut lines = Lines::of(format_args!("the bundle {} is whole", report.bundle));
    rows.iter().for_each(|(name, value)| lines.line(format_args!("{name:<14}{value}")));
    report.remarks.iter().for_each(|remark| lines.line(remark));
    lines
}

/// Reads a size: a number of bytes, or one with a unit. `K`, `M`, `G` and `T` are powers of 1024
/// like `KiB`; `KB` and the like, by which media are sold, are powers of 1000.
fn size(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => Some(1),
        "K" | "KIB" => Some(1 << 10),
        "M" | "MIB" => Some(1 << 20),
        "G" | "GIB" => Some(1 << 30),
        "T" | "TIB" => Some(1 << 40),
        "KB" => Some(1000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "TB" => Some(1_000_000_000_000),
        _ => None,
    };
    let bytes = factor.and_then(|factor: u64| number.parse::<u64>().ok()?.checked_mul(factor));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| "write a size as 4GB or 600MiB".to_owned())
}

/// What stands for standard output.
const PIPE: &str = "-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit() {
        for (text, bytes) in [
            ("1", 1),
            ("10B", 10),
            ("4GB", 4_000_000_000),
            ("4G", 4 << 30),
            ("600MiB", 600 << 20),
            ("1tb", 1_000_000_000_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "G", "1.5G", "-1", "1X", "99999999999T"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
