//! `registry backup`: a copy of the registry on another disk, made while it serves.

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use storage::backup::{SmallFiles, Taken, Target, open_regular, read_directory, read_small};
use storage::{Algorithm, BlobIndex, Digest, DiskSpace, Layout, NamedBlob, StorageError};

use super::DataDir;
use super::beside::{Owner, beside_owner_of};
use super::install::{OWN_CERTIFICATE, OWN_KEY, ROOT_KEY};
use super::meter::Meter;
use super::words::{bytes, counted, duration};
use super::{print, print_json};
use crate::admin::{self, Command, Lease, Progress, Reply};
use crate::config::{CONFIG_FILE, installed_data_dir};

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
        move || Source::begin(&data, &meter)
    };
    let work = |owner: &Owner<Source>| {
        let (identity, database) = owner.ask(Source::identify)??;
        let target = Target::open(&directory, &identity)?;
        let wrong_there = BTreeSet::new();
        let summary = Summary::default();
        let mut run = Run { owner, target, meter: &meter, wrong_there, summary };
        run.make(&directory, &data, &database, args.verify)?;
        Ok(run.summary)
    };
    let outcome = beside_owner_of(&data, begin, work);
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
    fn text(&self, data: &Path, directory: &Path) -> String {
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
        let rows = rows.iter().map(|(name, value)| format!("{name:<14}{value}\n"));
        let head = format!("{} is backed up in {}\n", data.display(), directory.display());
        head + &rows.collect::<String>()
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

/// What is at work as the owner of the data: it opens files and reads the snapshot.
struct Source {
    layout: Layout,
    index: BlobIndex,
    /// Opened at once: it goes when the server that keeps it ends.
    database: Option<File>,
    lease: Lease,
}

impl Source {
    fn begin(data: &Path, meter: &Meter) -> anyhow::Result<Self> {
        let mut tell = |progress: &Progress| {
            meter.begin(&progress.task, 0);
            ControlFlow::Continue(())
        };
        let (reply, lease) = admin::run_leased(data, Command::Backup, &mut tell)?;
        let (Reply::Snapshot(name), Some(lease)) = (reply, lease) else {
            bail!("the running server's answer makes no sense")
        };
        let path = data.join(name);
        let index = BlobIndex::open(&path)?;
        let database = open_regular(&path)?;
        Ok(Self { layout: Layout::new(data), index, database, lease })
    }

    fn identify(&mut self) -> anyhow::Result<(String, File)> {
        let database = self.database.take().context("the copy of the database is gone")?;
        Ok((self.index.identity()?, database))
    }

    /// Opens a blob; `None` if it is not there, or cannot be opened.
    fn open(&mut self, digest: &Digest) -> Option<File> {
        open_regular(&self.layout.blob_file(digest)).ok().flatten()
    }

    /// Certificates and keys that fit each other: the server replaces them one after the other, so
    /// they are read until they stay the same.
    fn tls(&mut self) -> Result<SmallFiles, StorageError> {
        let mut before = read_directory(&self.layout.tls())?;
        loop {
            let now = read_directory(&self.layout.tls())?;
            if now == before {
                return Ok(now);
            }
            before = now;
        }
    }
}

/// One run of a backup.
struct Run<'a> {
    owner: &'a Owner<Source>,
    target: Target,
    meter: &'a Meter,
    /// Blobs of earlier backups that went bad there.
    wrong_there: BTreeSet<Digest>,
    summary: Summary,
}

