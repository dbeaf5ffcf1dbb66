//! `registry import`: what lies on media goes in.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use oci::{ImageName, RepoName};
use storage::ImportNumber;

use super::data_dir::DataDir;
use super::progress::ProgressLine;
use crate::import::{ImportOrder, ImportReport, Naming, import};
use crate::text::format::{bytes, counted, duration};
use crate::text::{Lines, note, print, print_json};

mod undo;

/// The flags of `import`.
#[derive(Args)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    data: DataDir,
    /// Archives and directories, or - for standard input; all segments of one archive, and an older
    /// archive before the one that builds upon it
    #[arg(value_name = "SOURCE", required_unless_present = "undo")]
    sources: Vec<PathBuf>,
    /// Put this before each repository, as the path of a mirror
    #[arg(long, value_name = "PATH")]
    prefix: Option<RepoName>,
    /// The repository of images for which their source says none [default: the source's name]
    #[arg(long, value_name = "REPO")]
    repository: Option<RepoName>,
    /// Say what would be read and which tags would move, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Let the tags that an import moved name again what they named before
    #[arg(
        long,
        value_name = "NUMBER",
        conflicts_with_all = ["sources", "prefix", "repository", "dry_run"]
    )]
    undo: Option<ImportNumber>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: ImportArgs) -> anyhow::Result<()> {
    let data = args.data.path()?;
    if let Some(number) = args.undo {
        return undo::run(&data, number, args.json);
    }
    let naming = Naming { prefix: args.prefix, repository: args.repository };
    let ImportArgs { sources, dry_run: is_dry_run, .. } = args;
    let order = ImportOrder { data, sources, naming, is_dry_run };
    let line = ProgressLine::new();
    // So that it is known even if it does not come to its end.
    let on_begin = |number| note(&format!("this is import {number}"));
    let outcome = import(&order, &on_begin, &line.listener());
    line.end();
    let report = outcome?;
    match args.json {
        true => print_json(&report)?,
        false => print(&described(&report))?,
    }
    if report.is_whole() {
        return Ok(());
    }
    match report.is_dry_run {
        true => {
            bail!("not all that the sources name would be there: it says above what is missing")
        }
        false => bail!("not all that the sources name is there: it says above what is missing"),
    }
}

fn described(report: &ImportReport) -> Lines {
    let mut lines = Lines::default();
    report.damage.iter().chain(&report.remarks).for_each(|remark| lines.line(remark));
    for missing in &report.missing {
        lines.line(format_args!("{} is missing: {}", missing.digest, missing.why));
        named(&mut lines, "hurts", &missing.images);
    }
    if report.missing.iter().any(|missing| missing.is_nowhere) {
        lines.line(
            "give all segments of an archive, and the older archive that it builds upon before it; \
             or import that one first",
        );
    }
    for left in &report.left {
        lines.line(format_args!("not imported: {}: {}", left.image, left.why));
    }
    for image in &report.protected {
        let unprotect = format!("registry tag unprotect {image}");
        lines.line(format_args!("{image} is protected, and names what it named: {unprotect}"));
    }
    let would = if report.is_dry_run { "would " } else { "" };
    for moved in &report.moved {
        match &moved.from {
            Some(from) => lines.line(format_args!(
                "{} {would}{} from {from} to {}",
                moved.image,
                if report.is_dry_run { "move" } else { "moved" },
                moved.to
            )),
            None => lines.line(format_args!(
                "{} {} {}",
                moved.image,
                if report.is_dry_run { "would name" } else { "names" },
                moved.to
            )),
        }
    }
    lines.append(&sum(report));
    lines
}

/// What came and what was there, and how the import is taken back.
fn sum(report: &ImportReport) -> Lines {
    let read = match report.cloned_bytes {
        0 => String::new(),
        cloned => format!(" ({} share the blocks of their source)", bytes(cloned)),
    };
    let blobs = |count, size| format!("{} in {}", bytes(size), counted(count, "blob"));
    let (are, come) = match report.is_dry_run {
        true => ("would be there", "would come"),
        false => ("there now", "came"),
    };
    let mut lines = Lines::of(format_args!(
        "{are}: {}; {} {come}{read}, the registry had {}; {}",
        counted(report.images, "image"),
        blobs(report.read_blobs, report.read_bytes),
        blobs(report.present_blobs, report.present_bytes),
        duration(report.seconds),
    ));
    if let Some(number) = report.import.filter(|_| !report.moved.is_empty()) {
        let moved = counted(report.moved.len() as u64, "tag");
        let undo = format!("registry import --undo {number}");
        lines.line(format_args!("this was import {number}; to take back its {moved}: {undo}"));
    }
    lines
}

/// Names images, as many as a person reads: all of them are in JSON.
fn named(lines: &mut Lines, verb: &str, images: &[ImageName]) {
    images.iter().take(NAMED_IMAGES).for_each(|image| lines.line(format_args!("  {verb} {image}")));
    if let Some(more) = images.len().checked_sub(NAMED_IMAGES).filter(|more| *more > 0) {
        lines.line(format_args!("  and {}", counted(more as u64, "more image")));
    }
}

/// Images that are named for people of one missing part.
const NAMED_IMAGES: usize = 20;
