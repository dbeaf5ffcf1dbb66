//! A running server, put together: the store, its certificate, its listeners and its tasks.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use certs::{RootKey, ServerName};
use storage::{LockHolder, Medium, OnHeld, Scrub, StorageError, Store};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::advice::told;
use crate::api::App;
use crate::auth::Authenticator;
use crate::blocking::Blocking;
use crate::command::Running;
use crate::command::data::bytes_of;
use crate::config::{Config, Upkeep};
use crate::control::Socket;
use crate::limits::Limits;
use crate::logging::quota::Quotas;
use crate::net::listener::{self, listen};
use crate::net::tls::ServingCertificate;
use crate::notify::Notifier;

use crate::upkeep::{collect_on_schedule, scrub_on_schedule};

mod prepare;
mod process;

pub use prepare::{FirstStart, Initialized, OutsideFiles, initialize};
pub(crate) use prepare::{choose_password, read_password, unfit_names};
pub(crate) use process::serve;

use prepare::{explained, names, open_store, prepare};

/// A server that is ready to serve: everything that can fail has not failed.
pub struct Server {
    app: Arc<App>,
    listeners: Vec<TcpListener>,
    certificate: ServingCertificate,
    renewal: Option<Renewal>,
    /// Where commands reach it; none where there is no place for it.
    socket: Option<Socket>,
    running: Running,
    /// What a first start has to tell.
    pub first_start: Option<FirstStart>,
}

/// What renewing the certificate needs.
struct Renewal {
    directory: PathBuf,
    names: Vec<ServerName>,
}

impl Server {
    /// Opens the store, makes what a first start makes, and listens. The notifier is told what it
    /// is at meanwhile.
    ///
    /// # Errors
    /// Every one names the next step.
    pub async fn start(
        config: &Config,
        given: OutsideFiles,
        limits: Limits,
        notifier: &Notifier,
    ) -> anyhow::Result<Self> {
        let blocking = Blocking::new(&limits);
        let (settings, bounds, telling) = (config.clone(), limits.clone(), notifier.clone());
        let open = move || {
            telling.starting(&format!("opening {}", settings.data_dir.display()));
            let on_held = |holder: &LockHolder| {
                let sentence = format!("waiting for {holder}, which owns the data directory");
                warn!("{sentence}");
                telling.starting(&sentence);
                OnHeld::Wait
            };
            open_store(&settings, !settings.must_exist(), &bounds, &on_held)
        };
        let store = blocking.write(open).await?;
        let store = Arc::new(store);
        warn_of_medium(&store);
        let socket = bind_socket(&store, &blocking).await?;
        let listeners = listen(&config.settings.listen)?;
        let listening = listeners.first().context("there is no address to listen on")?;
        let listening = listening.local_addr()?;
        // Only now, so that a start that fails for want of a port leaves no user behind.
        let (settings, owned) = (config.clone(), Arc::clone(&store));
        let make = move || {
            let prepared = prepare(&settings, given, RootKey::InDirectory, &owned)?;
            anyhow::Ok((address(&settings, listening), prepared))
        };
        let (address, prepared) = blocking.write(make).await?;
        let quotas = Arc::new(Quotas::new(&limits));
        let authenticator = Authenticator::new(
            Arc::clone(&store),
            blocking.clone(),
            limits.clone(),
            Arc::clone(&quotas),
            config.settings.open_pulls == Some(true),
        )?;
        let app = Arc::new(App::new(store, blocking, authenticator, limits, quotas));
        let running = Running {
            address,
            since: Instant::now(),
            certificate_expires: prepared.certificate_expires,
            upkeep: config.upkeep,
        };
        let certificate = ServingCertificate::new(&prepared.certificate)
            .context("the TLS library cannot use the certificate's key")?;
        let (renewal, first_start) = (prepared.renewal, prepared.first_start);
        Ok(Self { app, listeners, certificate, renewal, socket, running, first_start })
    }

    /// The address that clients use, such as `https://registry.example.com:8443`.
    pub fn address(&self) -> &str {
        &self.running.address
    }

    /// The addresses it listens on.
    ///
    /// # Errors
    /// Those of the system.
    pub fn listen_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Serves until `stop` turns true and the requests that are running have ended.
    ///
    /// # Errors
    /// Fails only before it serves.
    pub async fn run(self, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        let acceptor = self.certificate.acceptor()?;
        let (app, socket) = (self.app, self.socket.map(Arc::new));
        let upkeep = self.running.upkeep;
        let mut tasks = JoinSet::new();
        if let Some(socket) = &socket {
            tasks.spawn(Arc::clone(socket).serve(
                Arc::clone(&app.store),
                self.running,
                app.blocking.clone(),
                Limits::clone(&app.limits),
            ));
        }
        // On a disk that was read-only at the start there is nothing to keep up.
        if !app.store.is_read_only() {
            spawn_upkeep(&mut tasks, &app, upkeep);
            if let Some(renewal) = self.renewal {
                tasks.spawn(renew(renewal, self.certificate, app.blocking.clone()));
            }
        }
        tasks.spawn(renew_quotas(Arc::clone(&app.quotas)));
        listener::serve(Arc::clone(&app), acceptor, self.listeners, stop).await;
        tasks.shutdown().await;
        app.quotas.renew();
        // Here, because the last to hold the store may be a thread that nobody waits for.
        let store = Arc::clone(&app.store);
        let end = move || {
            drop(socket);
            store.close();
        };
        app.blocking.write(end).await;
        Ok(())
    }
}

