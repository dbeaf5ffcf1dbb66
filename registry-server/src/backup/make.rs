//! Making a backup, or bringing one up to date.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use storage::OpenError;
use storage::backup::generation::FoundBackup;
use storage::backup::{BackupError, Filling, Target};

use super::destination::check_place;
use super::listener::Listener;
use super::owner_thread::{OwnerThread, with_owner_thread};
use super::run::{BackupRun, BackupSummary};
use super::source::Source;
use crate::text::format::time;

/// What is to be backed up, where to, and what may be done for it.
pub(crate) struct BackupOrder {
    /// The data directory.
    pub(crate) data: PathBuf,
    /// The directory of the backup.
    pub(crate) directory: PathBuf,
    /// Whether what is there already is read as well.
    pub(crate) verify: bool,
    /// Whether it is made only while no server runs.
    pub(crate) must_rest: bool,
    /// Whether a backup that another registry wrote last becomes this one's.
    pub(crate) may_take_over: bool,
    /// Whether it may lie on the registry's own file system.
    pub(crate) may_share_disk: bool,
}

impl BackupOrder {
    /// Makes the paths whole, whatever they were typed as.
    ///
    /// # Errors
    /// [`OpenError::NoStore`] if there is no data directory.
    pub(crate) fn with_whole_paths(self) -> anyhow::Result<Self> {
        let data = self.data.canonicalize().map_err(|_| OpenError::NoStore(self.data))?;
        Ok(Self { data, directory: std::path::absolute(self.directory)?, ..self })
    }
}

/// Brings the backup up to date.
///
/// # Errors
/// What keeps it from being whole, but for blobs that are wrong in the registry: the summary names
/// them.
pub(crate) fn make_backup(
    order: &BackupOrder,
    listener: &Listener,
) -> anyhow::Result<BackupSummary> {
    let BackupOrder { data, directory, verify, must_rest, may_take_over, may_share_disk } = order;
    check_place(directory, data, *may_share_disk)?;
    let begun = Instant::now();
    let begin = {
        let (data, listener) = (data.clone(), Arc::clone(listener));
        move || Source::begin(&data, *must_rest, &listener)
    };
    let mut summary = with_owner_thread(Some(data), begin, |owner| {
        let target = Target::open(directory, owner.ask(|source| source.identity())??)?;
        let filling = take(owner, target, directory, data, *may_take_over)?;
        BackupRun::new(owner, filling, listener).make(directory, data, *verify)
    })?;
    summary.seconds = begun.elapsed().as_secs();
    Ok(summary)
}

/// Begins to fill the directory, if the store was the last to write there or the directory is to be
/// taken over. The store knows of it first, unless its disk is read-only: then it goes on by itself
/// only with what is no whole backup yet.
fn take(
    owner: &OwnerThread<Source>,
    target: Target,
    directory: &Path,
    data: &Path,
    may_take_over: bool,
) -> anyhow::Result<Filling> {
    let is_read_only = owner.ask(|source| source.is_read_only())?;
    let may_begin_anew = may_take_over || (is_read_only && target.made_at().is_none());
    let begin = |found: FoundBackup| {
        let next = found.next()?;
        let is_ours = owner.ask(move |source| source.begin_backup(found, next))??;
        anyhow::Ok(is_ours.then_some(next))
    };
    let generation = match begin(target.found())? {
        None if may_begin_anew => begin(FoundBackup::Free)?,
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
