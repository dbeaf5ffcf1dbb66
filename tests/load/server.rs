//! A server under measurement: started as a child process on a fresh data directory, stopped,
//! and read while it runs.
//!
//! Whatever way the load generator ends, short of being killed itself, the child ends with it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::client::Target;
use crate::data::random_password;
use crate::peer::Setup;

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a server may take to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// How often a starting or ending server is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What our server prints before its address when it is ready.
const READY: &str = "listening on ";
/// How many lines of a server's output an error shows.
const SHOWN_LINES: usize = 10;
/// How much of such a line it shows, in characters; those of docker-registry are very long.
const SHOWN_CHARS: usize = 400;
const USER: &str = "init";

/// Which of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Our `registry`.
    Ours,
    /// Debian's `docker-registry`.
    Peer,
}

impl Kind {
    /// The word for it in the output.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Peer => "peer",
        }
    }
}

/// The program of a server.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// Which server it is.
    pub(crate) kind: Kind,
    /// A path, or a name that is looked for in `PATH`.
    pub(crate) path: PathBuf,
}

impl Program {
    /// The first line that the program prints for `--version`. Fails when it cannot be started.
    pub(crate) fn version(&self) -> Result<String> {
        let output = Command::new(&self.path).arg("--version").output().with_context(|| {
            let path = self.path.display();
            match self.kind {
                Kind::Ours => format!(
                    "starting {path}: build it with the command of the recipe `release` in the \
                     justfile, name another with --registry, or use --only peer"
                ),
                Kind::Peer => format!(
                    "starting {path}: install Debian's docker-registry and apache2-utils, \
                     name another with --peer, or use --only ours"
                ),
            }
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().next().unwrap_or("a version that it does not tell").to_owned())
    }
}

/// A server that runs and answers. Dropping it kills the process and removes its data.
pub(crate) struct Server {
    kind: Kind,
    process: Process,
    target: Target,
    // The data goes when the process has ended, so it stands below it.
    data: TempDir,
}

impl Server {
    /// Starts the program on a fresh data directory under `base` and waits until it accepts the
    /// login. Its output goes to a file in `base` that carries the name `label`.
    pub(crate) async fn start(program: &Program, base: &Path, label: &str) -> Result<Self> {
        let data = tempfile::Builder::new().prefix(&format!("{label}-")).tempdir_in(base)?;
        let log = base.join(format!("{label}.log"));
        let password = random_password()?;
        let (process, url, ca) = match program.kind {
            Kind::Ours => start_ours(program, data.path(), &log, &password).await?,
            Kind::Peer => start_peer(program, data.path(), &log, &password).await?,
        };
        let target = Target::new(&url, &ca, USER, &password)?;
        target.check_login().await.with_context(|| process.last_words())?;
        Ok(Self { kind: program.kind, process, target, data })
    }

    /// Which server this is.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it is reached.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The directory of its data and what else it was given.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// The end of its output, as a sentence for errors.
    pub(crate) fn last_words(&self) -> String {
        self.process.last_words()
    }

    /// Stops the server with SIGTERM and removes its data. Fails when it does not end in time,
    /// and when ours does not end with success.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let status = self.process.terminate().await?;
        // docker-registry has no handler for the signal, so it always dies of it.
        let clean = status.success() || self.kind == Kind::Peer;
        ensure!(clean, "{} ended with {status}; {}", self.kind.name(), self.last_words());
        Ok(())
    }
}

async fn start_ours(
    program: &Program,
    data: &Path,
    log: &Path,
    password: &str,
) -> Result<(Process, String, PathBuf)> {
    let store = data.join("data");
    let password_file = data.join("password");
    fs::write(&password_file, password)?;
    let mut command = Command::new(&program.path);
    command.arg("serve").arg("--data-dir").arg(&store);
    command.args(["--listen", "127.0.0.1:0", "--hostname", "localhost", "--init-user", USER]);
    command.arg("--init-password-file").arg(&password_file);
    let mut process = Process::spawn(command, log)?;
    let begin = Instant::now();
    loop {
        if let Some(url) = ready_line(&fs::read_to_string(log)?) {
            return Ok((process, url, store.join("tls").join("ca.crt")));
        }
        process.wait_to_start(begin).await?;
    }
}

