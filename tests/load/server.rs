//! A server under measurement: started as a child process on a fresh data directory, stopped,
//! and read while it runs.
//!
//! Whatever way the load generator ends, short of being killed itself, the child ends with it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::client::Target;
use crate::data::random_password;
use crate::peer::{self, Files, docker_registry, nginx};
use crate::place::Place;
use crate::usage::Usage;
use crate::work::{Image, MANIFEST_PATH};

mod process;
mod program;

pub(crate) use process::Process;
#[cfg(test)]
pub(crate) use program::PeerError;
pub(crate) use program::{OPENSSL, Program, Role, SKOPEO};

/// A server that runs and answers. Dropping it kills the process and removes its data.
pub(crate) struct Server {
    process: Process,
    target: Target,
    // The data goes when the process has ended, so it stands below it.
    setup: Setup,
}

impl Server {
    /// Starts the program on a fresh data directory, where it has started once before, and waits
    /// until it accepts the login: what a first start makes, and keeps in memory for it, is no
    /// part of the work. Its output goes to a file that carries the name `label`.
    pub(crate) async fn start(
        program: &Program,
        place: &Place,
        label: &str,
        image: &Image,
    ) -> Result<Self> {
        let setup = Setup::new(program, place, label, image)?;
        let mut first = setup.start().await?;
        setup.stop(&mut first.process).await?;
        let Started { process, mut target, .. } = setup.start().await?;
        if program.is_registry() {
            let logged_in = target.log_in(USER, &setup.password).await;
            target = logged_in.with_context(|| process.last_words())?;
        }
        Ok(Self { process, target, setup })
    }

    /// What program this is.
    pub(crate) fn program(&self) -> &Program {
        &self.setup.program
    }

    /// Where it is reached.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The directory of its data, as ours takes it.
    pub(crate) fn store(&self) -> PathBuf {
        self.setup.store()
    }

    /// What another client needs that is to push there.
    pub(crate) fn login(&self) -> ClientLogin<'_> {
        let Setup { port, ca, password, .. } = &self.setup;
        ClientLogin { address: format!("127.0.0.1:{port}"), ca, user: USER, password }
    }

    /// What its processes use.
    pub(crate) fn usage(&self) -> Result<Usage> {
        self.process.usage()
    }

    /// The end of its output, as a sentence for errors.
    pub(crate) fn last_words(&self) -> String {
        self.process.last_words()
    }

    /// Stops the server with SIGTERM and removes its data. Fails when it does not end in time,
    /// and when ours does not end with success.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.setup.stop(&mut self.process).await
    }
}

/// What another client needs.
pub(crate) struct ClientLogin<'a> {
    /// Host and port.
    pub(crate) address: String,
    /// The certificate that it is to believe.
    pub(crate) ca: &'a Path,
    /// Who pushes.
    pub(crate) user: &'static str,
    /// The password.
    pub(crate) password: &'a str,
}

/// All that is needed to start a server, any number of times on the same data.
pub(crate) struct Setup {
    program: Program,
    port: u16,
    /// What clients believe; ours writes it when it first starts.
    ca: PathBuf,
    files: Files,
    config: Option<PathBuf>,
    password: String,
    log: PathBuf,
    data: TempDir,
}

/// A server that was started and has answered.
pub(crate) struct Started {
    /// The process.
    pub(crate) process: Process,
    /// Where it is reached; nobody has logged in.
    pub(crate) target: Target,
    /// From the start of the process to the end of its first answer.
    pub(crate) first_answer: Duration,
}

impl Setup {
    /// Makes a data directory and all files that the program needs. The certificates and the
    /// password file are made for every program, whether it takes them or not.
    pub(crate) fn new(
        program: &Program,
        place: &Place,
        label: &str,
        image: &Image,
    ) -> Result<Self> {
        let data =
            tempfile::Builder::new().prefix(&format!("{label}-")).tempdir_in(place.data())?;
        let port = free_port()?;
        let files = Files::write(data.path())?;
        let password = random_password()?;
        let (dir, passwords) = (data.path(), data.path().join("htpasswd"));
        fs::write(dir.join("password"), &password)?;
        let config = match &program.role {
            Role::Ours(_) => None,
            Role::Openssl | Role::Skopeo(_) => bail!("{} is no server", program.name),
            Role::Nginx(_) => Some(nginx::configure(dir, port, &files, image, MANIFEST_PATH)?),
            Role::DockerRegistry(_) | Role::Command(_) => {
                fs::create_dir(dir.join("content"))?;
                peer::write_htpasswd(&passwords, USER, &password)?;
                Some(docker_registry::configure(dir, port, &files, &passwords)?)
            }
        };
        let log = place.base().join(format!("{label}.log"));
        let program = program.clone();
        let mut setup =
            Self { ca: files.ca.clone(), program, port, files, config, password, log, data };
        if setup.program.is_ours() {
            setup.ca = setup.store().join("tls").join("ca.crt");
        }
        Ok(setup)
    }

