//! The real server inside the test's process: on port 0 of 127.0.0.1, in a runtime on a thread of
//! its own, stopped and joined when the value is dropped.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use registry_server::auth::password::Password;
use registry_server::command::Command;
use registry_server::command::user::{AddUser, ChangePassword};
use registry_server::config::Settings;
use registry_server::control;
use registry_server::limits::Limits;
use registry_server::notify::Notifier;
use registry_server::server::{self, OutsideFiles};
use storage::Role;
use tempfile::TempDir;
use tokio::sync::watch;

use super::http::Client;

/// The password of every user of a test.
pub(crate) const PASSWORD: &str = "correct horse battery";
/// The first user, an administrator.
pub(crate) const ADMINISTRATOR: &str = "init";

/// A server that runs.
pub(crate) struct Server {
    limits: Limits,
    open_pulls: bool,
    own_certificate: Option<(PathBuf, PathBuf)>,
    running: Option<Running>,
    // Last, so that it goes when nobody writes to it any more.
    directory: TempDir,
}

struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Server {
    /// A server with the limits of a real one.
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// A server whose limits the test changes.
    pub(crate) fn with(change: impl FnOnce(&mut Limits)) -> Self {
        Self::build(false, None, change)
    }

    /// A server that lets everybody pull.
    pub(crate) fn with_open_pulls() -> Self {
        Self::build(true, None, |_| {})
    }

    /// A server with the administrator's own certificate and key.
    pub(crate) fn with_own_certificate(certificate: &Path, key: &Path) -> Self {
        Self::build(false, Some((certificate.to_owned(), key.to_owned())), |_| {})
    }

    fn build(
        open_pulls: bool,
        own_certificate: Option<(PathBuf, PathBuf)>,
        change: impl FnOnce(&mut Limits),
    ) -> Self {
        // A test that failed may leave a request under way; nobody waits a minute for it.
        let mut limits = Limits { drain_time: Duration::from_secs(1), ..Limits::default() };
        change(&mut limits);
        let directory = tempfile::Builder::new().prefix("suite-").tempdir().expect("a directory");
        std::fs::write(directory.path().join("password"), PASSWORD).expect("a password file");
        let mut server = Self { limits, open_pulls, own_certificate, running: None, directory };
        server.run();
        server
    }

    /// Stops the server in order and starts another one on the same data, on another port.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.run();
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.running.as_ref().expect("a running server").address
    }

    /// The directory of its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The first user, an administrator.
    pub(crate) fn administrator(&self) -> Client {
        self.client(Some((ADMINISTRATOR, PASSWORD)))
    }

    /// Somebody without a login.
    pub(crate) fn nobody(&self) -> Client {
        self.client(None)
    }

    /// Adds a user over the server's socket, as the command line does.
    #[track_caller]
    pub(crate) fn add_user(&self, name: &str, role: Role) -> Client {
        let password_hash = hash(PASSWORD);
        let user = name.parse().expect("a user name");
        self.command(AddUser { name: user, role, password_hash });
        self.client(Some((name, PASSWORD)))
    }

    /// Changes a user's password over the server's socket, as the command line does.
    #[track_caller]
    pub(crate) fn set_password(&self, name: &str, password: &str) {
        let (name, password_hash) = (name.parse().expect("a user name"), hash(password));
        self.command(ChangePassword { name, password_hash });
    }

    /// Runs a command as the command line does.
    #[track_caller]
    pub(crate) fn command<C: Command>(&self, command: C) -> C::Reply {
        control::run(&self.data(), command).expect("the command to succeed")
    }

    fn client(&self, login: Option<(&str, &str)>) -> Client {
        Client::new(self.address(), &self.data().join("tls/ca.crt"), login)
    }

    fn run(&mut self) {
        let (certificate, key) = self.own_certificate.clone().unzip();
        let settings = Settings {
            data_dir: Some(self.data()),
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            init_user: Some(ADMINISTRATOR.to_owned()),
            init_password_file: Some(self.directory.path().join("password")),
            tls_cert: certificate,
            tls_key: key,
            open_pulls: Some(self.open_pulls),
            ..Settings::default()
        };
        let config = settings.with_defaults().check().expect("good settings");
        let (stop, stopping) = watch::channel(false);
        let (started, starting) = mpsc::channel();
        let limits = self.limits.clone();
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
            let given = OutsideFiles::read(&config).expect("what the configuration names");
            runtime.block_on(async {
                let server =
                    server::Server::start(&config, given, limits, &Notifier::default()).await;
                let server = server.expect("the server to start");
                let addresses = server.listen_addresses().expect("its addresses");
                started.send(addresses[0]).expect("the test to wait");
                server.run(stopping).await.expect("the server to serve");
            });
        });
        let address = starting.recv().expect("a server that starts");
        self.running = Some(Running { address, stop, thread });
    }

    fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.stop.send(true).expect("the server to run until it is stopped");
        let outcome = running.thread.join();
        if !std::thread::panicking() {
            outcome.expect("the server not to panic");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn hash(password: &str) -> String {
    Password::new(password.as_bytes()).expect("a password").hash().expect("its hash")
}
