//! The binary `registry`: built once, run as a command, and served as a child process on a data
//! directory of its own, which both end with the test.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::PipeWriter;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::build::built;
use super::http::Client;
use super::process::{Run, free_port, run, run_with_input, wait_until};

/// The name of the first user.
pub(crate) const USER: &str = "init";

/// The program: the one that `REGISTRY_BIN` names, or the one of this workspace, built at the
/// first call.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| std::env::var_os("REGISTRY_BIN").map_or_else(build, PathBuf::from))
}

/// Builds the program in the profile of the tests and returns where it lies.
fn build() -> PathBuf {
    let own = std::env::current_exe().expect("the path of the tests");
    let profile = own.ancestors().nth(2).and_then(Path::file_name).expect("a target directory");
    let profile = if profile == "debug" { "dev".into() } else { profile.to_owned() };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--package", "registry-server", "--bin", "registry"]);
    built(cargo.args(["--message-format", "json-render-diagnostics", "--profile"]).arg(profile))
}

/// Runs `registry` with these arguments.
pub(crate) fn registry<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Run {
    run(Command::new(program()).args(arguments))
}

/// A registry of one test: a data directory, and the server on it while one runs.
pub(crate) struct Instance {
    root: TempDir,
    data: PathBuf,
    jail: Option<PathBuf>,
    flags: Vec<OsString>,
    /// What a shell does before it becomes the server.
    setup: String,
    /// The program that runs the program, with its arguments.
    tracer: Vec<OsString>,
    /// Whether the server has a network of its own.
    is_apart: bool,
    log_pipe: Option<PipeWriter>,
    server: Option<Child>,
    host: &'static str,
    port: u16,
    starts: u32,
}

impl Instance {
    /// An instance that has not been started yet and will listen on 127.0.0.1.
    pub(crate) fn new() -> Self {
        Self::in_directory(&std::env::temp_dir())
    }

