//! Other programs: run to their end, or kept as children that end with the test.

use std::fmt;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What a program that ran to its end left behind.
#[derive(Debug)]
pub(crate) struct Run {
    line: String,
    status: ExitStatus,
    /// Its standard output, byte by byte.
    pub(crate) out: Vec<u8>,
    /// Its standard error.
    pub(crate) err: String,
}

impl Run {
    /// Its standard output without the last line end, after checking that it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.status.success(), "{self}");
        String::from_utf8(self.out).expect("text on standard output").trim_end().to_owned()
    }

    /// Its standard error, after checking that it ended with this code.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self.err
    }

    /// The code it ended with; none if a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// What a child leaves behind that was started without [`run`]; waits for its end.
    pub(crate) fn of(line: String, child: Child) -> Self {
        let Output { status, stdout, stderr } = child.wait_with_output().expect("its output");
        let err = String::from_utf8_lossy(&stderr).into_owned();
        Self { line, status, out: stdout, err }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let out = String::from_utf8_lossy(&self.out);
        write!(f, "{}\nended with {}\n{out}{}", self.line, self.status, self.err)
    }
}

/// Runs a program without input.
pub(crate) fn run(command: &mut Command) -> Run {
    run_with_input(command, b"")
}

/// Runs a program that reads `input`, which must be small if the program prints much.
pub(crate) fn run_with_input(command: &mut Command, input: &[u8]) -> Run {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; README.md names the packages that the tests need")
    });
    // A program that refuses its arguments does not read its input.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    Run::of(format!("{command:?}"), child)
}

/// Waits until something is so, and fails if that takes a minute.
#[track_caller]
pub(crate) fn wait_until(what: &str, is_so: impl FnMut() -> bool) {
    wait(what, Duration::from_millis(10), is_so);
}

/// The same for what costs a process to find out: it is asked less often.
#[track_caller]
pub(crate) fn wait_gently_until(what: &str, is_so: impl FnMut() -> bool) {
    wait(what, Duration::from_millis(75), is_so);
}

/// A port on which nothing listens, below those that the system hands out: a server that restarts
/// must find its port free, and not in the hands of a client's connection.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).expect("less than 10,000");
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}

#[track_caller]
fn wait(what: &str, pause: Duration, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < until, "waited for a minute: {what}");
        thread::sleep(pause);
    }
}
