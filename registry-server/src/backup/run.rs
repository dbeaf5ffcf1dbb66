//! One run of a backup: on this side whoever runs the command, on the other the owner of the data.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::bail;
use installer::paths::{CONFIG_FILE, OWN_CERTIFICATE, OWN_KEY, ROOT_KEY};
use oci::{Algorithm, Digest};
use serde::Serialize;
use storage::backup::{CopyOutcome, Filling, SmallFiles, name_in_backup, read_small};
use storage::{Layout, NamedBlob};

use super::destination::{check_space, on_disk};
use super::listener::{Event, Listener};
use super::owner_thread::OwnerThread;
use super::source::Source;
use crate::config::is_installed;

/// What a run of a backup did.
#[derive(Debug, Default, Serialize)]
pub(crate) struct BackupSummary {
    pub(crate) copied_blobs: u64,
    pub(crate) copied_bytes: u64,
    pub(crate) present_blobs: u64,
    pub(crate) present_bytes: u64,
    pub(crate) removed_blobs: u64,
    pub(crate) database_bytes: u64,
    /// Files of the host.
    pub(crate) outside: Vec<String>,
    /// Blobs whose bytes are wrong or gone in the registry.
    pub(crate) not_taken: Vec<String>,
    pub(crate) seconds: u64,
}

/// One run of a backup.
pub(super) struct BackupRun<'a> {
    owner: &'a OwnerThread<Source>,
    filling: Filling,
    listener: &'a Listener,
    /// Blobs of earlier backups that went bad there.
    wrong_there: BTreeSet<Digest>,
    summary: BackupSummary,
}

impl<'a> BackupRun<'a> {
    /// A run that has done nothing yet.
    pub(super) fn new(
        owner: &'a OwnerThread<Source>,
        filling: Filling,
        listener: &'a Listener,
    ) -> Self {
        let (wrong_there, summary) = (BTreeSet::new(), BackupSummary::default());
        Self { owner, filling, listener, wrong_there, summary }
    }

    /// Brings the backup up to date.
    pub(super) fn make(
        mut self,
        directory: &Path,
        data: &Path,
        verify: bool,
    ) -> anyhow::Result<BackupSummary> {
        let database = self.owner.ask(Source::database)??;
        self.summary.database_bytes = database.bytes();
        let needed = self.look(verify)?;
        check_space(directory, needed.saturating_add(database.bytes()))?;
        self.begins("copying blobs", Some(needed));
        for (algorithm, prefix) in Layout::shards() {
            self.copy_shard(algorithm, prefix)?;
        }
        if !self.summary.not_taken.is_empty() && self.owner.ask(Source::is_lost)? {
            bail!(
                "the running server ended meanwhile, and what it removed since is not known: run \
                 this again; the backup before, if there was one, is as it was"
            );
        }
        self.begins("finishing", None);
        let outside = outside(data)?;
        self.filling.place_outside(&outside)?;
        let tls = self.owner.ask(|source| source.tls())??;
        let init_password = self.owner.ask(|source| source.init_password())??;
        self.filling.place(&database, &tls, init_password.as_deref())?;
        self.summary.outside = outside.keys().map(|name| format!("/{name}")).collect();
        for (algorithm, prefix) in Layout::shards() {
            let named: Vec<_> =
                self.shard(algorithm, prefix)?.iter().map(|blob| blob.digest).collect();
            self.summary.removed_blobs += self.filling.keep_only(algorithm, prefix, &named)?;
        }
        Ok(self.summary)
    }

    /// Looks what is there already, and says how many bytes of blobs are to be copied.
    fn look(&mut self, verify: bool) -> anyhow::Result<u64> {
        let task = if verify { "reading the backup" } else { "looking at the backup" };
        self.begins(task, None);
        let mut needed = 0_u64;
        for (algorithm, prefix) in Layout::shards() {
            for blob in self.shard(algorithm, prefix)? {
                let is_there = self.filling.blobs().has(&blob.digest, blob.size);
                if is_there && verify {
                    self.owner.ask(|source| source.go_on())?;
                    if !self.filling.blobs().is_right(&blob.digest, blob.size)? {
                        self.wrong_there.insert(blob.digest);
                    }
                }
                if self.is_present(&blob) {
                    self.summary.present_blobs += 1;
                    self.summary.present_bytes += blob.size;
                } else {
                    needed = needed.saturating_add(on_disk(blob.size));
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
                None => CopyOutcome::Wrong,
                Some(file) => {
                    self.filling.blobs().take(&digest, blob.size, &file, &mut |count| {
                        (self.listener)(Event::Copied(count));
                        // Who has ended says so when the next one is asked for.
                        let _ = self.owner.ask(|source| source.go_on());
                        ControlFlow::Continue(())
                    })?
                }
            };
            match taken {
                CopyOutcome::Wrong => self.summary.not_taken.push(digest.to_string()),
                CopyOutcome::Whole(length) => {
                    self.summary.copied_blobs += 1;
                    self.summary.copied_bytes += length;
                }
            }
        }
        if !is_empty {
            self.filling.blobs().sync_shard(algorithm, prefix)?;
        }
        Ok(())
    }

    fn begins(&self, task: &str, bytes: Option<u64>) {
        (self.listener)(Event::Begins { task, bytes });
    }

    fn is_present(&self, blob: &NamedBlob) -> bool {
        !self.wrong_there.contains(&blob.digest)
            && self.filling.blobs().has(&blob.digest, blob.size)
    }

    fn shard(&self, algorithm: Algorithm, prefix: u8) -> anyhow::Result<Vec<NamedBlob>> {
        Ok(self.owner.ask(move |source| source.shard(algorithm, prefix))??)
    }
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
            files.insert(name_in_backup(path).to_owned(), content);
        }
    }
    Ok(files)
}
