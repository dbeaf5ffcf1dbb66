//! `registry restore`: a data directory from a backup, whole or not at all.

use std::fs::{self, Permissions};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use durable::make_with_parents;
use installer::paths::{CONFIG_FILE, OWN_CERTIFICATE, OWN_KEY, ROOT_KEY};
use oci::{Algorithm, Digest};
use serde::Serialize;
use storage::backup::{BackupError, Origin, Restoring, SmallFiles, Taken, read_small};
use storage::{DATA_MODE, Layout, StorageError, shell_word};

use super::DataDir;
use super::backup::{check_space, is_installed, lies_inside, on_disk};
use super::beside::{Owner, beside};
use super::install::quoted;
use super::meter::Meter;
use super::words::{bytes, counted, duration, time};
use crate::config::Settings;
use crate::control::{check_medium, is_network_fs_allowed};
use crate::text::{Page, print, print_json};

/// The flags of `restore`.
#[derive(Args)]
pub(super) struct RestoreArgs {
    #[command(flatten)]
    data: DataDir,
    /// The directory that `registry backup` wrote
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Fills the data directory, which must be empty or not there yet, and tells what to type next.
pub(super) fn run(args: RestoreArgs) -> anyhow::Result<()> {
    let directory = std::path::absolute(&args.directory)?;
    let data = std::path::absolute(args.data.path()?)?;
    let begun = Instant::now();
    // Whoever owns the backup could have laid links in it, which lead him nowhere new.
    let owner_of_backup = rustix::process::geteuid().is_root().then_some(directory.as_path());
    let begin = {
        let directory = directory.clone();
        move || Ok(Origin::open(&directory)?)
    };
    let (mut summary, data) = beside(owner_of_backup, begin, |origin| {
        if lies_inside(&data, &directory)? {
            bail!(
                "{} lies inside the backup in {}, which stays as it is: choose another data \
                 directory",
                data.display(),
                directory.display()
            );
        }
        // Before hours of copying to where no server would open it.
        check_medium(&data)?;
        make(&data)?;
        let data = data.canonicalize()?;
        let mut summary = restore(&data, origin)?;
        summary.next = next(&data, &directory, origin)?;
        Ok((summary, data))
    })?;
    summary.seconds = begun.elapsed().as_secs();
    match args.json {
        true => print_json(&summary)?,
        false => print(&summary.text(&data, &directory))?,
    }
    match summary.missing.as_slice() {
        [] => Ok(()),
        missing => bail!(
            "the registry is restored but for {} that the backup has not, or not with the \
             right bytes: {}; after the start type `registry verify`, which tells what they belong \
             to, and push that again",
            counted(missing.len() as u64, "blob"),
            missing.join(", ")
        ),
    }
}

/// Fills the directory as its owner.
fn restore(data: &Path, origin: &Owner<Origin>) -> anyhow::Result<Summary> {
    let meter = Arc::new(Meter::new());
    let begin = || Ok(Some(Restoring::begin(data)?));
    let outcome = beside(Some(data), begin, |owner| {
        let mut run = Run { owner, origin, meter: &meter, summary: Summary::default() };
        run.make(data)?;
        owner.ask(|restoring| restoring.take().map(Restoring::finish))?.transpose()?;
        Ok(run.summary)
    });
    meter.end();
    outcome
}

/// What was done.
#[derive(Debug, Default, Serialize)]
struct Summary {
    copied_blobs: u64,
    copied_bytes: u64,
    /// From a restore that was cut short.
    present_blobs: u64,
    made_at: Option<i64>,
    /// Blobs that the database names and that are not there.
    missing: Vec<String>,
    seconds: u64,
    /// What to type next.
    next: String,
}

impl Summary {
    fn text(&self, data: &Path, directory: &Path) -> Page {
        let made_at = self.made_at.map(time).unwrap_or_default();
        let rows = [
            ("backup of", made_at),
            ("blobs copied", format!("{}, {}", self.copied_blobs, bytes(self.copied_bytes))),
            ("already there", self.present_blobs.to_string()),
            ("time", duration(self.seconds)),
        ];
        let (data, directory) = (data.display(), directory.display());
        let mut page = Page::of(format_args!("{data} is restored from {directory}"));
        rows.iter().for_each(|(name, value)| page.line(format_args!("{name:<14}{value}")));
        page.line("Next, type:");
        page.line(format_args!("  {}", self.next));
        page.line(
            "The first backup into that directory needs --take-over: the registry that wrote it \
             may live on.",
        );
        page
    }
}

/// One run of a restore: on one side the owner of the backup, on the other the owner of the data.
struct Run<'a> {
    owner: &'a Owner<Option<Restoring>>,
    origin: &'a Owner<Origin>,
    meter: &'a Arc<Meter>,
    summary: Summary,
}

