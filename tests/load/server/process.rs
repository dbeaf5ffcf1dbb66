//! A child process with a group of its own, and its output in a file. The whole group is killed
//! when it is dropped, so that what a shell started ends with the shell.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::time::sleep;

use crate::usage::Usage;

/// A process and what it started.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    begin: Instant,
}

impl Process {
    /// Starts a command whose output goes to `log`.
    pub(crate) fn spawn(mut command: Command, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("writing {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        command.process_group(0);
        let begin = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        Ok(Self { child, log: log.to_owned(), begin })
    }

    /// How long ago it was started.
    pub(crate) fn age(&self) -> Duration {
        self.begin.elapsed()
    }

    /// What it and what it started use. Fails when none of them runs.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of_group(self.child.id())
    }

    /// Waits a moment; fails when the process has ended or its time to start is over.
    pub(crate) async fn wait_to_start(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server ended with {status}; {}", self.last_words());
        }
        let limit = START_LIMIT.as_secs();
        let late = self.age() > START_LIMIT;
        ensure!(!late, "the server was not ready after {limit} s; {}", self.last_words());
        sleep(START_LOOK).await;
        Ok(())
    }

    /// Waits until it has ended by itself, and says the most memory that it had, in bytes: it
    /// alone, without what it started. Fails when it does.
    pub(crate) async fn finish(mut self) -> Result<u64> {
        let (usage, mut peak_bytes) = (Usage::of_process(self.child.id()), 0);
        loop {
            // Before, since who has ended has no memory.
            let now = usage.peak_bytes().unwrap_or(0);
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "it ended with {status}; {}", self.last_words());
                return Ok(peak_bytes);
            }
            peak_bytes = now.max(peak_bytes);
            sleep(FINISH_LOOK).await;
        }
    }

    /// Sends SIGTERM to the group, and returns how the process ended once all of them have.
    pub(crate) async fn terminate(&mut self) -> Result<ExitStatus> {
        let group = Pid::from_child(&self.child);
        if self.child.try_wait()?.is_none() {
            kill_process_group(group, Signal::TERM)?;
        }
        let begin = Instant::now();
        loop {
            let status = self.child.try_wait()?;
            if let Some(status) = status.filter(|_| self.usage().is_err()) {
                return Ok(status);
            }
            let limit = STOP_LIMIT.as_secs();
            let late = begin.elapsed() > STOP_LIMIT;
            ensure!(!late, "the server runs {limit} s after SIGTERM; {}", self.last_words());
            sleep(STOP_LOOK).await;
        }
    }

    /// The end of its output, as a sentence for errors.
    pub(crate) fn last_words(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        last_lines(&String::from_utf8_lossy(&bytes))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for processes that have ended and were waited for.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
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

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often a starting server is looked at; what it takes to start is measured by it.
const START_LOOK: Duration = Duration::from_millis(1);
/// How long a server may take to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// How often a command is looked at that ends by itself; what it takes is measured by it.
const FINISH_LOOK: Duration = Duration::from_millis(5);
/// How often an ending server is looked at.
const STOP_LOOK: Duration = Duration::from_millis(20);
/// How many lines of a server's output an error shows.
const SHOWN_LINES: usize = 10;
/// How much of such a line it shows, in characters; those of docker-registry are very long.
const SHOWN_CHARS: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_the_end_of_the_output_and_no_endless_lines() {
        let output: String = (1..=SHOWN_LINES + 1).map(|line| format!("line {line}\n")).collect();
        let shown = last_lines(&output);
        assert!(shown.starts_with("its output ends:\nline 2\n"), "{shown}");
        assert!(shown.ends_with("\nline 11"), "{shown}");
        assert!(last_lines(&"x".repeat(9 * SHOWN_CHARS)).len() < 2 * SHOWN_CHARS);
    }

    #[tokio::test]
    async fn what_a_shell_started_is_counted_and_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo up; sleep 1000 & sleep 1000"]);
        let mut process = Process::spawn(command, &dir.path().join("log")).unwrap();
        while process.usage().unwrap().count() < 3 {
            process.wait_to_start().await.unwrap();
        }
        assert!(process.last_words().ends_with("\nup"));
        assert!(!process.terminate().await.unwrap().success());
        assert!(process.usage().is_err());
    }
}
