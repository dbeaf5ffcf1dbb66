//! A running server, put together: the store, its certificate, its listeners and its tasks.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use certs::{CertError, ServerCertificate, ServerName};
use storage::{Holder, OnHeld, OpenOptions, Role, Store, User, write_whole};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::admin::{Running, Socket, end_process};
use crate::api::App;
use crate::auth::Authenticator;
use crate::auth::password::Password;
use crate::blocking::Blocking;
use crate::config::Config;
use crate::limits::Limits;
use crate::net::listener::{self, listen};
use crate::net::tls::ServingCertificate;
use crate::notify::Notifier;

/// A server that is ready to serve: everything that can fail has not failed.
pub struct Server {
    app: Arc<App>,
    listeners: Vec<TcpListener>,
    certificate: ServingCertificate,
    renewal: Option<Renewal>,
    socket: Socket,
    running: Running,
    /// What a first start has to tell.
    pub first_start: Option<FirstStart>,
}

/// What a start takes from outside the data directory. It is read before the process becomes the
/// owner of that directory, who may not be able to read it.
pub struct Given {
    /// The first user's password, which counts only on a first start: the file may be gone later.
    init_password: Option<anyhow::Result<Password>>,
    /// The administrator's own certificate.
    certificate: Option<ServerCertificate>,
}

impl Given {
    /// Reads what the settings name.
    ///
    /// # Errors
    /// A certificate that cannot be used, with what is wrong with it.
    pub fn read(config: &Config) -> anyhow::Result<Self> {
        let certificate = match &config.own_certificate {
            Some((certificate, key)) => {
                Some(certs::load_own(certificate, key, &config.hostnames, SystemTime::now())?)
            }
            None => None,
        };
        let init_password = config.init_password_file.as_deref().map(read_password);
        Ok(Self { init_password, certificate })
    }
}

fn read_password(path: &Path) -> anyhow::Result<Password> {
    let content = std::fs::read(path)
        .with_context(|| format!("cannot read the password in {}", path.display()))?;
    let content = content.strip_suffix(b"\n").unwrap_or(&content);
    Password::new(content).with_context(|| format!("the password in {}", path.display()))
}

/// What a first start made.
pub struct FirstStart {
    /// The first user.
    pub user: String,
    /// The password, if it was made up here.
    pub password: Option<Password>,
    /// The file that holds it.
    pub password_file: PathBuf,
    /// The certificate of the CA, if it was made here.
    pub ca: Option<PathBuf>,
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
        given: Given,
        limits: Limits,
        notifier: &Notifier,
    ) -> anyhow::Result<Self> {
        let blocking = Blocking::new(&limits);
        let (settings, uploads, telling) =
            (config.clone(), limits.uploads_per_user, notifier.clone());
        let store = blocking.write(move || open_store(&settings, uploads, &telling)).await?;
        let store = Arc::new(store);
        let owned = Arc::clone(&store);
        let socket = blocking.write(move || Socket::bind(owned.layout())).await;
        let socket =
            socket.with_context(|| format!("cannot make {}", store.layout().socket().display()))?;
        let listeners = listen(&config.listen)?;
        let listening = listeners.first().context("there is no address to listen on")?;
        let listening = listening.local_addr()?;
        // Only now, so that a start that fails for want of a port leaves no user behind.
        let (settings, owned) = (config.clone(), Arc::clone(&store));
        let prepare = move || prepare(&settings, given, &owned, listening);
        let prepared = blocking.write(prepare).await?;
        let authenticator = Authenticator::new(
            Arc::clone(&store),
            blocking.clone(),
            limits.clone(),
            config.open_pulls,
        )?;
        let (receiving, is_stopping) = (AtomicUsize::new(0), AtomicBool::new(false));
        let app = App { store, blocking, authenticator, limits, receiving, is_stopping };
        let app = Arc::new(app);
        let running = Running {
            address: prepared.address,
            since: SystemTime::now(),
            own_certificate_expires: prepared.own_certificate_expires,
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
        let (app, socket) = (self.app, Arc::new(self.socket));
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(Arc::clone(&socket).serve(
            Arc::clone(&app.store),
            self.running,
            app.blocking.clone(),
            app.limits.clone(),
        ));
        tasks.spawn(expire_uploads(Arc::clone(&app)));
        if let Some(renewal) = self.renewal {
            tasks.spawn(renew(renewal, self.certificate, app.blocking.clone()));
        }
        listener::serve(Arc::clone(&app), acceptor, self.listeners, stop).await;
        tasks.shutdown().await;
        app.blocking.write(move || drop(socket)).await;
        Ok(())
    }
}

fn open_store(
    config: &Config,
    uploads_per_user: usize,
    notifier: &Notifier,
) -> anyhow::Result<Store> {
    notifier.starting(&format!("opening {}", config.data_dir.display()));
    let on_held = |holder: &Holder| {
        let sentence = format!("waiting for {holder}, which owns the data directory");
        warn!("{sentence}");
        notifier.starting(&sentence);
        OnHeld::Wait
    };
    let options = OpenOptions {
        may_create: !config.existing,
        uploads_per_user,
        on_held: &on_held,
        on_fatal: end_process,
    };
    Ok(Store::open(&config.data_dir, &options)?)
}

