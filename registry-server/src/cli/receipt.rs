//! `registry receipt`: what this registry has, for another that is to send it the rest.

use std::path::PathBuf;

use clap::Args;

use super::data_dir::DataDir;
use crate::export::{make_receipt, write_receipt};
use crate::text::format::counted;
use crate::text::{Lines, print, print_json};

/// The flags of `receipt`.
#[derive(Args)]
pub(super) struct ReceiptArgs {
    #[command(flatten)]
    data: DataDir,
    /// The file to write; - for standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Writes the receipt, and tells what it says.
pub(super) fn run(args: ReceiptArgs) -> anyhow::Result<()> {
    let report = make_receipt(&args.data.path()?)?;
    if args.file.as_os_str() == "-" {
        return Ok(print(&report.text.lines().collect())?);
    }
    write_receipt(&args.file, &report)?;
    if args.json {
        return print_json(&report);
    }
    let (blobs, bundles) = (counted(report.blobs, "blob"), counted(report.bundles, "bundle"));
    let line = format!(
        "{} names {bundles} and {blobs}: `registry export DEST --since FILE` on the other side \
         leaves them out",
        args.file.display()
    );
    Ok(print(&Lines::of(line))?)
}
