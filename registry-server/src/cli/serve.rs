//! `registry serve`.

use anyhow::Context;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

use crate::config::Config;
use crate::limits::Limits;
use crate::net::Kernel;
use crate::notify::Notifier;
use crate::server::{FirstStart, Given, Server};
use crate::text::{self, Page, print};
use crate::{data_check, descriptors, logging};

/// Runs the server until SIGTERM or SIGINT; a second signal ends it at once.
pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    let given = Given::read(config)?;
    // First, because the directory under a mount that is missing belongs to somebody else.
    data_check::check(config)?;
    installer::become_owner_of(&config.data_dir)?;
    // A core would hold keys and passwords, and some hosts' programs keep one whatever the limit
    // on its size says.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // Threads stay the user that made them, so there are none before this.
    logging::start(config.settings.log_level.unwrap_or_default())
        .context("cannot start the thread of the log")?;
    let notifier = Notifier::start().context("cannot start the thread that tells systemd")?;
    let limits = Limits::default().fit(descriptors::raise())?.fit_sockets(Kernel::read());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(limits.threads() + SPARE_THREADS)
        .build()
        .context("cannot start the threads of the server")?;
    let outcome = runtime.block_on(serve(config, given, limits, notifier));
    // A start that waits for the lock of another process is not waited for; everything that was
    // acknowledged is durable already.
    runtime.shutdown_background();
    logging::flush();
    outcome
}

async fn serve(
    config: &Config,
    given: Given,
    limits: Limits,
    notifier: Notifier,
) -> anyhow::Result<()> {
    // Before anything is made, so that a signal during the start is not lost.
    let mut stop = stop_on_signal(notifier.clone())?;
    tokio::spawn(notifier.clone().stay_alive());
    let mut server = tokio::select! {
        server = Server::start(config, given, limits, &notifier) => server?,
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
        never = notifier.ask_for_time() => match never {},
    };
    if let Some(first) = server.first_start.take() {
        print(&welcome(&first, server.address()))?;
    }
    print(&Page::of(format_args!("listening on {}", server.address())))?;
    notifier.ready(server.address());
    server.run(stop).await
}

/// What a person needs to know after the first start. The password itself is shown to nobody but
/// a person: output that goes to a file or a log is read by more people than asked for it.
fn welcome(first: &FirstStart, address: &str) -> Page {
    let host = address.trim_start_matches("https://");
    let mut page = Page::default();
    if let Some(ca) = &first.ca {
        let ca = ca.display();
        page.line(format_args!("The registry's CA is in {ca}; clients must trust it."));
    }
    let file = first.password_file.display();
    match &first.password {
        Some(password) if text::is_read_here() => {
            let password = String::from_utf8_lossy(password.as_bytes());
            page.line(format_args!("The user {} has the password {password}", first.user));
            page.line(format_args!("(it is also in {file})."));
        }
        Some(_) => page.line(format_args!("The password of the user {} is in {file}.", first.user)),
        None => page.line(format_args!("The user {} has the password you chose.", first.user)),
    }
    page.line(format_args!("Log in with: podman login -u {} {host}", first.user));
    page
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