impl Run<'_> {
    fn make(&mut self, data: &Path) -> anyhow::Result<()> {
        self.summary.made_at = self.origin.ask(|origin| origin.made_at())?;
        let database = self.origin.ask(|origin| origin.open_database())??;
        let mut needed = database.bytes();
        for (algorithm, prefix) in Layout::shards() {
            for (digest, size) in self.shard(algorithm, prefix)? {
                let is_there =
                    self.ask(move |restoring| Ok(restoring.blobs().has(&digest, size)))?;
                needed = needed.saturating_add(if is_there { 0 } else { on_disk(size) });
            }
        }
        check_space(data, needed)?;
        self.meter.begin("copying blobs", needed);
        for (algorithm, prefix) in Layout::shards() {
            self.copy_shard(algorithm, prefix)?;
        }
        let tls = self.tls()?;
        let init_password = read(self.origin, Origin::init_password)?;
        let from = self.origin.ask(|origin| origin.path().to_owned())?;
        let missing = self.ask(move |restoring| {
            let missing = restoring.place(&database, &tls, init_password.as_deref());
            // What is here was copied from there just now.
            Ok(missing.map_err(|error| BackupError::of_backup(&from, error))?)
        })?;
        self.summary.missing = missing.iter().map(ToString::to_string).collect();
        Ok(())
    }

    fn copy_shard(&mut self, algorithm: Algorithm, prefix: u8) -> anyhow::Result<()> {
        let blobs = self.shard(algorithm, prefix)?;
        if blobs.is_empty() {
            return Ok(());
        }
        for (digest, size) in blobs {
            if self.ask(move |restoring| Ok(restoring.blobs().has(&digest, size)))? {
                self.summary.present_blobs += 1;
                continue;
            }
            let file = read(self.origin, move |origin| origin.open_blob(&digest))?;
            let Some(file) = file else { continue };
            let meter = Arc::clone(self.meter);
            let taken = self.ask(move |restoring| {
                let mut tell = |count| {
                    meter.advance(count);
                    ControlFlow::Continue(())
                };
                Ok(restoring.blobs().take(&digest, size, file, &mut tell)?)
            })?;
            // One with wrong bytes is found missing in the end, if the database names it.
            if let Taken::Whole(length) = taken {
                self.summary.copied_blobs += 1;
                self.summary.copied_bytes += length;
            }
        }
        self.ask(move |restoring| Ok(restoring.blobs().sync_shard(algorithm, prefix)?))
    }

    /// Certificates and keys, and with them the root's key where this host does not have it: the
    /// next `install` takes it out of the service's sight again.
    fn tls(&self) -> anyhow::Result<SmallFiles> {
        let mut tls = read(self.origin, Origin::tls)?;
        let key = read(self.origin, |origin| origin.outside(named(ROOT_KEY)))?;
        let here = read_small(Path::new(ROOT_KEY)).ok().flatten();
        if let Some(key) = key.filter(|key| Some(key) != here.as_ref()) {
            tls.entry(certs::TlsFile::RootKey.name().to_owned()).or_insert(key);
        }
        Ok(tls)
    }

    fn shard(&self, algorithm: Algorithm, prefix: u8) -> anyhow::Result<Vec<(Digest, u64)>> {
        Ok(self.origin.ask(move |origin| origin.shard(algorithm, prefix))??)
    }

    fn ask<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Restoring) -> anyhow::Result<R> + Send + 'static,
    ) -> anyhow::Result<R> {
        self.owner.ask(move |restoring| {
            work(restoring.as_ref().context("the restore has ended before its time")?)
        })?
    }
}

/// Makes a data directory that is missing: anybody may pass through it, to the CA.
fn make(data: &Path) -> anyhow::Result<()> {
    if data.exists() {
        return Ok(());
    }
    make_with_parents(data)?;
    fs::set_permissions(data, Permissions::from_mode(DATA_MODE))
        .with_context(|| format!("cannot set the mode of {}", data.display()))
}

/// Reads from the backup, which is to blame for damage that shows.
fn read<R: Send + 'static>(
    origin: &Owner<Origin>,
    work: impl FnOnce(&Origin) -> Result<R, StorageError> + Send + 'static,
) -> anyhow::Result<R> {
    origin.ask(move |origin| {
        let outcome = work(origin);
        Ok(outcome.map_err(|error| BackupError::of_backup(origin.path(), error))?)
    })?
}

/// How a file of the host is called in a backup.
fn named(path: &str) -> &str {
    path.trim_start_matches('/')
}

/// What starts the registry that was restored, for root to type: what the backup's settings say is
/// words of it, whatever they are.
fn next(data: &Path, directory: &Path, origin: &Owner<Origin>) -> anyhow::Result<String> {
    let program = std::env::args().next().unwrap_or_else(|| "registry".to_owned());
    let program = shell_word(&program);
    let network_fs = if is_network_fs_allowed(data) { NETWORK_FS } else { "" };
    if is_installed(data) {
        return Ok(format!("{program} install{network_fs}"));
    }
    let Some(settings) = read(origin, |origin| origin.outside(named(CONFIG_FILE)))? else {
        return Ok(format!("{program} serve --data-dir {}{network_fs}", quoted(data)));
    };
    let at = |path: &str| directory.join(named(path));
    let settings = Settings::parse(&String::from_utf8_lossy(&settings), &at(CONFIG_FILE))?;
    let mut line = format!("{program} install --data-dir {}", quoted(data));
    settings.hostname.iter().for_each(|name| line += &flag("--hostname", name));
    settings.listen.iter().for_each(|address| line += &flag("--listen", &address.to_string()));
    if let Some(user) = settings.init_user {
        line += &flag("--init-user", &user);
    }
    if settings.open_pulls == Some(true) {
        line += " --open-pulls";
    }
    if settings.tls_cert.is_some() {
        let (certificate, key) = (quoted(&at(OWN_CERTIFICATE)), quoted(&at(OWN_KEY)));
        line += &format!(" --tls-cert {certificate} --tls-key {key}");
    }
    if settings.allow_network_fs == Some(true) || !network_fs.is_empty() {
        line += NETWORK_FS;
    }
    Ok(line)
}

/// A flag with its value, which is no flag itself, whatever it begins with.
fn flag(name: &str, value: &str) -> String {
    match value.starts_with('-') {
        true => format!(" {}", shell_word(&format!("{name}={value}"))),
        false => format!(" {name} {}", shell_word(value)),
    }
}

const NETWORK_FS: &str = " --allow-network-fs";