/// What a start finds or makes in an open store.
struct Prepared {
    address: String,
    certificate: ServerCertificate,
    renewal: Option<Renewal>,
    own_certificate_expires: Option<SystemTime>,
    first_start: Option<FirstStart>,
}

/// Makes what is missing, and finishes a new store.
fn prepare(
    config: &Config,
    given: Given,
    store: &Store,
    listening: SocketAddr,
) -> anyhow::Result<Prepared> {
    let address = address(config, listening);
    let own_certificate_expires = given.certificate.as_ref().map(|own| own.validity().not_after());
    let (certificate, renewal) = match given.certificate {
        Some(own) => (own, None),
        None => certificate(config, store).map(|(made, renewal)| (made, Some(renewal)))?,
    };
    let first_start = match store.is_new() {
        true => Some(first_start(config, given.init_password, store)?),
        false => None,
    };
    store.finish_creation()?;
    Ok(Prepared { address, certificate, renewal, own_certificate_expires, first_start })
}

/// Our certificate, and what is needed to renew it.
fn certificate(config: &Config, store: &Store) -> anyhow::Result<(ServerCertificate, Renewal)> {
    let now = SystemTime::now();
    let mut renewal = Renewal { directory: store.layout().tls(), names: names(config) };
    let ensured = match certs::ensure(&renewal.directory, &renewal.names, now) {
        // The host was given another name and the root's key is away: what was asked for counts.
        Err(CertError::NamesNotPermitted { names, .. })
            if !names.iter().any(|name| config.hostnames.contains(name)) =>
        {
            warn!(?names, "the certificate does not name what this host is called now");
            renewal.names.retain(|name| !names.contains(name));
            certs::ensure(&renewal.directory, &renewal.names, now)
        }
        ensured => ensured,
    }?;
    if !store.is_new() {
        ensured.changes.iter().for_each(|change| info!("{change}"));
    }
    Ok((ensured.certificate, renewal))
}

/// Every name the certificate is for: those asked for first, since the CA is called after the
/// first; then those of the host, as far as a certificate can carry them.
fn names(config: &Config) -> Vec<ServerName> {
    let mut names = config.hostnames.clone();
    let own = installer::own_names().into_iter();
    let always = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    for name in own.chain(always).filter_map(|name| name.parse::<ServerName>().ok()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Makes the first user.
///
/// Crash argument: the password is in its file before the user exists, and the store is finished
/// after both; a start after a crash in between does it again with a new password, before anybody
/// was told the old one.
fn first_start(
    config: &Config,
    given: Option<anyhow::Result<Password>>,
    store: &Store,
) -> anyhow::Result<FirstStart> {
    let password_file = store.layout().init_password();
    // A start that was cut short told nobody of what it made.
    for user in store.users()? {
        store.remove_user(&user.name)?;
    }
    let _ = std::fs::remove_file(&password_file);
    let made_up = given.is_none();
    let password = match given {
        Some(password) => password?,
        None => {
            let password = Password::random()?;
            let mut line = password.as_bytes().to_vec();
            line.push(b'\n');
            write_whole(&password_file, &line)?;
            password
        }
    };
    let password_hash = password.hash()?;
    let (name, role) = (config.init_user.clone(), Role::Administrator);
    store.add_user(User { name, role, password_hash })?;
    Ok(FirstStart {
        user: config.init_user.to_string(),
        password: made_up.then_some(password),
        password_file,
        ca: config.own_certificate.is_none().then(|| ca_path(store)),
    })
}

fn ca_path(store: &Store) -> PathBuf {
    store.layout().tls().join(certs::TlsFile::RootCertificate.name())
}

/// What clients put before `/v2/`: the address it listens on, or, when that is every address, the
/// first name.
fn address(config: &Config, listening: SocketAddr) -> String {
    if !listening.ip().is_unspecified() {
        return format!("https://{listening}");
    }
    let names = names(config);
    let host = names.first().map_or_else(
        || "localhost".to_owned(),
        |name| match name.address() {
            Some(std::net::IpAddr::V6(address)) => format!("[{address}]"),
            _ => name.to_string(),
        },
    );
    format!("https://{host}:{}", listening.port())
}

async fn expire_uploads(app: Arc<App>) {
    let mut ticks = tokio::time::interval(app.limits.upload_sweep_time);
    loop {
        ticks.tick().await;
        let (store, idle) = (Arc::clone(&app.store), app.limits.upload_idle_time);
        match app.blocking.write(move || store.expire_uploads(idle)).await {
            Ok(0) => {}
            Ok(ended) => info!(ended, "upload sessions expired"),
            Err(cause) => error!(%cause, "upload sessions could not be looked through"),
        }
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
            .write(move || certs::ensure(&due.directory, &due.names, SystemTime::now()))
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

/// How often the certificate is checked.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(12 * 3600);
