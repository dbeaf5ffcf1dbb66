//! `registry backup`: a copy of the registry on another disk, made while it serves or rests.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use storage::StorageError;
use storage::backup::generation::Found;
use storage::backup::{BackupError, Filling, Target};

use super::DataDir;
use super::beside::{Owner, beside};
use super::meter::Meter;
use super::words::{bytes, counted, duration, time};
use crate::text::{Page, print, print_json};

mod place;
mod run;
mod source;

use place::check_place;
pub(super) use place::{check_space, lies_inside};
use run::Run;
pub(super) use run::{is_installed, on_disk};
use source::Source;

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
    let data = args.data.path()?;
    let data = data.canonicalize().map_err(|_| StorageError::NoStore(data.clone()))?;
    let directory = std::path::absolute(&args.directory)?;
    check_place(&directory, &data, args.same_file_system)?;
    let begun = Instant::now();
    let meter = Arc::new(Meter::new());
    let begin = {
        let (data, meter) = (data.clone(), Arc::clone(&meter));
        move || Source::begin(&data, args.stopped, &meter)
    };
    let work = |owner: &Owner<Source>| {
        let target = Target::open(&directory, owner.ask(|source| source.identity())??)?;
        let filling = take(owner, target, &directory, &data, args.take_over)?;
        Run::new(owner, filling, &meter).make(&directory, &data, args.verify)
    };
    let outcome = beside(Some(&data), begin, work);
    meter.end();
    let mut summary = outcome?;
    summary.seconds = begun.elapsed().as_secs();
    match args.json {
        true => print_json(&summary)?,
        false => print(&summary.text(&data, &directory))?,
    }
    match summary.not_taken.is_empty() {
        true => Ok(()),
        false => bail!(summary.complaint()),
    }
}

/// Begins to fill the directory, if the store was the last to write there or the directory is to be
/// taken over. The store knows of it first, unless its disk is read-only: then it goes on by itself
/// only with what is no whole backup yet.
fn take(
    owner: &Owner<Source>,
    target: Target,
    directory: &Path,
    data: &Path,
    may_take_over: bool,
) -> anyhow::Result<Filling> {
    let is_read_only = owner.ask(|source| source.is_read_only())?;
    let may_begin_anew = may_take_over || (is_read_only && target.made_at().is_none());
    let begin = |found: Found| {
        let next = found.next()?;
        let is_ours = owner.ask(move |source| source.begin_backup(found, next))??;
        anyhow::Ok(is_ours.then_some(next))
    };
    let generation = match begin(target.found())? {
        None if may_begin_anew => begin(Found::Free)?,
        generation => generation,
    };
    let generation = match generation {
        Some(generation) => generation,
        None if is_read_only => bail!(BackupError::ReadOnly(directory.to_owned())),
        None => bail!(refusal(&target, directory)),
    };
    let host = installer::own_names().into_iter().next();
    let of = match host {
        Some(host) => format!("the registry in {} on {host}", data.display()),
        None => format!("the registry in {}", data.display()),
    };
    Ok(target.begin(generation, of, is_read_only)?)
}

/// Says who wrote a backup last, and what could be done.
fn refusal(target: &Target, directory: &Path) -> String {
    let directory = directory.display();
    let last = match (target.last_run(), target.made_at()) {
        (Some(last), _) if last.was_read_only => {
            return format!(
                "{directory} is not known to this registry: {} wrote there last, on {}, while its \
                 disk was read-only, so that it could not be noted. If that was this registry, \
                 type the same with --take-over, once; if it was another one, choose another \
                 directory: what only that one has would go from there",
                last.of,
                time(last.begun_at)
            );
        }
        (Some(last), _) => format!("{} wrote there last, on {}", last.of, time(last.begun_at)),
        (None, Some(made_at)) => {
            format!("another one made the backup that is there, on {}", time(made_at))
        }
        (None, None) => "another one began one there".to_owned(),
    };
    format!(
        "{directory} is not this registry's to go on with: {last}, and this one is a copy of it, \
         or was restored since; what only the other one has would go from there. Choose another \
         directory; or, if the other one is given up, type the same with --take-over, which makes \
         it the backup of this registry"
    )
}

/// What was done.
#[derive(Debug, Default, Serialize)]
struct Summary {
    copied_blobs: u64,
    copied_bytes: u64,
    present_blobs: u64,
    present_bytes: u64,
    removed_blobs: u64,
    database_bytes: u64,
    /// Files of the host.
    outside: Vec<String>,
    /// Blobs whose bytes are wrong or gone in the registry.
    not_taken: Vec<String>,
    seconds: u64,
}

impl Summary {
    fn text(&self, data: &Path, directory: &Path) -> Page {
        let blobs = |count, size| format!("{count}, {}", bytes(size));
        let outside = match self.outside.as_slice() {
            [] => "nothing".to_owned(),
            names => names.join(", "),
        };
        let rows = [
            ("blobs copied", blobs(self.copied_blobs, self.copied_bytes)),
            ("already there", blobs(self.present_blobs, self.present_bytes)),
            ("removed", self.removed_blobs.to_string()),
            ("database", bytes(self.database_bytes)),
            ("of the host", outside),
            ("time", duration(self.seconds)),
        ];
        let (data, directory) = (data.display(), directory.display());
        let mut page = Page::of(format_args!("{data} is backed up in {directory}"));
        rows.iter().for_each(|(name, value)| page.line(format_args!("{name:<14}{value}")));
        page
    }

    fn complaint(&self) -> String {
        format!(
            "the backup is whole but for {} whose bytes are wrong or gone in the registry: \
             {}; type `registry verify`, which tells what they belong to, push that again, then \
             back up again",
            counted(self.not_taken.len() as u64, "blob"),
            self.not_taken.join(", ")
        )
    }
}