async fn start_peer(
    program: &Program,
    data: &Path,
    log: &Path,
    password: &str,
) -> Result<(Process, String, PathBuf)> {
    let setup = Setup::write(data, USER, password)?;
    let mut command = Command::new(&program.path);
    command.arg("serve").arg(&setup.config);
    let mut process = Process::spawn(command, log)?;
    let target = Target::new(&setup.url, &setup.ca, USER, password)?;
    let begin = Instant::now();
    // It says nothing when it is ready, so it is asked.
    while target.connect().await.is_err() {
        process.wait_to_start(begin).await?;
    }
    Ok((process, setup.url, setup.ca))
}

/// The address in the line that our server prints when it is ready. The line must be whole.
fn ready_line(output: &str) -> Option<String> {
    let whole = output.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    let mut addresses = whole.filter_map(|line| line.strip_prefix(READY));
    addresses.next().map(|address| address.trim().to_owned())
}

/// A child process, killed when dropped.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn spawn(mut command: Command, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("writing {}", log.display()))?;
        // docker-registry takes settings from such variables, and so may ours.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("REGISTRY_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Waits a moment; fails when the process has ended or its time to start is over.
    async fn wait_to_start(&mut self, begin: Instant) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server ended with {status}; {}", self.last_words());
        }
        let limit = START_LIMIT.as_secs();
        let late = begin.elapsed() > START_LIMIT;
        ensure!(!late, "the server was not ready after {limit} s; {}", self.last_words());
        sleep(LOOK_EVERY).await;
        Ok(())
    }

    async fn terminate(&mut self) -> Result<ExitStatus> {
        if self.child.try_wait()?.is_none() {
            kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        }
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            let limit = STOP_LIMIT.as_secs();
            let late = begin.elapsed() > STOP_LIMIT;
            ensure!(!late, "the server runs {limit} s after SIGTERM; {}", self.last_words());
            sleep(LOOK_EVERY).await;
        }
    }

    fn last_words(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        last_lines(&String::from_utf8_lossy(&bytes))
    }
}

fn last_lines(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    if lines.is_empty() {
        return String::from("its output is empty");
    }
    let last = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
    let cut = |line: &&str| line.chars().take(SHOWN_CHARS).collect::<String>();
    let shown: Vec<String> = last.iter().map(cut).collect();
    format!("its output ends:\n{}", shown.join("\n"))
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_found_among_others_and_only_whole() {
        let output = "2026 INFO made a CA\nlistening on https://127.0.0.1:4321\n2026 INFO x\n";
        assert_eq!(ready_line(output).as_deref(), Some("https://127.0.0.1:4321"));
        assert_eq!(ready_line("listening on https://127.0.0.1:43"), None);
        assert_eq!(ready_line("INFO listening on https://127.0.0.1:4321\n"), None);
    }

    #[test]
    fn an_error_shows_the_end_of_the_output_and_no_endless_lines() {
        let output: String = (1..=SHOWN_LINES + 1).map(|line| format!("line {line}\n")).collect();
        let shown = last_lines(&output);
        assert!(shown.starts_with("its output ends:\nline 2\n"), "{shown}");
        assert!(shown.ends_with("\nline 11"), "{shown}");
        assert!(last_lines(&"x".repeat(9 * SHOWN_CHARS)).len() < 2 * SHOWN_CHARS);
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_is_reported_with_its_output() {
        let dir = tempfile::tempdir().unwrap();
        // `false` takes any arguments, says nothing and fails.
        let program = Program { kind: Kind::Ours, path: PathBuf::from("false") };
        let error = Server::start(&program, dir.path(), "ours-1").await.err().unwrap().to_string();
        assert!(error.contains("ended with exit status: 1"), "{error}");
        assert!(error.contains("its output is empty"), "{error}");
    }
}
