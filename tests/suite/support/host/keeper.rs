//! The process that keeps what a host is made of: its mounts, its processes and the network around
//! it lie in namespaces that end with this one process. It ends when the test closes its standard
//! input, and so with the test's process however that ends; then the kernel ends and unmounts the
//! rest. Nothing of it is seen in the machine's own namespaces.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::super::process::{Run, run};

/// A process in namespaces of mounts, processes and network of its own.
pub(crate) struct Keeper {
    child: Child,
    pid: u32,
}

impl Keeper {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// What the machine says if it does not let us make such namespaces.
    pub(crate) fn start() -> Result<Self, String> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--fork", "--kill-child"]);
        command.args(["--propagation", "private", "cat"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("unshare, of Debian's package util-linux");
        loop {
            // Its namespaces are complete once it has become the program.
            if let Some(pid) = children(child.id()).into_iter().find(|pid| is(*pid, "cat")) {
                return Ok(Self { child, pid });
            }
            if child.try_wait().expect("its state").is_some() {
                let output = child.wait_with_output().expect("its output");
                return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// A program among these mounts and in this network, which is the one outside of the host.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.pid.to_string());
        command.args(["--mount", "--net", "--", program]);
        command
    }

    /// The same, and a process that ends with the keeper. The child is the program's parent.
    pub(crate) fn command_that_ends_with_it(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.pid.to_string());
        command.args(["--mount", "--net", "--pid", "--", program]);
        command
    }

    /// Runs a shell script among these mounts.
    pub(crate) fn try_script(&self, text: &str, arguments: &[&Path]) -> Run {
        run(self.command("sh").args(["-euc", text, "sh"]).args(arguments))
    }

    /// The same; it must succeed.
    #[track_caller]
    pub(crate) fn script(&self, text: &str, arguments: &[&Path]) {
        self.try_script(text, arguments).ok();
    }

    /// A path as it is among these mounts.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        let path = path.strip_prefix("/").unwrap_or(path);
        Path::new(&format!("/proc/{}/root", self.pid)).join(path)
    }

    /// The network outside of the host, for nsenter.
    pub(crate) fn network(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.pid).into()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It fails only for a process that was waited for.
        let _ = self.child.wait();
    }
}

/// The children of a process, which must have one thread.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether a process runs this program by now.
pub(crate) fn is(pid: u32, program: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == program)
}
