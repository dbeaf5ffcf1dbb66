//! `registry install`: this host becomes a registry, as a service of systemd.

use std::path::Path;

use clap::Args;
use installer::Plan;
use installer::paths::TRUSTED_CAS;
use serde::Serialize;
use storage::shell_word;

use crate::config::Settings;
use crate::install::{InstallSpec, Installation, Login, PasswordSource};
use crate::text::format::quoted;
use crate::text::{Lines, note, print, print_json};

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
    let mut installation = Installation::plan(args.settings, args.dry_run)?;
    if args.dry_run {
        return show(&installation.plan, &installation.notes, args.json);
    }
    let login = installation.apply()?;
    if installation.plan.is_nothing() && installation.is_again {
        print(&Lines::of("Nothing was changed: this host is already as it was asked for."))?;
    }
    print(&farewell(&installation.spec, &login))?;
    installation.notes.iter().for_each(|text| note(text));
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
    print(&Lines::of_own(&plan.to_string()))?;
    notes.iter().for_each(|text| note(text));
    Ok(print(&Lines::of("This was a dry run: nothing was changed."))?)
}

/// What a person needs to know now, and what to type next.
fn farewell(spec: &InstallSpec, login: &Login) -> Lines {
    let (address, password) = (&spec.address, &login.password);
    let user = shell_word(&login.user.to_string());
    let mut lines = Lines::of(format_args!(
        "Registry is available at https://{address} with credentials ({}, {password})",
        login.user
    ));
    // Whoever came by sudo types on as somebody who may not read what only root may.
    let sudo = if std::env::var_os("SUDO_UID").is_some() { "sudo " } else { "" };
    let log_in = match password {
        PasswordSource::MadeUp { file, .. } | PasswordSource::Given { file, .. } => {
            let log_in = format!("podman login -u {user} --password-stdin {address}");
            match sudo {
                "" => format!("{log_in} < {}", quoted(file)),
                _ => format!("sudo cat {} | {log_in}", quoted(file)),
            }
        }
        PasswordSource::Chosen => format!("podman login -u {user} {address}"),
    };
    let push = format!("podman push IMAGE {address}/NAME:TAG");
    let next = match spec.ca() {
        Some(ca) => {
            lines.line(format_args!("Its CA, which clients must trust, is in {}", ca.display()));
            let trusted = quoted(Path::new(&format!("{TRUSTED_CAS}/{address}")));
            let ca = quoted(&ca);
            let trust = format!("{sudo}mkdir -p {trusted} && {sudo}cp {ca} {trusted}/");
            [trust, log_in, push]
        }
        None => {
            lines.line("Clients must trust the issuer of the certificate that you gave");
            [log_in, push, "registry status".to_owned()]
        }
    };
    lines.line("Next, type:");
    next.iter().for_each(|line| lines.line(format_args!("  {line}")));
    lines
}