    /// Starts the server and waits for its first answer, to a request without a login.
    pub(crate) async fn start(&self) -> Result<Started> {
        let mut process = Process::spawn(self.command(), &self.log)?;
        let url = format!("https://127.0.0.1:{}", self.port);
        let mut target = None;
        loop {
            if target.is_none() && self.ca.exists() {
                target = Target::new(&url, &self.ca).ok();
            }
            if let Some(target) = &target
                && timeout(ANSWER_LIMIT, target.answers()).await == Ok(true)
            {
                let (target, first_answer) = (target.clone(), process.age());
                return Ok(Started { process, target, first_answer });
            }
            process.wait_to_start().await?;
        }
    }

    /// Stops what was started.
    pub(crate) async fn stop(&self, process: &mut Process) -> Result<()> {
        let status = process.terminate().await?;
        // docker-registry has no handler for the signal, so it always dies of it.
        let clean = status.success() || !self.program.is_ours();
        ensure!(clean, "{} ended with {status}; {}", self.program.name, process.last_words());
        Ok(())
    }

    /// The directory that ours is given.
    fn store(&self) -> PathBuf {
        self.data.path().join("data")
    }

    fn command(&self) -> Command {
        let dir = self.data.path();
        let config = self.config.as_deref().unwrap_or(dir);
        let mut command = match &self.program.role {
            Role::Ours(path) => self.command_of_ours(path),
            Role::DockerRegistry(path) => {
                let mut command = Command::new(path);
                command.arg("serve").arg(config);
                command
            }
            Role::Nginx(path) => {
                let mut command = Command::new(path);
                command.args(["-e", "stderr", "-c"]).arg(config);
                command
            }
            Role::Command(line) => {
                let mut command = Command::new("sh");
                command.args(["-c", line]);
                command
            }
            // No setup is made for one.
            Role::Openssl | Role::Skopeo(_) => Command::new("false"),
        };
        // docker-registry takes settings from such variables, and so may ours.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("REGISTRY_") {
                command.env_remove(name);
            }
        }
        if matches!(self.program.role, Role::Command(_)) {
            command.env("LOAD_PORT", self.port.to_string());
            command.env("LOAD_ADDRESS", format!("127.0.0.1:{}", self.port));
            command.env("LOAD_DATA", dir.join("content"));
            command.env("LOAD_CERT", &self.files.certificate).env("LOAD_KEY", &self.files.key);
            command.env("LOAD_CA", &self.files.ca).env("LOAD_HTPASSWD", dir.join("htpasswd"));
            command.env("LOAD_USER", USER).env("LOAD_PASSWORD", &self.password);
            command.env("LOAD_CONFIG", config);
        }
        command
    }

    fn command_of_ours(&self, path: &Path) -> Command {
        let mut command = Command::new(path);
        command.arg("serve").arg("--data-dir").arg(self.store());
        command.arg("--listen").arg(format!("127.0.0.1:{}", self.port));
        command.args(["--hostname", "localhost", "--init-user", USER]);
        command.arg("--init-password-file").arg(self.data.path().join("password"));
        command
    }
}

/// A port that nothing listens on at this moment.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("finding a free port")?;
    Ok(listener.local_addr()?.port())
}

/// How long a starting server may let a question wait until it is asked anew.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The name of whoever pushes and pulls.
const USER: &str = "init";

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        Image::of(vec![crate::data::Blob::from(b"config".to_vec())])
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_is_reported_with_its_output() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(Some(dir.path()), None).unwrap();
        // `false` takes any arguments, says nothing and fails.
        let program = Program::ours(PathBuf::from("false"));
        let server = Server::start(&program, &place, "ours-1", &image()).await;
        let error = server.err().unwrap().to_string();
        assert!(error.contains("ended with exit status: 1"), "{error}");
        assert!(error.contains("its output is empty"), "{error}");
    }

    #[tokio::test]
    async fn a_command_is_told_what_it_needs() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(Some(dir.path()), None).unwrap();
        let line = "peer=test -r $LOAD_CERT -a -r $LOAD_KEY -a -r $LOAD_CA -a -r $LOAD_HTPASSWD \
                    && echo $LOAD_USER at ${LOAD_ADDRESS%:*}; exit 7";
        let program = Program::peer(line).unwrap();
        let server = Server::start(&program, &place, "peer-1", &image()).await;
        let error = server.err().unwrap().to_string();
        assert!(error.ends_with("exit status: 7; its output ends:\ninit at 127.0.0.1"), "{error}");
    }
}
