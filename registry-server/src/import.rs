//! Importing what lies on media: archives and directories that others wrote.
//!
//! Which formats there are is the crate `archive`'s to know, and what a blob is on disk the
//! store's. Here is who does what with whose rights: the side that was given the command opens the
//! sources and reads their documents; the owner's side (`OwnerThread`) reads, hashes and writes the
//! blobs in a directory of the import's own, and has whoever owns the store publish them.
//!
//! Crash argument: nothing of an import that dies is needed again. What it published is whole and
//! found by its rows, so the next one reads only the rest; what it did not is in its directory,
//! which goes; and what each tag named before stands in its history, with the import's number.
//!
//! Modules in reading order: `bundles` says which sources a registry exported, and whether they may
//! come in; `plan` says what is to be called how; `survey` holds it against the registry, which for
//! a dry run is all; `run` imports it, with `pool` as the threads that read, `sync` for what they
//! leave, and `streamed` for what comes only once; below them `sources` and `site` are the two
//! sides, `quay` the names that stand in a database, and `report` is what is told.

mod bundles;
mod plan;
mod pool;
mod quay;
mod report;
mod run;
mod site;
mod sources;
mod streamed;
mod survey;
mod sync;

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use certs::PublicKey;
use storage::{ImportNumber, OpenError};

use crate::backup::{Event, Listener, OwnerThread, with_owner_thread};
use crate::control::is_network_fs_allowed;
use crate::text::format::cut;
use bundles::Bundles;
use plan::Plan;
use run::Run;
use site::Site;
use sources::OpenSources;
use streamed::Streamed;
use survey::Survey;

pub(crate) use plan::Naming;
pub(crate) use report::{ImportReport, MissingBase, TakenVolume};

/// What is to be imported, and how.
pub(crate) struct ImportOrder {
    /// The data directory.
    pub(crate) data: PathBuf,
    /// The sources, in the order in which their images are wanted.
    pub(crate) sources: Vec<PathBuf>,
    /// How images are named that come.
    pub(crate) naming: Naming,
    /// The keys of the registries whose bundles may come, and nothing else; none if all may.
    pub(crate) signers: Vec<PublicKey>,
    /// Whether it is only told what would be done.
    pub(crate) is_dry_run: bool,
}

/// Imports what the sources hold, or tells what it would do. `on_begin` hears the import's number.
///
/// # Errors
/// What keeps it from its end. An image that lacks something is no such: the report tells of it.
pub(crate) fn import(
    order: &ImportOrder,
    on_begin: &dyn Fn(ImportNumber),
    listener: &Listener,
) -> anyhow::Result<ImportReport> {
    let begun = Instant::now();
    let data = order.data.canonicalize().map_err(|_| OpenError::NoStore(order.data.clone()))?;
    listener(Event::Begins { task: "reading what the sources hold", bytes: None });
    // Before the other side begins: the owner of the data may not be able to.
    let opened = OpenSources::open(&order.sources)?;
    let begin = {
        // Here, because the owner may not be able to read the settings.
        let (data, allow_network_fs) = (data.clone(), is_network_fs_allowed(&data));
        move || Site::reach(&data, allow_network_fs)
    };
    let mut report = with_owner_thread(Some(&data), begin, |owner| match order.is_dry_run {
        true => foretell(opened, order, owner),
        false => take_in(opened, order, owner, on_begin, listener),
    })?;
    report.seconds = begun.elapsed().as_secs();
    Ok(report)
}

/// Tells what an import would do.
fn foretell(
    opened: OpenSources,
    order: &ImportOrder,
    owner: &OwnerThread<Site>,
) -> anyhow::Result<ImportReport> {
    let sources = opened.read(&mut |_| Ok(()))?;
    let bundles = Bundles::judge(&sources, &order.signers)?;
    let plan = Plan::of(&sources.contents, &order.naming);
    let mut survey = Survey::take(owner, &sources, plan)?;
    bundles.tell(owner, &mut survey.report)?;
    let mut report = survey.foretell(owner)?;
    bundles.tell_bases(owner, &sources, &mut report)?;
    Ok(report)
}

fn take_in(
    opened: OpenSources,
    order: &ImportOrder,
    owner: &OwnerThread<Site>,
    on_begin: &dyn Fn(ImportNumber),
    listener: &Listener,
) -> anyhow::Result<ImportReport> {
    let (done, is_done) = mpsc::channel();
    let names = opened.names.iter().take(TOLD_SOURCES).map(|name| cut(name).into_owned());
    let (names, told) = (names.collect(), Arc::clone(listener));
    let begin = || {
        let number = owner.ask(move |site| site.begin(names, &done, &told))??;
        on_begin(number);
        anyhow::Ok(number)
    };
    let mut streamed = Streamed::new(owner, listener);
    // What can be read twice is looked at before anything is written, and all of it before anything
    // is published.
    let (number, sources, bundles) = match opened.has_streams() {
        true => {
            let number = begin()?;
            let sources = opened.read(&mut |blob| streamed.take(blob))?;
            let bundles = Bundles::judge(&sources, &order.signers)?;
            (number, sources, bundles)
        }
        false => {
            let sources = opened.read(&mut |_| Ok(()))?;
            let bundles = Bundles::judge(&sources, &order.signers)?;
            (begin()?, sources, bundles)
        }
    };
    let plan = Plan::of(&sources.contents, &order.naming);
    let mut survey = Survey::take(owner, &sources, plan)?;
    bundles.tell(owner, &mut survey.report)?;
    let bytes = survey.report.read_bytes;
    if streamed.staged.is_empty() && !survey.can_clone(owner, &sources)? {
        owner.ask(move |site| site.check_room(bytes))??;
    }
    listener(Event::Begins { task: "importing", bytes: Some(bytes) });
    let mut report = Run::new(owner, &sources, survey, &streamed, is_done).all()?;
    report.import = Some(number);
    bundles.tell_bases(owner, &sources, &mut report)?;
    bundles.remember(owner, number, &sources, &mut report);
    Ok(report)
}

/// Sources that are noted of an import, at most.
const TOLD_SOURCES: usize = 64;