    /// The same with its data below a directory that is not the system's for temporary files.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        let root = tempfile::Builder::new().prefix("registry-test-").tempdir_in(directory);
        let root = root.expect("a temporary directory");
        let (data, host, port) = (root.path().join("data"), "127.0.0.1", free_port());
        let (jail, flags, server) = (None, Vec::new(), None);
        let setup = "umask 022".to_owned();
        let (tracer, is_apart, log_pipe, starts) = (Vec::new(), false, None, 0);
        Self {
            root,
            data,
            jail,
            flags,
            setup,
            tracer,
            is_apart,
            log_pipe,
            server,
            host,
            port,
            starts,
        }
    }

    /// An instance that runs.
    pub(crate) fn started() -> Self {
        let mut instance = Self::new();
        instance.start();
        instance
    }

    /// An instance of another program, for which nothing exists but a directory with itself. That
    /// takes root.
    pub(crate) fn in_empty_root(program: &Path) -> Self {
        let mut instance = Self::new();
        let jail = instance.root().join("jail");
        fs::create_dir(&jail).expect("a directory");
        fs::copy(program, jail.join("registry")).expect("a copy of the program");
        instance.data = jail.join("data");
        instance.jail = Some(jail);
        instance
    }

    /// Gives the server more flags at its next start.
    pub(crate) fn with_flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(OsString::from));
        self
    }

    /// Lets the server listen on another address than 127.0.0.1.
    pub(crate) fn listening_on(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    /// Starts the server with another umask than 022.
    pub(crate) fn with_umask(self, umask: &str) -> Self {
        self.after(&format!("umask {umask}"))
    }

    /// Lets the server open no more files than this at once.
    pub(crate) fn with_open_files(self, most: u32) -> Self {
        self.after(&format!("ulimit -n {most}"))
    }

    /// Sets a variable of the server's environment. `$$` is the number of its process.
    pub(crate) fn with_variable(self, name: &str, value: &str) -> Self {
        self.after(&format!("export {name}={value}"))
    }

    /// Gives the server a network of its own, with nothing but a loopback in it, and lets a shell
    /// there run this line before.
    pub(crate) fn apart(mut self, line: &str) -> Self {
        self.is_apart = true;
        self.after("ip link set lo up").after(line)
    }

    /// Lets another program run the server, and the commands: one that becomes what it runs.
    pub(crate) fn under(mut self, tracer: Vec<OsString>) -> Self {
        self.tracer = tracer;
        self
    }

    /// Lets the server log into this pipe.
    pub(crate) fn with_log_pipe(mut self, pipe: PipeWriter) -> Self {
        self.log_pipe = Some(pipe);
        self
    }

    fn after(mut self, line: &str) -> Self {
        self.setup = format!("{} && {line}", self.setup);
        self
    }

    /// Moves the data directory, before the first start.
    pub(crate) fn with_data(mut self, data: PathBuf) -> Self {
        self.data = data;
        self
    }

    /// A directory for what belongs to the test but not to the registry.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// The data directory.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// The certificate that clients must trust.
    pub(crate) fn ca(&self) -> PathBuf {
        self.data.join("tls").join("ca.crt")
    }

    /// The first user's password.
    pub(crate) fn password(&self) -> String {
        let password = fs::read_to_string(self.data.join("init-password"));
        password.expect("the password of the first user").trim_end().to_owned()
    }

    /// The first user, over HTTP.
    pub(crate) fn client(&self) -> Client {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        Client::new(address, &self.ca(), Some((USER, &self.password())))
    }

    /// The port, the same after every restart.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// 127.0.0.1 and the port, as image names begin.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The number of the server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.server.as_ref().expect("a running server").id()
    }

    /// What the server wrote to standard output since its last start.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.log("out")).unwrap_or_default()
    }

    /// What the server logged since its last start.
    pub(crate) fn errors(&self) -> String {
        fs::read_to_string(self.log("err")).unwrap_or_default()
    }

    /// Starts the server and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        self.begin();
        self.wait_until_ready();
    }

    /// Starts the server without waiting.
    pub(crate) fn begin(&mut self) {
        assert!(self.server.is_none(), "the server runs already");
        self.starts += 1;
        let mut command = Command::new(if self.is_apart { "unshare" } else { "env" });
        command.args(if self.is_apart { &["--net"][..] } else { &[] });
        command.args(["sh", "-c", &format!("{} && exec \"$@\"", self.setup), "sh"]);
        command.args(self.program()).arg("serve").args(self.data_dir());
        command.args(["--hostname", "localhost"]);
        command.arg("--listen").arg(format!("{}:{}", self.host, self.port));
        let pipe = self.log_pipe.take();
        let log = |kind| File::create(self.log(kind)).expect("a log file");
        let (out, err) = (log("out"), log("err"));
        let err = pipe.map_or_else(|| Stdio::from(err), Stdio::from);
        command.args(&self.flags).stdin(Stdio::null()).stdout(out).stderr(err);
        self.server = Some(command.spawn().expect("a server"));
    }

    /// Waits until the server says where it listens.
    #[track_caller]
    pub(crate) fn wait_until_ready(&mut self) {
        wait_until("the server listens", || {
            let ended = self.server.as_mut().expect("a server").try_wait().expect("its state");
            assert!(ended.is_none(), "the server ended: {}", self.errors());
            self.output().lines().any(|line| line.starts_with("listening on https://"))
        });
    }

    /// Sends SIGTERM without waiting for the end.
    pub(crate) fn ask_to_stop(&self) {
        let server = self.server.as_ref().expect("a running server");
        kill_process(Pid::from_child(server), Signal::TERM).expect("SIGTERM is sent");
    }

    /// Waits for the server's end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.server.take().expect("a server").wait().expect("its end")
    }

    /// Stops the server as systemd does, and checks that it took that well.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.ask_to_stop();
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.errors());
    }

    /// Kills the server without waiting for the end.
    pub(crate) fn strike(&self) {
        let server = self.server.as_ref().expect("a running server");
        kill_process(Pid::from_child(server), Signal::KILL).expect("SIGKILL is sent");
    }

    /// Ends the server as a crash does.
    pub(crate) fn kill(&mut self) {
        let server = self.server.as_mut().expect("a running server");
        server.kill().expect("SIGKILL is sent");
        self.wait();
    }

    /// How many threads of the server wait for a disk.
    pub(crate) fn threads_on_disk(&self) -> usize {
        let is_waiting =
            |stat: &String| stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('D'));
        self.threads("stat").filter(is_waiting).count()
    }

    /// How often the server's threads went to sleep so far.
    pub(crate) fn naps(&self) -> u64 {
        let naps = |status: String| {
            let mut lines = status.lines();
            let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            count?.trim().parse::<u64>().ok()
        };
        self.threads("status").filter_map(naps).sum()
    }

    /// What the system says in this file of each thread of the server.
    fn threads(&self, file: &'static str) -> impl Iterator<Item = String> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("its threads");
        // A thread may end meanwhile.
        threads.filter_map(move |thread| fs::read_to_string(thread.ok()?.path().join(file)).ok())
    }

    /// The most memory the server was resident with so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.state("VmHWM:")
    }

    /// The memory the server is resident with, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.state("VmRSS:")
    }

    /// The part of it that is no file's, in bytes: what the server holds by itself.
    pub(crate) fn anonymous_memory(&self) -> u64 {
        self.state("RssAnon:")
    }

    /// What the system says of the server's memory in the line that begins so, in bytes.
    fn state(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(path).expect("the state of the server");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the line");
        let kib = line.trim().strip_suffix(" kB").expect("kB").trim().parse::<u64>();
        kib.expect("a number") * 1024
    }

    /// Runs an administration command on this registry: the words of the command, then the rest.
    pub(crate) fn command(&self, words: &[&str], rest: &[&str]) -> Run {
        self.command_with_input(words, rest, "")
    }

    /// The same for a command that reads standard input.
    pub(crate) fn command_with_input(&self, words: &[&str], rest: &[&str], input: &str) -> Run {
        let program = self.program();
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).args(words).args(self.data_dir()).args(rest);
        run_with_input(&mut command, input.as_bytes())
    }

    /// Runs a command that is about no registry.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        let program = self.program();
        run(Command::new(&program[0]).args(&program[1..]).args(arguments))
    }

    /// The program with what runs it.
    fn program(&self) -> Vec<OsString> {
        let program = match &self.jail {
            Some(jail) => vec!["chroot".into(), jail.into(), "/registry".into()],
            None => vec![program().into()],
        };
        [self.tracer.clone(), program].concat()
    }

    /// The flag for the data directory, as the program sees it.
    fn data_dir(&self) -> [OsString; 2] {
        let data = if self.jail.is_some() { "/data".into() } else { self.data.clone().into() };
        ["--data-dir".into(), data]
    }

    /// Adds a user of this role with the password `PASSWORD`.
    pub(crate) fn add_user(&self, name: &str, role: &str) {
        self.command_with_input(&["user", "add"], &[name, "--role", role], PASSWORD).ok();
    }

    fn log(&self, kind: &str) -> PathBuf {
        self.root.path().join(format!("start-{}.{kind}", self.starts))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // Both fail only for a process that has ended and was waited for.
            let _ = server.kill();
            let _ = server.wait();
        }
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.errors());
        }
    }
}

/// The password of every user but the first.
pub(crate) const PASSWORD: &str = "correct horse";
