//! Commands inside of a host that go on while the test does something else.

use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::super::process::{Run, wait_until};
use super::keeper::children;

/// A command that was started inside of a host. It is killed when it is dropped.
#[must_use = "what nobody holds is killed at once"]
pub(crate) struct Started {
    line: String,
    child: Option<Child>,
}

impl Started {
    /// Starts a command that nsenter takes into the host. The two are a group of processes, so
    /// that they can be killed together.
    pub(crate) fn new(command: &mut Command) -> Self {
        use std::os::unix::process::CommandExt as _;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.process_group(0).spawn().expect("nsenter, of util-linux");
        Self { line: format!("{command:?}"), child: Some(child) }
    }

    /// Sends a signal to the command alone, as `kill` inside of the host would.
    pub(crate) fn signal(&self, signal: Signal) {
        let nsenter = self.child().id();
        let mut command = None;
        wait_until("the command is inside of the host", || {
            command = children(nsenter).first().copied();
            command.is_some()
        });
        kill_process(pid(command.expect("a process")), signal).expect("the signal is sent");
    }

    /// Kills the command and the processes that it started, at once.
    pub(crate) fn kill(&mut self) {
        // It fails only if all of them have ended.
        let _ = kill_process_group(pid(self.child().id()), Signal::KILL);
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().expect("a command").try_wait().expect("its state").is_some()
    }

    /// Waits for its end. A command that prints more than 64 KiB does not get there before.
    pub(crate) fn wait(mut self) -> Run {
        Run::of(std::mem::take(&mut self.line), self.child.take().expect("a command"))
    }

    fn child(&self) -> &Child {
        self.child.as_ref().expect("a command")
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
            let _ = self.child.as_mut().map(Child::wait);
        }
    }
}

fn pid(number: u32) -> Pid {
    let number = i32::try_from(number).expect("a number of a process");
    Pid::from_raw(number).expect("a number of a process")
}
