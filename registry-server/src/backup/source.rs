//! The registry that is backed up, as its owner sees it.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, bail};
use durable::{Links, open_regular};
use oci::{Algorithm, Digest};
use storage::backup::generation::{FoundBackup, Generation};
use storage::backup::{DatabaseFiles, SmallFiles, read_directory, read_small};
use storage::{BlobIndex, Layout, NamedBlob, StorageError, Store};

use super::listener::{Event, Listener};
use crate::command::Progress;
use crate::command::data::{BeginBackup, SnapshotPlace, TakeSnapshot};
use crate::control::{self, Lease, Leased};

/// What is at work as the owner of the data: it opens files and reads the database.
pub(super) struct Source {
    layout: Layout,
    from: From,
    is_read_only: bool,
}

/// Where the database is read.
enum From {
    /// A snapshot that a running server keeps.
    Snapshot {
        index: Box<BlobIndex>,
        /// Opened at once: it goes when the server ends.
        database: Option<DatabaseFiles>,
        lease: Lease,
    },
    /// The store itself, which nobody else owns meanwhile and nobody writes to.
    Store(Box<Store>),
}

impl Source {
    /// Has the running server take a snapshot, or, where none runs or may run, opens the store.
    pub(super) fn begin(data: &Path, must_rest: bool, listener: &Listener) -> anyhow::Result<Self> {
        let layout = Layout::new(data);
        let mut tell = |progress: &Progress| {
            listener(Event::Begins { task: &progress.task, bytes: None });
            ControlFlow::Continue(())
        };
        let leased = match must_rest {
            false => control::run_leased(data, &TakeSnapshot {}, &mut tell)?,
            true => match control::own(data)? {
                Some(store) => Leased::Store(store),
                None => bail!(
                    "the registry in {} serves, and --stopped is for one that rests: `systemctl \
                     stop registry`, the same command again, then `systemctl start registry`",
                    data.display()
                ),
            },
        };
        match leased {
            Leased::Server { reply: SnapshotPlace { name, is_copy }, lease } => {
                // It lies in the data directory, and nowhere that the name of another leads to.
                if Path::new(&name).file_name() != Some(name.as_ref()) {
                    bail!("the running server's answer makes no sense");
                }
                let path = data.join(name);
                // Before anything is read of it: what is written after that is noticed.
                let (database, index) = match is_copy {
                    true => {
                        let none = path.with_extension("none");
                        (DatabaseFiles::open(&path, &none)?, BlobIndex::open(&path)?)
                    }
                    false => {
                        let log = layout.database_log();
                        (DatabaseFiles::open(&path, &log)?, BlobIndex::open_frozen(&path)?)
                    }
                };
                let database = Some(database);
                let from = From::Snapshot { index: Box::new(index), database, lease };
                Ok(Self { layout, from, is_read_only: !is_copy })
            }
            Leased::Store(store) => {
                store.check_database(&mut || {
                    listener(Event::Begins { task: "checking the database", bytes: None });
                    ControlFlow::Continue(())
                })?;
                let is_read_only = store.is_read_only();
                Ok(Self { layout, from: From::Store(store), is_read_only })
            }
        }
    }

    /// What tells the store from others.
    pub(super) fn identity(&self) -> Result<String, StorageError> {
        match &self.from {
            From::Snapshot { index, .. } => index.identity(),
            From::Store(store) => store.identity(),
        }
    }

    /// Whether the registry's disk is read-only, so that nothing can be noted there.
    pub(super) fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// Notes in the store that a backup begins; false if another one wrote there last. What lies on
    /// a read-only disk notes nothing, and knows of none.
    pub(super) fn begin_backup(
        &self,
        found: FoundBackup,
        next: Generation,
    ) -> anyhow::Result<bool> {
        match &self.from {
            _ if self.is_read_only => Ok(found == FoundBackup::Free),
            From::Store(store) => Ok(store.begin_backup(found, next)?),
            From::Snapshot { .. } => control::run(self.layout.root(), BeginBackup { found, next }),
        }
    }

    /// The files of the database, once.
    pub(super) fn database(&mut self) -> anyhow::Result<DatabaseFiles> {
        match &mut self.from {
            From::Snapshot { database, .. } => {
                database.take().context("the copy of the database is gone")
            }
            From::Store(store) => Ok(store.database_files()?),
        }
    }

    /// Says that this process is at work, to whoever keeps the snapshot for it.
    pub(super) fn go_on(&self) {
        if let From::Snapshot { lease, .. } = &self.from {
            lease.go_on();
        }
    }

    /// The blobs of one directory below `blobs/`.
    pub(super) fn shard(
        &self,
        algorithm: Algorithm,
        prefix: u8,
    ) -> Result<Vec<NamedBlob>, StorageError> {
        self.go_on();
        match &self.from {
            From::Snapshot { index, .. } => index.shard(algorithm, prefix),
            From::Store(store) => store.named_blobs(algorithm, prefix),
        }
    }

    /// Opens a blob; `None` if it is not there, or cannot be opened.
    pub(super) fn open(&self, digest: &Digest) -> Option<File> {
        open_regular(&self.layout.blob_file(digest), Links::Refuse).ok().flatten()
    }

    /// Certificates and keys that fit each other: the server replaces them one after the other, so
    /// they are read until they stay the same.
    pub(super) fn tls(&self) -> anyhow::Result<SmallFiles> {
        let mut before = read_directory(&self.layout.tls())?;
        for _ in 0..TLS_READS {
            let now = read_directory(&self.layout.tls())?;
            if now == before {
                return Ok(now);
            }
            before = now;
        }
        bail!("the files in {} change all the time", self.layout.tls().display())
    }

    /// The first user's password, if it was made up and holds.
    pub(super) fn init_password(&self) -> Result<Option<Vec<u8>>, StorageError> {
        read_small(&self.layout.init_password())
    }

    /// Whether the server that kept the snapshot has ended: blobs may be gone since.
    pub(super) fn is_lost(&mut self) -> bool {
        match &mut self.from {
            From::Snapshot { lease, .. } => lease.is_lost(),
            From::Store(_) => false,
        }
    }
}

/// How often certificates and keys are read until they stay the same: a renewal takes less time
/// than a few of these.
const TLS_READS: u32 = 1000;
