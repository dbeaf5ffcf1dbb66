//! Filling a data directory from a backup, whole or not at all.

use std::fs::{self, Permissions};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use durable::make_with_parents;
use installer::paths::{CONFIG_FILE, ROOT_KEY};
use oci::{Algorithm, Digest};
use serde::Serialize;
use storage::backup::{
    BackupError, CopyOutcome, Origin, Restoring, SmallFiles, name_in_backup, read_small,
};
use storage::{DATA_MODE, Layout, StorageError};

use super::destination::{check_space, lies_inside, on_disk};
use super::listener::{Event, Listener};
use super::owner_thread::{OwnerThread, with_owner_thread};
use crate::config::is_installed;
use crate::control::check_medium;

/// What a restore did.
#[derive(Debug, Default, Serialize)]
pub(crate) struct RestoreSummary {
    pub(crate) copied_blobs: u64,
    pub(crate) copied_bytes: u64,
    /// From a restore that was cut short.
    pub(crate) present_blobs: u64,
    pub(crate) made_at: Option<i64>,
    /// Blobs that the database names and that are not there.
    pub(crate) missing: Vec<String>,
    pub(crate) seconds: u64,
}

/// A data directory that was filled.
pub(crate) struct RestoreReport {
    /// What was done.
    pub(crate) summary: RestoreSummary,
    /// The directory, by its own name.
    pub(crate) data: PathBuf,
    /// The settings of the host that was backed up, in TOML, unless this host has its own for the
    /// directory.
    pub(crate) settings: Option<Vec<u8>>,
}

/// Fills a data directory, which must be empty or not there yet, from the backup in `directory`.
///
/// # Errors
/// What keeps it from being filled, but for blobs that the backup has not: the summary names them.
pub(crate) fn restore(
    directory: &Path,
    data: &Path,
    listener: &Listener,
) -> anyhow::Result<RestoreReport> {
    let begun = Instant::now();
    // Whoever owns the backup could have laid links in it, which lead him nowhere new.
    let owner_of_backup = rustix::process::geteuid().is_root().then_some(directory);
    let begin = || Ok(Origin::open(directory)?);
    let mut report = with_owner_thread(owner_of_backup, begin, |origin| {
        if lies_inside(data, directory)? {
            bail!(
                "{} lies inside the backup in {}, which stays as it is: choose another data \
                 directory",
                data.display(),
                directory.display()
            );
        }
        // Before hours of copying to where no server would open it.
        check_medium(data)?;
        make(data)?;
        let data = data.canonicalize()?;
        let summary = fill(&data, origin, listener)?;
        let settings = match is_installed(&data) {
            true => None,
            false => read(origin, |origin| origin.outside(name_in_backup(CONFIG_FILE)))?,
        };
        Ok(RestoreReport { summary, data, settings })
    })?;
    report.summary.seconds = begun.elapsed().as_secs();
    Ok(report)
}

/// Fills the directory as its owner.
fn fill(
    data: &Path,
    origin: &OwnerThread<Origin>,
    listener: &Listener,
) -> anyhow::Result<RestoreSummary> {
    let begin = || Ok(Some(Restoring::begin(data)?));
    with_owner_thread(Some(data), begin, |owner| {
        let mut run = RestoreRun { owner, origin, listener, summary: RestoreSummary::default() };
        run.make(data)?;
        owner.ask(|restoring| restoring.take().map(Restoring::finish))?.transpose()?;
        Ok(run.summary)
    })
}

/// One run of a restore: on one side the owner of the backup, on the other the owner of the data.
struct RestoreRun<'a> {
    owner: &'a OwnerThread<Option<Restoring>>,
    origin: &'a OwnerThread<Origin>,
    listener: &'a Listener,
    summary: RestoreSummary,
}

impl RestoreRun<'_> {
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
        (self.listener)(Event::Begins { task: "copying blobs", bytes: Some(needed) });
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
            let listener = Arc::clone(self.listener);
            let taken = self.ask(move |restoring| {
                let mut tell = |count| {
                    listener(Event::Copied(count));
                    ControlFlow::Continue(())
                };
                Ok(restoring.blobs().take(&digest, size, &file, &mut tell)?)
            })?;
            // One with wrong bytes is found missing in the end, if the database names it.
            if let CopyOutcome::Whole(length) = taken {
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
        let key = read(self.origin, |origin| origin.outside(name_in_backup(ROOT_KEY)))?;
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
    origin: &OwnerThread<Origin>,
    work: impl FnOnce(&Origin) -> Result<R, StorageError> + Send + 'static,
) -> anyhow::Result<R> {
    origin.ask(move |origin| {
        let outcome = work(origin);
        Ok(outcome.map_err(|error| BackupError::of_backup(origin.path(), error))?)
    })?
}
