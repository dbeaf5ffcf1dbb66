//! `registry import`: what lies on media goes in.

use std::path::PathBuf;

use anyhow::bail;
use certs::PublicKey;
use clap::Args;
use oci::{ImageName, RepoName};
use storage::ImportNumber;

use super::data_dir::DataDir;
use super::progress::ProgressLine;
use crate::import::{ImportOrder, ImportReport, MissingBase, Naming, TakenVolume, import};
use crate::text::format::{bytes, counted, duration, time};
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
    /// Take nothing but bundles that the registry of this key has exported, as `registry status`
    /// there shows it; of several, any of them
    #[arg(long, value_name = "KEY")]
    require_signer: Vec<PublicKey>,
    /// Say what would be read and which tags would move, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Let the tags that an import moved name again what they named before
    #[arg(
        long,
        value_name = "NUMBER",
        conflicts_with_all = ["sources", "prefix", "repository", "require_signer", "dry_run"]
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
    let ImportArgs { sources, require_signer: signers, dry_run: is_dry_run, .. } = args;
    let is_signer_required = !signers.is_empty();
    let order = ImportOrder { data, sources, naming, signers, is_dry_run };
    let line = ProgressLine::new();
    // So that it is known even if it does not come to its end.
    let on_begin = |number| note(&format!("this is import {number}"));
    let outcome = import(&order, &on_begin, &line.listener());
    line.end();
    let report = outcome?;
    match args.json {
        true => print_json(&report)?,
        false => {
            let mut lines = of_bundles(&report.bundles, is_signer_required);
            lines.append(&described(&report));
            print(&lines)?;
        }
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

/// What the sources are that a registry exported, and how to take nothing else.
fn of_bundles(volumes: &[TakenVolume], is_signer_required: bool) -> Lines {
    let mut lines = Lines::default();
    for TakenVolume { source, bundle, registry, made, volume, volumes, key } in volumes {
        let of = match volumes {
            1 => String::new(),
            _ => format!("volume {volume} of {volumes} of "),
        };
        let signed = match key {
            Some(key) => format!("signed with the key {key}"),
            None => "not signed by anybody".to_owned(),
        };
        lines.line(format_args!(
            "{source}: {of}the bundle {bundle}, written by the registry {registry} on {}, {signed}",
            time(*made)
        ));
    }
    if !volumes.is_empty() && !is_signer_required {
        lines.line(
            "--require-signer KEY takes nothing but what the registry of that key has signed: its \
             `registry status` shows the key",
        );
    }
    lines
}

fn described(report: &ImportReport) -> Lines {
    let mut lines = Lines::default();
    report.damage.iter().chain(&report.remarks).for_each(|remark| lines.line(remark));
    for missing in &report.missing {
        lines.line(format_args!("{} is missing: {}", missing.digest, missing.why));
        named(&mut lines, "hurts", &missing.images);
    }
    report.bases.iter().for_each(|base| of_base(&mut lines, base));
    if report.bases.is_empty() && report.missing.iter().any(|missing| missing.is_nowhere) {
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

/// By which receipt something is left out that is missing here, and what makes it whole.
fn of_base(lines: &mut Lines, base: &MissingBase) {
    let MissingBase { bundle, written_by, receipt, receipt_of, made, .. } = base;
    let whose = match base.receipt_of == base.this_registry {
        true => "this registry, which has not all of that any more".to_owned(),
        false => format!(
            "the registry {receipt_of}, for which the bundle is meant, and not for this one, {}",
            base.this_registry
        ),
    };
    lines.line(format_args!(
        "the bundle {bundle} leaves out what the receipt {receipt} names, written on {} by {whose}",
        time(*made)
    ));
    // With too many of them all is meant that the other side has.
    let images = match base.images.len() <= TYPED_IMAGES {
        true => base.images.iter().map(|image| format!(" {image}")).collect(),
        false => String::new(),
    };
    lines.line(format_args!(
        "to get it whole, type here: registry receipt FILE; on the registry {written_by}: registry \
         export DEST --since FILE{images}; and here: registry import DEST"
    ));
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
/// Images that anybody types one after the other.
const TYPED_IMAGES: usize = 8;
