//! `registry install`: this host becomes a registry, as a service of systemd.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use certs::{GivenKey, RootKey};
use clap::Args;
use installer::paths::{RECORD, ROOT_KEY, TRUSTED_CAS, USER};
use installer::{Caller, InstallLock, Plan, Planned, Record};
use serde::Serialize;
use storage::shell_word;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Settings;
use crate::server::{Given, initialize};
use crate::text::{Page, note, print, print_json};

mod answer;
mod preflight;
mod steps;
mod wanted;

use answer::{Known, Login};
use wanted::Wanted;

/// The flags of `install`.
#[derive(Args)]
pub(super) struct InstallArgs {
    #[command(flatten)]
    settings: Settings,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the plan as JSON
    #[arg(long, requires = "dry_run")]
    json: bool,
}

/// Installs the registry, or brings an installation to the settings that are given.
pub(super) fn run(args: InstallArgs) -> anyhow::Result<()> {
    installer::check_host()?;
    let lock = InstallLock::take()?;
    let record_path = Path::new(RECORD);
    let is_unfinished = Record::read(record_path)?.is_some_and(|record| record.is_unfinished());
    if is_unfinished && args.dry_run {
        bail!(
            "an earlier installation was cut short: `registry install` undoes it first, and \
               then what it will do can be told"
        );
    }
    if is_unfinished {
        note("an earlier installation was cut short: what it did is undone first");
        installer::recover(record_path)?;
    }
    let wanted = Wanted::new(args.settings)?;
    let given = Given::read(&wanted.config)?;
    let record = Record::read(record_path)?;
    let mut notes = preflight::check(&wanted)?;
    notes.extend(given.warnings(&wanted.config));
    let plan = Plan::new(steps::of(&wanted)?, record.as_ref())?;
    if args.dry_run {
        return show(&plan, &notes, args.json);
    }
    let login = apply(&plan, &wanted, given)?;
    drop(lock);
    if plan.is_nothing() && record.is_some() {
        print(&Page::of("Nothing was changed: this host is already as it was asked for."))?;
    }
    print(&farewell(&wanted, &login))?;
    notes.iter().for_each(|text| note(text));
    Ok(())
}

/// Everything that has not happened.
#[derive(Serialize)]
struct DryRun<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    notes: &'a [String],
}

fn show(plan: &Plan, notes: &[String], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&DryRun { plan, notes });
    }
    print(&Page::of_own(&plan.to_string()))?;
    notes.iter().for_each(|text| note(text));
    Ok(print(&Page::of("This was a dry run: nothing was changed."))?)
}

/// Takes the steps of the plan and gives the login that the service took in the end.
fn apply(plan: &Plan, wanted: &Wanted, given: Given) -> anyhow::Result<Login> {
    let data = wanted.config.data_dir.as_path();
    let stop = stop_on_signal()?;
    let root_key = read_root_key()?;
    let (given, first, login) = (Cell::new(Some(given)), RefCell::new(None), Cell::new(None));
    let fill = || {
        let given = given.take().context("the directory is filled once")?;
        let root_key = root_key.as_ref().map_or(RootKey::InDirectory, RootKey::Given);
        let made = installer::as_owner_of(data, || initialize(&wanted.config, given, root_key))??;
        first.replace(made.first_start);
        Ok(())
    };
    let check = || {
        login.set(Some(answer::check(wanted, first.borrow().as_ref())?));
        Ok(())
    };
    let sentence = |outcome: anyhow::Result<()>| outcome.map_err(|error| format!("{error:#}"));
    let caller = Caller {
        program: env!("CARGO_PKG_VERSION"),
        keeps: vec![format!("the data in {}", data.display()), format!("the user {USER}")],
        fill: &|| sentence(fill()),
        check: &|| sentence(check()),
        tell: &|planned: &Planned| note(&planned.to_string()),
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

/// What a person needs to know now, and what to type next.
fn farewell(wanted: &Wanted, login: &Login) -> Page {
    let (address, password) = (&wanted.address, &login.password);
    let user = shell_word(&login.user.to_string());
    let mut page = Page::of(format_args!(
        "Registry is available at https://{address} with credentials ({}, {password})",
        login.user
    ));
    // Whoever came by sudo types on as somebody who may not read what only root may.
    let sudo = if std::env::var_os("SUDO_UID").is_some() { "sudo " } else { "" };
    let log_in = match password {
        Known::MadeUp { file, .. } | Known::Given { file, .. } => {
            let log_in = format!("podman login -u {user} --password-stdin {address}");
            match sudo {
                "" => format!("{log_in} < {}", quoted(file)),
                _ => format!("sudo cat {} | {log_in}", quoted(file)),
            }
        }
        Known::Chosen => format!("podman login -u {user} {address}"),
    };
    let push = format!("podman push IMAGE {address}/NAME:TAG");
    let next = match wanted.ca() {
        Some(ca) => {
            page.line(format_args!("Its CA, which clients must trust, is in {}", ca.display()));
            let trusted = quoted(Path::new(&format!("{TRUSTED_CAS}/{address}")));
            let ca = quoted(&ca);
            let trust = format!("{sudo}mkdir -p {trusted} && {sudo}cp {ca} {trusted}/");
            [trust, log_in, push]
        }
        None => {
            page.line("Clients must trust the issuer of the certificate that you gave");
            [log_in, push, "registry status".to_owned()]
        }
    };
    page.line("Next, type:");
    next.iter().for_each(|line| page.line(format_args!("  {line}")));
    page
}

/// A path as a shell takes it.
pub(super) fn quoted(path: &Path) -> String {
    shell_word(&path.display().to_string())
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
