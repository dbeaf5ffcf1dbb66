//! What is looked at before anything is changed: what would fail later, and what an administrator
//! should know.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, bail};
use durable::DiskSpace;
use installer::paths::{PROGRAM, ROOT_KEY, RUNNING_PROGRAM, UNIT};
use storage::{DirectoryContent, DirectoryState, Medium};

use super::spec::InstallSpec;
use crate::config::Settings;
use crate::data_check;
use crate::limits::{INSTALL_FREE_BYTES, RELEASE_BYTES};
use crate::net::listener::listen;
use crate::server::{choose_password, read_password};
use crate::text::note;

/// Looks, and gives what an administrator should know but nothing fails for.
///
/// # Errors
/// What would fail, with what to do about it.
pub(super) fn check(spec: &InstallSpec) -> anyhow::Result<Vec<String>> {
    let data = spec.config.data_dir.as_path();
    let found = survey(data)?;
    Medium::check(data, spec.config.may_be_on_network())?;
    let is_store = is_store(&found);
    check_data(spec, &found)?;
    let free = check_space(data, if is_store { 0 } else { INSTALL_FREE_BYTES })?;
    if spec.installed.is_none() {
        let program = std::fs::metadata(RUNNING_PROGRAM).context("cannot look at this program")?;
        check_space(Path::new(PROGRAM), program.len())?;
    }
    check_ports(spec)?;
    let mut notes = Vec::new();
    notes.extend(check_password(spec, is_store)?);
    if free < RELEASE_BYTES {
        notes.push(format!(
            "{} has {} GiB free; the images of one OpenShift release take about {} GiB",
            data.display(),
            free >> 30,
            RELEASE_BYTES >> 30
        ));
    }
    // Names of this host in /etc/hosts need no name server, which may take long to be found dead.
    let own = installer::own_names();
    let own = if own.len() > 1 { own } else { Vec::new() };
    let names = spec.config.hostnames.iter().filter_map(|name| name.dns());
    let others = names.filter(|name| !own.iter().any(|own| own == name));
    notes.extend(others.filter_map(unresolved));
    notes.extend(spec.config.settings.listen.iter().filter_map(closed));
    Ok(notes)
}

/// The data directory is new, or holds a registry that nobody but our own service runs. One that
/// was installed and is not there is waited for: another in its place would have another CA.
fn check_data(spec: &InstallSpec, found: &DirectoryState) -> anyhow::Result<()> {
    let data = spec.config.data_dir.as_path();
    let installed = spec.installed.as_ref().and_then(|old| old.settings.data_dir.clone());
    // Where a link leads counts, as it does for what is asked for.
    let installed = installed.map(|old| old.canonicalize().unwrap_or(old));
    if let Some(old) = &spec.installed
        && !is_store(found)
    {
        let installed = Settings { existing: Some(true), ..old.settings.clone() };
        data_check::check(&installed.with_defaults().check()?).context(
            "the registry of this host is not there (only to begin anew without it, type \
             `registry uninstall` first)",
        )?;
    }
    if let Some(old) = installed.as_deref().filter(|old| *old != data)
        && is_store(&survey(old)?)
    {
        bail!(
            "the registry of this host keeps its data in {}: to move them, type `systemctl stop \
             {UNIT}`, move that directory to {}, then install again",
            old.display(),
            data.display()
        );
    }
    if !is_store(found) && Path::new(ROOT_KEY).exists() {
        bail!(
            "{ROOT_KEY} is the key of a registry that is not in {}: mount the file system that it \
             is on, or name its directory with --data-dir; only to begin anew without it, move \
             that key to a safe place",
            data.display()
        );
    }
    match &found.holder {
        Some(holder) if installed.is_none() => {
            bail!("{holder} owns the registry in {}: stop it, then install again", data.display())
        }
        _ => Ok(()),
    }
}

/// Looks at a data directory as its owner, who could have laid links there.
fn survey(data: &Path) -> anyhow::Result<DirectoryState> {
    Ok(installer::as_owner_of(data, || DirectoryState::of(data))??)
}

fn is_store(found: &DirectoryState) -> bool {
    matches!(found.content, DirectoryContent::Store { .. })
}

/// A password for the first user can be read; and what to say if it comes too late.
fn check_password(spec: &InstallSpec, is_store: bool) -> anyhow::Result<Option<String>> {
    let (data, user) = (&spec.config.data_dir, &spec.config.init_user);
    let Some(file) = &spec.config.settings.init_password_file else { return Ok(None) };
    match is_store {
        // It is not used, however weak it is.
        true => read_password(file)?,
        false => choose_password(file, user)?,
    };
    Ok(is_store.then(|| {
        format!(
            "the registry in {} has its first user already, so {} was not used: to change the \
             password, type `registry user passwd {user}`",
            data.display(),
            file.display()
        )
    }))
}

/// How much is free where a path is or will be, if it is enough.
fn check_space(path: &Path, needed: u64) -> anyhow::Result<u64> {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let free = DiskSpace::of(there)?.free_bytes;
    if free < needed {
        bail!(
            "there is no space for {}: {} MiB are free at {}, and {} MiB are needed; free some, \
             or choose another place",
            path.display(),
            free >> 20,
            there.display(),
            needed.div_ceil(1 << 20)
        );
    }
    Ok(free)
}

/// Every address can be listened on, but for the ports that the installed service has already.
fn check_ports(spec: &InstallSpec) -> anyhow::Result<()> {
    let installed = spec.installed.as_ref().map(|installed| &installed.settings.listen);
    let is_ours = |address: &SocketAddr| {
        installed.is_some_and(|listen| listen.iter().any(|old| old.port() == address.port()))
    };
    let asked = spec.config.settings.listen.iter().copied();
    let others: Vec<_> = asked.filter(|address| !is_ours(address)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    // A listener can only be made where there is a runtime.
    let _inside = runtime.enter();
    listen(&others)?;
    Ok(())
}

/// What to say of a name that this host cannot resolve.
fn unresolved(name: &str) -> Option<String> {
    note(&format!("look    whether this host knows the name {name}"));
    match installer::addresses_of(name) {
        Ok(addresses) if addresses.is_empty() => Some(format!(
            "this host does not know the name {name}: clients need it in DNS or in their \
             /etc/hosts"
        )),
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    }
}

/// What to say of a port that nobody outside can reach.
fn closed(address: &SocketAddr) -> Option<String> {
    let port = address.port();
    (!address.ip().is_loopback() && installer::is_closed(port)).then(|| {
        format!(
            "firewalld keeps clients from port {port}: to let them in, type `firewall-cmd \
             --permanent --add-port={port}/tcp && firewall-cmd --reload`"
        )
    })
}
