//! Faults of the system in a running server: strace lets chosen calls of it fail, or last long, or
//! be its last ones.

use std::collections::HashMap;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::binary::Instance;
use super::process::wait_until;

/// The tracer of a server, until it is dropped or asked what it did.
pub(crate) struct Faults {
    tracer: Child,
    home: TempDir,
}

impl Faults {
    /// From now on lets these calls of the server fail with this error: `when` is `3` for the
    /// third such call of each thread, `1+` for all of them.
    #[track_caller]
    pub(crate) fn inject(instance: &Instance, calls: &str, error: &str, when: &str) -> Self {
        Self::inject_at(instance, calls, error, when, &[])
    }

    /// The same for calls that are about these files of the data directory.
    #[track_caller]
    pub(crate) fn inject_at(
        instance: &Instance,
        calls: &str,
        error: &str,
        when: &str,
        files: &[&str],
    ) -> Self {
        Self::begin(instance, calls, &format!("error={error}:when={when}"), files)
    }

    /// From now on lets each of these calls of the server begin so much later.
    #[track_caller]
    pub(crate) fn delay(instance: &Instance, calls: &str, time: Duration) -> Self {
        Self::begin(instance, calls, &format!("delay_enter={}", time.as_micros()), &[])
    }

    /// Kills the server when it makes one of these calls that is about one of these files of the
    /// data directory, before the call does anything.
    #[track_caller]
    pub(crate) fn kill_at(instance: &Instance, calls: &str, files: &[&str]) -> Self {
        Self::begin(instance, calls, "signal=KILL", files)
    }

    #[track_caller]
    fn begin(instance: &Instance, calls: &str, what: &str, files: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let said = home.path().join("said");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-y", "-p", &instance.pid().to_string(), "-o"]);
        strace.arg(home.path().join("calls")).args(["-e", &format!("trace={calls}")]);
        strace.args(["-e", &format!("inject={calls}:{what}")]);
        for file in files {
            strace.arg("-P").arg(instance.data().join(file));
        }
        strace.stdin(Stdio::null()).stderr(File::create(&said).expect("a file"));
        let tracer = strace.spawn().expect("strace; README.md names the packages");
        let faults = Self { tracer, home };
        wait_until("strace has the server", || {
            let said = fs::read_to_string(&said).unwrap_or_default();
            assert!(!said.contains("Operation not permitted"), "{said}");
            said.contains(" attached")
        });
        faults
    }

    /// Lets the server go, and tells which of its calls failed or were delayed: each as its name,
    /// and the file that it was for.
    pub(crate) fn end(mut self) -> Vec<(String, String)> {
        self.detach();
        let calls = fs::read_to_string(self.home.path().join("calls")).expect("its calls");
        let mut begun = HashMap::new();
        let mut failed = Vec::new();
        for line in calls.lines() {
            let Some((thread, text)) = line.split_once(' ') else { continue };
            let text = text.trim_start();
            if text.ends_with("<unfinished ...>") {
                begun.insert(thread, text);
            } else if text.ends_with("(INJECTED)") || text.ends_with("(DELAYED)") {
                // Where another thread came between, the files are named in the earlier line.
                let is_rest = text.starts_with("<... ");
                failed.extend(call(if is_rest {
                    begun.get(thread).copied().unwrap_or_default()
                } else {
                    text
                }));
            }
        }
        failed
    }

    /// Ends the tracer of a server that is dead: it may not notice that.
    pub(crate) fn end_with_server(mut self) {
        let _ = self.tracer.kill();
        let _ = self.tracer.wait();
    }

    fn detach(&mut self) {
        // Fails only if the server ended, and strace with it.
        let _ = kill_process(Pid::from_child(&self.tracer), Signal::TERM);
        // strace waits for ever if the server was ending at this moment.
        let until = Instant::now() + PATIENCE;
        while matches!(self.tracer.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.tracer.kill();
        let _ = self.tracer.wait();
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.detach();
    }
}

/// The name of a call as strace writes it, and the file that it is for or would make.
fn call(line: &str) -> Option<(String, String)> {
    let (name, arguments) = line.split_once('(')?;
    let mut paths = arguments.split(['"', '<', '>']).filter(|part| part.starts_with('/'));
    let path = match name {
        "openat" | "rename" | "statx" | "newfstatat" => paths.next_back(),
        // What follows the file may be its bytes.
        _ => paths.next(),
    };
    Some((name.to_owned(), path.unwrap_or_default().to_owned()))
}

/// How long strace may take to let a server go.
const PATIENCE: Duration = Duration::from_secs(20);
