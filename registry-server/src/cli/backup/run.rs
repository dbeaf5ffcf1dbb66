//! One run of a backup: on this side whoever runs the command, on the other the owner of the data.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::bail;
use installer::paths::{CONFIG_FILE, OWN_CERTIFICATE, OWN_KEY, ROOT_KEY};
use oci::{Algorithm, Digest};
use storage::backup::{Filling, SmallFiles, Taken, read_small};
use storage::{Layout, NamedBlob};

use super::Summary;
use super::place::check_space;
use super::source::Source;
use crate::cli::beside::Owner;
use crate::cli::meter::Meter;
use crate::config::installed_data_dir;

/// One run of a backup.
pub(super) struct Run<'a> {
    owner: &'a Owner<Source>,
    filling: Filling,
    meter: &'a Meter,
    /// Blobs of earlier backups that went bad there.
    wrong_there: BTreeSet<Digest>,
    summary: Summary,
}

impl<'a> Run<'a> {
    /// A run that has done nothing yet.
    pub(super) fn new(owner: &'a Owner<Source>, filling: Filling, meter: &'a Meter) -> Self {
        let (wrong_there, summary) = (BTreeSet::new(), Summary::default());
        Self { owner, filling, meter, wrong_there, summary }
    }

    /// Brings the backup up to date.
    pub(super) fn make(
        mut self,
        directory: &Path,
        data: &Path,
        verify: bool,
    ) -> anyhow::Result<Summary> {
        let database = self.owner.ask(Source::database)??;
        self.summary.database_bytes = database.bytes();
        let needed = self.look(verify)?;
        check_space(directory, needed.saturating_add(database.bytes()))?;
        self.meter.begin("copying blobs", needed);
        for (algorithm, prefix) in Layout::shards() {
            self.copy_shard(algorithm, prefix)?;
        }
        if !self.summary.not_taken.is_empty() && self.owner.ask(Source::is_lost)? {
            bail!(
                "the running server ended meanwhile, and what it removed since is not known: run \
                 this again; the backup before, if there was one, is as it was"
            );
        }
        self.meter.begin("finishing", 0);
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
        self.meter.begin(if verify { "reading the backup" } else { "looking at the backup" }, 0);
        let mut needed = 0_u64;
        for (algorithm, prefix) in Layout::shards() {
            for blob in self.shard(algorithm, prefix)? {
                let is_there = self.filling.blobs().has(&blob.digest, blob.size);
                if is_there && verify && !self.filling.blobs().is_right(&blob.digest, blob.size)? {
                    self.wrong_there.insert(blob.digest);
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
                None => Taken::Wrong,
                Some(file) => {
                    self.filling.blobs().take(&digest, blob.size, file, &mut |count| {
                        self.meter.advance(count);
                        ControlFlow::Continue(())
                    })?
                }
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
            self.filling.blobs().sync_shard(algorithm, prefix)?;
        }
        Ok(())
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
            files.insert(path.trim_start_matches('/').to_owned(), content);
        }
    }
    Ok(files)
}

/// Whether this is the directory of the registry that is installed on this host.
pub(in crate::cli) fn is_installed(data: &Path) -> bool {
    let config = Path::new(CONFIG_FILE);
    let installed = installed_data_dir(config).ok().filter(|_| config.exists());
    installed.is_some_and(|installed| installed.canonicalize().unwrap_or(installed) == data)
}

/// What a file of so many bytes takes of a disk, mostly.
pub(in crate::cli) fn on_disk(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(bytes)
}

/// What file systems count files in, mostly.
const BLOCK_BYTES: u64 = 4096;
