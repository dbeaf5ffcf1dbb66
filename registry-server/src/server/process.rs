//! The process of a server: what is done before there is a second thread, and before the end.

use std::io;

use anyhow::Context;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

use super::{FirstStart, OutsideFiles, Server};
use crate::config::Config;
use crate::limits::Limits;
use crate::net::{Kernel, tell_of_few};
use crate::notify::Notifier;
use crate::{data_check, logging, open_files};

/// Hears of a server that listens: what a first start made, if this is one, and its address.
type OnListening<'a> = &'a dyn Fn(Option<&FirstStart>, &str) -> io::Result<()>;

/// Serves until SIGTERM or SIGINT; a second signal ends the process at once.
///
/// # Errors
/// Every one names the next step.
pub(crate) fn serve(config: &Config, on_listening: OnListening<'_>) -> anyhow::Result<()> {
    let given = OutsideFiles::read(config)?;
    // First, because the directory under a mount that is missing belongs to somebody else.
    data_check::check(config)?;
    installer::become_owner_of(&config.data_dir)?;
    // A core would hold keys and passwords, and some hosts' programs keep one whatever the limit
    // on its size says.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // Threads stay the user that made them, so there are none before this.
    let level = config.settings.log_level.unwrap_or_default();
    logging::start(level).context("cannot start the thread of the log")?;
    let notifier = Notifier::start().context("cannot start the thread that tells systemd")?;
    let limits = Limits::default().fit(open_files::raise())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(limits.threads() + SPARE_THREADS)
        .build()
        .context("cannot start the threads of the server")?;
    let outcome = runtime.block_on(run(config, given, limits, notifier, on_listening));
    // A start that waits for the lock of another process is not waited for; everything that was
    // acknowledged is durable already.
    runtime.shutdown_background();
    logging::flush();
    outcome
}

async fn run(
    config: &Config,
    given: OutsideFiles,
    limits: Limits,
    notifier: Notifier,
    on_listening: OnListening<'_>,
) -> anyhow::Result<()> {
    let (places, limits) = (limits.connections, limits.fit_sockets(Kernel::read()));
    let connections = limits.connections;
    // Before anything is made, so that a signal during the start is not lost.
    let mut stop = stop_on_signal(notifier.clone())?;
    tokio::spawn(notifier.clone().stay_alive());
    let mut server = tokio::select! {
        server = Server::start(config, given, limits, &notifier) => server?,
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
        never = notifier.ask_for_time() => match never {},
    };
    // The password is forgotten with it.
    on_listening(server.first_start.take().as_ref(), server.address())?;
    // A start that is refused says why, and nothing else.
    if connections < places {
        tell_of_few(connections);
    }
    notifier.ready(server.address());
    server.run(stop).await
}

fn stop_on_signal(notifier: Notifier) -> anyhow::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, stop) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping: requests that are running may end; a second signal cuts them off");
        notifier.stopping();
        let _ = sender.send(true);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        logging::flush();
        std::process::exit(1);
    });
    Ok(stop)
}

/// Threads for what neither reads nor writes the store, such as name resolution.
const SPARE_THREADS: usize = 8;