/// What clients put before `/v2/`: the address it listens on, or, when that is every address, the
/// first name that image names can begin with.
fn address(config: &Config, listening: SocketAddr) -> String {
    if !listening.ip().is_unspecified() {
        return format!("https://{listening}");
    }
    let port = listening.port();
    let names = names(config);
    let named = names.iter().find(|name| name.fits_image_names()).or(names.first());
    let named = named.map(|name| name.with_port(port));
    format!("https://{}", named.unwrap_or_else(|| format!("localhost:{port}")))
}

/// Says once what an administrator should know of what the data lie on.
fn warn_of_medium(store: &Store) {
    let data = store.layout().root().display();
    if matches!(Medium::of(store.layout().root()), Ok(Medium::Memory)) {
        warn!(
            "{data} lies in memory (tmpfs): everything in it is gone when this host restarts; move \
             it to a disk"
        );
    }
    if store.is_read_only() {
        error!(data = %data, "{}", StorageError::ReadOnly);
    }
}

/// Makes the socket for commands. On a disk that is read-only pulls go on without one, too.
async fn bind_socket(store: &Arc<Store>, blocking: &Blocking) -> anyhow::Result<Option<Socket>> {
    let owned = Arc::clone(store);
    match blocking.write(move || Socket::bind(&owned)).await {
        Ok(socket) => Ok(Some(socket)),
        Err(cause) if store.is_read_only() => {
            warn!(%cause, "there is no place for the socket, so no command reaches this server");
            Ok(None)
        }
        Err(cause) => {
            let path = store.layout().socket();
            Err(cause).with_context(|| format!("cannot make {}", path.display()))
        }
    }
}

/// Sets to work what keeps the store in order.
fn spawn_upkeep(tasks: &mut JoinSet<()>, app: &Arc<App>, upkeep: Upkeep) {
    tasks.spawn(expire_uploads(Arc::clone(app)));
    tasks.spawn(keep_time(Arc::clone(app)));
    if let Some(interval) = upkeep.gc_interval {
        let (store, blocking) = (Arc::clone(&app.store), app.blocking.clone());
        tasks.spawn(collect_on_schedule(store, upkeep.keep, interval, blocking));
    }
    if let Some(interval) = upkeep.scrub_interval {
        let bytes_per_second = Some(bytes_of(upkeep.scrub_rate_mib));
        let how = Scrub { interval, bytes_per_second };
        let (store, blocking) = (Arc::clone(&app.store), app.blocking.clone());
        tasks.spawn(scrub_on_schedule(store, how, blocking));
    }
}

async fn expire_uploads(app: Arc<App>) {
    let mut ticks = tokio::time::interval(app.limits.upload_sweep_time);
    loop {
        ticks.tick().await;
        let (store, idle) = (Arc::clone(&app.store), app.limits.upload_idle_time);
        match app.blocking.write(move || store.expire_uploads(idle)).await {
            Ok(0) | Err(StorageError::ReadOnly) => {}
            Ok(ended) => info!(ended, "upload sessions expired"),
            Err(cause) => {
                error!(cause = %told(&cause), "upload sessions could not be looked through");
            }
        }
    }
}

/// Keeps where the store's clock stands, now and then.
async fn keep_time(app: Arc<App>) {
    let mut ticks = tokio::time::interval(app.limits.clock_keep_time);
    let mut is_told = false;
    loop {
        ticks.tick().await;
        let store = Arc::clone(&app.store);
        match app.blocking.write(move || store.keep_time()).await {
            // Whom a full disk concerns hears of it from his own write.
            Ok(()) | Err(StorageError::Full) => {}
            // Nobody may push for days, so it is said here; and once, since it stays so.
            Err(cause @ StorageError::ReadOnly) if !is_told => {
                is_told = true;
                error!("{cause}");
            }
            Err(StorageError::ReadOnly) => {}
            Err(cause) => error!(%cause, "the store's clock could not be kept"),
        }
    }
}

/// Lets each minute have its lines of the log.
async fn renew_quotas(quotas: Arc<Quotas>) {
    let mut ticks = tokio::time::interval(MINUTE);
    loop {
        ticks.tick().await;
        quotas.renew();
    }
}

/// Renews the certificate before it expires, without a restart.
async fn renew(renewal: Renewal, serving: ServingCertificate, blocking: Blocking) {
    let renewal = Arc::new(renewal);
    let mut ticks = tokio::time::interval(RENEWAL_INTERVAL);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let due = Arc::clone(&renewal);
        let ensured = blocking
            .write(move || {
                let root_key = RootKey::InDirectory;
                certs::ensure(&due.directory, root_key, &due.names, SystemTime::now())
                    .map_err(|error| explained(error, root_key))
            })
            .await;
        match ensured {
            Ok(ensured) if !ensured.changes.is_empty() => {
                match serving.replace(&ensured.certificate) {
                    Ok(()) => info!("the server's certificate was renewed"),
                    Err(cause) => error!(%cause, "the renewed certificate cannot be used"),
                }
            }
            Ok(_) => {}
            Err(cause) => error!(%cause, "the certificate could not be renewed"),
        }
    }
}

/// What is left out of the log is counted for so long.
const MINUTE: Duration = Duration::from_secs(60);
/// How often the certificate is checked.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(12 * 3600);