impl Run<'_> {
    fn make(
        &mut self,
        directory: &Path,
        data: &Path,
        database: &File,
        verify: bool,
    ) -> anyhow::Result<()> {
        self.summary.database_bytes = database.metadata()?.len();
        let needed = self.look(verify)?;
        check_space(directory, needed + self.summary.database_bytes)?;
        self.meter.begin("copying blobs", needed);
        for (algorithm, prefix) in Layout::shards() {
            self.copy_shard(algorithm, prefix)?;
        }
        if !self.summary.not_taken.is_empty() && self.owner.ask(|source| source.lease.is_lost())? {
            bail!(
                "the running server ended meanwhile, and what it removed since is not known: run \
                 this again; the backup before, if there was one, is as it was"
            );
        }
        self.meter.begin("finishing", 0);
        let outside = outside(data)?;
        self.target.place_outside(&outside)?;
        let tls = self.owner.ask(Source::tls)??;
        let init_password =
            self.owner.ask(|source| read_small(&source.layout.init_password()))??;
        self.target.place(database, &tls, init_password.as_deref())?;
        self.summary.outside = outside.keys().map(|name| format!("/{name}")).collect();
        for (algorithm, prefix) in Layout::shards() {
            let named: Vec<_> =
                self.shard(algorithm, prefix)?.iter().map(|blob| blob.digest).collect();
            self.summary.removed_blobs += self.target.keep_only(algorithm, prefix, &named)?;
        }
        Ok(())
    }

    /// Looks what is there already, and says how many bytes of blobs are to be copied.
    fn look(&mut self, verify: bool) -> anyhow::Result<u64> {
        self.meter.begin(if verify { "reading the backup" } else { "looking at the backup" }, 0);
        let mut needed = 0;
        for (algorithm, prefix) in Layout::shards() {
            for blob in self.shard(algorithm, prefix)? {
                let is_there = self.target.blobs().has(&blob.digest, blob.size);
                if is_there && verify && !self.target.blobs().is_right(&blob.digest, blob.size)? {
                    self.wrong_there.insert(blob.digest);
                }
                if self.is_present(&blob) {
                    self.summary.present_blobs += 1;
                    self.summary.present_bytes += blob.size;
                } else {
                    needed += blob.size.next_multiple_of(BLOCK_BYTES);
                }
            }
        }
        Ok(needed)
    }

    fn copy_shard(&mut self, algorithm: Algorithm, prefix: u8) -> anyhow::Result<()> {
        let blobs = self.shard(algorithm, prefix)?;
        // Also where nothing is new: a run that was cut short may have left it so.
        let is_empty = blobs.is_empty();
        for blob in blobs {
            if self.is_present(&blob) {
                continue;
            }
            let digest = blob.digest;
            let taken = match self.owner.ask(move |source| source.open(&digest))? {
                // None holds it any more, and collection was faster.
                None if !blob.is_held => continue,
                None => Taken::Wrong,
                Some(file) => self.target.blobs().take(&digest, file, &mut |count| {
                    self.meter.advance(count);
                    ControlFlow::Continue(())
                })?,
            };
            match taken {
                Taken::Wrong => self.summary.not_taken.push(digest.to_string()),
                Taken::Whole(length) => {
                    self.summary.copied_blobs += 1;
                    self.summary.copied_bytes += length;
                }
            }
        }
        if !is_empty {
            self.target.blobs().sync_shard(algorithm, prefix)?;
        }
        Ok(())
    }

    fn is_present(&self, blob: &NamedBlob) -> bool {
        !self.wrong_there.contains(&blob.digest) && self.target.blobs().has(&blob.digest, blob.size)
    }

    fn shard(&self, algorithm: Algorithm, prefix: u8) -> anyhow::Result<Vec<NamedBlob>> {
        Ok(self.owner.ask(move |source| source.index.shard(algorithm, prefix))??)
    }
}

/// Refuses a directory inside the data, and one that is lost together with them.
fn check_place(directory: &Path, data: &Path, may_be_same: bool) -> anyhow::Result<()> {
    if lies_inside(directory, data)? {
        bail!(
            "{} lies inside the registry's own data in {}: choose a directory on another disk",
            directory.display(),
            data.display()
        );
    }
    if id(&existing(directory)?)?.0 == id(data)?.0 && !may_be_same {
        bail!(
            "{} is on the same file system as the registry in {} and would be lost with it: mount \
             the disk that is meant for backups, or choose a directory on another one; \
             --same-file-system makes a copy here even so",
            directory.display(),
            data.display()
        );
    }
    Ok(())
}

/// Whether a directory, which may not be there yet, is this one or lies in it, by whatever name.
pub(super) fn lies_inside(directory: &Path, outer: &Path) -> anyhow::Result<bool> {
    let outer = id(outer)?;
    for above in existing(directory)?.ancestors() {
        if id(above)? == outer {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The directory itself, or the closest above that is there.
fn existing(directory: &Path) -> anyhow::Result<PathBuf> {
    let there = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    there.canonicalize().with_context(|| there.display().to_string())
}

/// What tells a directory from all others, and first its file system.
fn id(path: &Path) -> anyhow::Result<(u64, u64)> {
    let found = path.metadata().with_context(|| format!("cannot look at {}", path.display()))?;
    Ok((found.dev(), found.ino()))
}

/// Refuses to begin what the disk has no space for.
pub(super) fn check_space(directory: &Path, needed: u64) -> anyhow::Result<()> {
    let free = DiskSpace::of(directory)?.free_bytes;
    if free < needed {
        bail!(
            "there is no space in {}: {} are needed and {} are free; free some, or choose another \
             disk",
            directory.display(),
            bytes(needed),
            bytes(free)
        );
    }
    Ok(())
}

/// What lies outside of the data and is needed to make a host this registry again, if the data are
/// the installed registry's and root asks.
fn outside(data: &Path) -> anyhow::Result<SmallFiles> {
    let mut files = SmallFiles::new();
    if !is_installed(data) || !rustix::process::geteuid().is_root() {
        return Ok(files);
    }
    for path in [CONFIG_FILE, ROOT_KEY, OWN_CERTIFICATE, OWN_KEY] {
        if let Some(content) = read_small(Path::new(path))? {
            files.insert(path.trim_start_matches('/').to_owned(), content);
        }
    }
    Ok(files)
}

/// Whether this is the directory of the registry that is installed on this host.
pub(super) fn is_installed(data: &Path) -> bool {
    let config = Path::new(CONFIG_FILE);
    let installed = installed_data_dir(config).ok().filter(|_| config.exists());
    installed.is_some_and(|installed| installed.canonicalize().unwrap_or(installed) == data)
}

/// What file systems count files in, mostly.
pub(super) const BLOCK_BYTES: u64 = 4096;
