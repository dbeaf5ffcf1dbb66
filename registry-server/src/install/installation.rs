//! An installation from the beginning to the end.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use certs::{GivenKey, RootKey};
use installer::paths::{RECORD, ROOT_KEY, USER};
use installer::{Caller, InstallLock, Plan, PlannedStep, Record};
use tokio::signal::unix::{SignalKind, signal};

use super::health_check::{self, Login};
use super::spec::InstallSpec;
use super::{preflight, steps};
use crate::advice::told_whole;
use crate::config::Settings;
use crate::server::{OutsideFiles, initialize};
use crate::text::note;

/// An installation that is planned, and for which nothing was changed yet.
pub(crate) struct Installation {
    /// What the host is to become.
    pub(crate) spec: InstallSpec,
    /// How.
    pub(crate) plan: Plan,
    /// What an administrator should know, though nothing fails for it.
    pub(crate) notes: Vec<String>,
    /// Whether something is installed already.
    pub(crate) is_again: bool,
    /// What only this installation needs, and the right to be the only one: none once it ended.
    pending: Option<(OutsideFiles, InstallLock)>,
}

impl Installation {
    /// Plans what brings the host to these settings, over those that are installed. An
    /// installation that was cut short is undone first, unless nothing may be changed.
    ///
    /// # Errors
    /// What would fail later, with what to do about it.
    pub(crate) fn plan(settings: Settings, is_dry_run: bool) -> anyhow::Result<Self> {
        installer::check_host()?;
        let lock = InstallLock::take()?;
        let record_path = Path::new(RECORD);
        let is_unfinished = Record::read(record_path)?.is_some_and(|record| record.is_unfinished());
        if is_unfinished && is_dry_run {
            bail!(
                "an earlier installation was cut short: `registry install` undoes it first, and \
                 then what it will do can be told"
            );
        }
        if is_unfinished {
            note("an earlier installation was cut short: what it did is undone first");
            installer::recover(record_path)?;
        }
        let spec = InstallSpec::new(settings)?;
        let given = OutsideFiles::read(&spec.config)?;
        let record = Record::read(record_path)?;
        let mut notes = preflight::check(&spec)?;
        notes.extend(given.warnings(&spec.config));
        let plan = Plan::new(steps::of(&spec)?, record.as_ref())?;
        Ok(Self { spec, plan, notes, is_again: record.is_some(), pending: Some((given, lock)) })
    }

    /// Takes the steps, once, and gives the login that the service took in the end.
    ///
    /// # Errors
    /// The step that failed, after all that was done is undone.
    pub(crate) fn apply(&mut self) -> anyhow::Result<Login> {
        let (given, _lock) = self.pending.take().context("an installation is applied once")?;
        apply(&self.plan, &self.spec, given)
    }
}

/// Takes the steps of the plan and gives the login that the service took in the end.
fn apply(plan: &Plan, spec: &InstallSpec, given: OutsideFiles) -> anyhow::Result<Login> {
    let data = spec.config.data_dir.as_path();
    let stop = stop_on_signal()?;
    let root_key = read_root_key()?;
    let (given, first, login) = (Cell::new(Some(given)), RefCell::new(None), Cell::new(None));
    let fill = || {
        let given = given.take().context("the directory is filled once")?;
        let root_key = root_key.as_ref().map_or(RootKey::InDirectory, RootKey::Given);
        let made = installer::as_owner_of(data, || initialize(&spec.config, given, root_key))??;
        first.replace(made.first_start);
        Ok(())
    };
    let check = || {
        login.set(Some(health_check::check(spec, first.borrow().as_ref())?));
        Ok(())
    };
    let sentence = |outcome: anyhow::Result<()>| outcome.map_err(|error| told_whole(&error));
    let caller = Caller {
        program: env!("CARGO_PKG_VERSION"),
        keeps: vec![format!("the data in {}", data.display()), format!("the user {USER}")],
        fill: &|| sentence(fill()),
        check: &|| sentence(check()),
        tell: &|planned: &PlannedStep| note(&planned.to_string()),
        is_stopped: &|| stop.load(Ordering::Relaxed),
    };
    installer::apply(plan, Path::new(RECORD), &caller)?;
    login.take().context("the service was not asked whether it answers")
}

/// The key of the root CA, if an earlier installation has put it out of the service's sight.
fn read_root_key() -> anyhow::Result<Option<GivenKey>> {
    let path = Path::new(ROOT_KEY);
    match std::fs::read(path) {
        Ok(pem) => Ok(Some(GivenKey::from_pem(path, &pem)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {ROOT_KEY}")),
    }
}

/// Turns true at a signal that asks the process to end: what was done is undone then.
fn stop_on_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let inside = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    drop(inside);
    let seen = Arc::clone(&stop);
    std::thread::spawn(move || {
        runtime.block_on(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                seen.store(true, Ordering::Relaxed);
            }
        });
    });
    Ok(stop)
}
