//! `registry serve`.

use std::io::IsTerminal;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use super::print;
use crate::config::Config;
use crate::limits::Limits;
use crate::logging;
use crate::server::{FirstStart, Given, Server};

/// Runs the server until SIGTERM or SIGINT; a second signal ends it at once.
pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    logging::start(config.log_level);
    let given = Given::read(config)?;
    installer::become_owner_of(&config.data_dir)?;
    raise_descriptor_limit();
    let limits = Limits::default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(limits.reads + limits.writes + SPARE_THREADS)
        .build()
        .context("cannot start the threads of the server")?;
    let outcome = runtime.block_on(async {
        // Before anything is made, so that a signal during the start is not lost.
        let mut stop = stop_on_signal()?;
        let mut server = tokio::select! {
            server = Server::start(config, given, limits) => server?,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        if let Some(first) = server.first_start.take() {
            print(&welcome(&first, server.address()))?;
        }
        print(&format!("listening on {}\n", server.address()))?;
        server.run(stop).await
    });
    // A start that waits for the lock of another process is not waited for; everything that was
    // acknowledged is durable already.
    runtime.shutdown_background();
    outcome
}

/// What a person needs to know after the first start. The password itself is shown to nobody but
/// a person: output that goes to a file or a log is read by more people than asked for it.
fn welcome(first: &FirstStart, address: &str) -> String {
    let host = address.trim_start_matches("https://");
    let mut text = String::new();
    if let Some(ca) = &first.ca {
        text += &format!("The registry's CA is in {}; clients must trust it.\n", ca.display());
    }
    let file = first.password_file.display();
    match &first.password {
        Some(password) if std::io::stdout().is_terminal() => {
            let password = String::from_utf8_lossy(password.as_bytes());
            text += &format!("The user {} has the password {password}\n", first.user);
            text += &format!("(it is also in {file}).\n");
        }
        Some(_) => text += &format!("The password of the user {} is in {file}.\n", first.user),
        None => text += &format!("The user {} has the password you chose.\n", first.user),
    }
    text + &format!("Log in with: podman login -u {} {host}\n", first.user)
}

fn stop_on_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, stop) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping: requests that are running may end; a second signal cuts them off");
        let _ = sender.send(true);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(1);
    });
    Ok(stop)
}

/// Lets the process have as many connections and files as the system allows it.
fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        warn!(%error, "the limit of open files stays as it is");
    }
}

/// Threads for what neither reads nor writes the store, such as name resolution.
const SPARE_THREADS: usize = 8;
