//! The command's side: the running server if there is one, else the store itself.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use storage::{
    Actor, HostUser, Layout, LockHolder, Medium, OnHeld, OpenError, OpenOptions, StorageError,
    Store,
};
use thiserror::Error;
use tracing::error;

use super::lease::Lease;
use super::person::who_asks;
use super::socket::through;
use super::{Line, Request, line, place};
use crate::advice::told;
use crate::command::{Command, Context as CommandContext, OnProgress, Progress};
use crate::config::{CONFIG_FILE, Upkeep, installed_settings, installed_upkeep};
use crate::limits::{COMMAND_SILENCE_TIME, COMMAND_TIME, Limits};
use crate::{logging, text};

/// Runs a command on the registry in `data_dir`.
///
/// # Errors
/// What the command refuses, and trouble on the way to it.
pub fn run<C: Command>(data_dir: &Path, command: C) -> anyhow::Result<C::Reply> {
    run_long(data_dir, command, &mut unheard)
}

/// Runs a command that takes long, and tells how far it is.
///
/// # Errors
/// What the command refuses, and trouble on the way to it.
pub fn run_long<C: Command>(
    data_dir: &Path,
    command: C,
    on_progress: OnProgress<'_>,
) -> anyhow::Result<C::Reply> {
    // Before, because the owner may not be able to read the settings.
    let upkeep = match C::IS_LONG {
        true => installed_upkeep(Path::new(CONFIG_FILE), data_dir)?,
        false => Upkeep::default(),
    };
    let by = who_asks();
    match reach(data_dir)? {
        Reached::Server(stream) => Ok(ask(stream, &command, by, on_progress)?.0),
        Reached::Store(store) => run_on(&store, command, by, &upkeep, on_progress),
    }
}

/// Becomes the owner of the store; none if a server runs.
///
/// # Errors
/// Trouble on the way to it.
pub fn own(data_dir: &Path) -> anyhow::Result<Option<Box<Store>>> {
    match reach(data_dir)? {
        Reached::Server(_) => Ok(None),
        Reached::Store(store) => Ok(Some(store)),
    }
}

/// What is worked with for longer than a command takes.
pub enum Leased<R> {
    /// A running server keeps something for this process.
    Server {
        /// What it says of that.
        reply: R,
        /// Its end is the end of what is kept.
        lease: Lease,
    },
    /// No server runs, and this process owns the store.
    Store(Box<Store>),
}

/// Has the running server run a command and keep what it took for whoever asks, or becomes the
/// owner of the store and does nothing.
///
/// # Errors
/// What the server's reply says, and trouble on the way to it.
pub fn run_leased<C: Command>(
    data_dir: &Path,
    command: &C,
    on_progress: OnProgress<'_>,
) -> anyhow::Result<Leased<C::Reply>> {
    let by = who_asks();
    let stream = match reach(data_dir)? {
        Reached::Server(stream) => stream,
        Reached::Store(store) => return Ok(Leased::Store(store)),
    };
    let (reply, stream) = ask(stream, command, by, on_progress)?;
    Ok(Leased::Server { reply, lease: Lease::new(stream) })
}

/// Runs a command on a store that this process owns.
///
/// # Errors
/// What the command refuses.
pub(super) fn run_on<C: Command>(
    store: &Store,
    command: C,
    by: HostUser,
    upkeep: &Upkeep,
    on_progress: OnProgress<'_>,
) -> anyhow::Result<C::Reply> {
    let by = Some(Actor::Host(by));
    // What it keeps for whoever gave it ends here: nobody works with it.
    let mut context = CommandContext { store, by, running: None, upkeep, on_progress, kept: None };
    command.run(&mut context).map_err(|error| Refused(error.to_string()).into())
}

/// Hears of a command's progress where nobody is told.
pub(super) fn unheard(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// What a command cannot do, as the running server or the store says it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Refused(String);

fn reach(data_dir: &Path) -> anyhow::Result<Reached> {
    // Before, because the owner may not be able to read the settings.
    let allow_network_fs = is_network_fs_allowed(data_dir);
    installer::become_owner_of(data_dir)?;
    connect(data_dir, allow_network_fs)
}

/// Lets the commands of this process open a store behind a network or another program, as their
/// command line says.
pub(crate) fn allow_network_fs() {
    ALLOW_NETWORK_FS.store(true, Ordering::Relaxed);
}

/// Checks that a data directory may lie where it does.
///
/// # Errors
/// [`OpenError::ForeignDisk`] unless command line or settings allow it.
pub(crate) fn check_medium(data_dir: &Path) -> Result<(), OpenError> {
    Medium::check(data_dir, is_network_fs_allowed(data_dir))
}

/// Whether command line or settings allow that.
pub(crate) fn is_network_fs_allowed(data_dir: &Path) -> bool {
    let installed = installed_settings(Path::new(CONFIG_FILE), data_dir);
    ALLOW_NETWORK_FS.load(Ordering::Relaxed)
        || installed.is_ok_and(|settings| settings.allow_network_fs == Some(true))
}

/// Who owns a store.
pub(super) enum Reached {
    Server(UnixStream),
    Store(Box<Store>),
}

/// Checks that there is a store of which something may be asked.
pub(super) fn require_store(layout: &Layout) -> Result<(), OpenError> {
    // Nobody serves it, and to open the store would change what the next backup relies on.
    match layout.is_backup() {
        true => Err(OpenError::IsBackup(layout.root().to_owned())),
        false => layout.require(),
    }
}

/// Reaches the owner of the store, or becomes it. Between the start of a server and its socket,
/// and while another command works, it tries again for a while.
pub(super) fn connect(data_dir: &Path, allow_network_fs: bool) -> anyhow::Result<Reached> {
    let layout = Layout::new(data_dir);
    require_store(&layout)?;
    let directory = File::open(data_dir).with_context(|| format!("cannot open {data_dir:?}"))?;
    let socket = through(&directory, &layout.socket())
        .context("cannot reach the running server over its socket")?;
    let (until, limits) = (Instant::now() + WAIT_FOR_OWNER, Limits::default());
    loop {
        match call(&socket) {
            Ok(stream) => return Ok(Reached::Server(stream)),
            Err(error) if is_nobody(&error) => {}
            Err(error) => return Err(error).context("cannot reach the running server"),
        }
        let options =
            OpenOptions { allow_network_fs, ..open_options(&limits, false, &|_| OnHeld::GiveUp) };
        let error = match Store::open(data_dir, &options) {
            Ok(store) => return Ok(Reached::Store(Box::new(store))),
            Err(error) => error,
        };
        let is_owned = matches!(error, OpenError::Owned(_));
        // Whatever the disk is now: it was read-only when that server started, perhaps.
        if is_owned && let Some(stream) = reach_elsewhere(data_dir)? {
            return Ok(Reached::Server(stream));
        }
        match is_owned && Instant::now() < until {
            true => std::thread::sleep(PAUSE),
            false => bail!(error),
        }
    }
}

/// Reaches the server that runs, or the next one where it has ended: whoever opens the store in
/// between keeps that one from starting for as long as it works.
///
/// # Errors
/// No server comes within the time for which a command waits for one.
pub(super) fn connect_again(data_dir: &Path) -> anyhow::Result<UnixStream> {
    let until = Instant::now() + WAIT_FOR_OWNER;
    loop {
        let directory =
            File::open(data_dir).with_context(|| format!("cannot open {data_dir:?}"))?;
        let socket = through(&directory, &Layout::new(data_dir).socket());
        match call(&socket.context("cannot reach the running server over its socket")?) {
            Ok(stream) => return Ok(stream),
            Err(error) if is_nobody(&error) => {}
            Err(error) => return Err(error).context("cannot reach the running server"),
        }
        if let Some(stream) = reach_elsewhere(data_dir)? {
            return Ok(stream);
        }
        if Instant::now() >= until {
            bail!(
                "the server with which this began has ended, and no other one runs: the same \
                 command goes on, with a server or without one"
            );
        }
        std::thread::sleep(PAUSE);
    }
}

/// Reaches a server whose data directory could not take its socket, if one runs.
fn reach_elsewhere(data_dir: &Path) -> anyhow::Result<Option<UnixStream>> {
    for path in place::to_reach(data_dir) {
        let directory = File::open(path.parent().unwrap_or(Path::new(".")))?;
        match call(&through(&directory, &path)?) {
            Ok(stream) => return Ok(Some(stream)),
            Err(error) if is_nobody(&error) => {}
            Err(error) => return Err(error).context("cannot reach the running server"),
        }
    }
    Ok(None)
}

/// Connects, and waits no longer than for an answer: whoever listens there may take nobody.
fn call(socket: &Path) -> io::Result<UnixStream> {
    let calling = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&calling, Timeout::Send, Some(COMMAND_TIME))?;
    net::connect(&calling, &SocketAddrUnix::new(socket)?)?;
    Ok(UnixStream::from(calling))
}

/// Has a running server do it. The connection comes back with the reply.
pub(super) fn ask<C: Command>(
    mut stream: UnixStream,
    command: &C,
    by: HostUser,
    on_progress: OnProgress<'_>,
) -> anyhow::Result<(C::Reply, BufReader<UnixStream>)> {
    let patience = if C::IS_LONG { COMMAND_SILENCE_TIME } else { COMMAND_TIME };
    let arguments = serde_json::value::to_raw_value(command)?;
    let request = Request { command: C::NAME.to_owned(), arguments, by: Some(by) };
    let mut words = serde_json::to_vec(&request)?;
    words.push(b'\n');
    stream.set_write_timeout(Some(COMMAND_TIME)).context("cannot set a time for the command")?;
    stream.write_all(&words).context("the running server does not take the command")?;
    let mut stream = BufReader::new(stream);
    loop {
        match line::read(&mut stream, patience)? {
            Line::Done(reply) => return Ok((reply, stream)),
            Line::Failed(sentence) => return Err(Refused(sentence).into()),
            Line::Progress(progress) => {
                if on_progress(&progress).is_break() {
                    bail!("stopped before the end");
                }
            }
            Line::Working => {}
        }
    }
}

/// How a store that lies behind no network is opened, by a server or in its place.
pub(crate) fn open_options<'a>(
    limits: &Limits,
    may_create: bool,
    on_held: &'a dyn Fn(&LockHolder) -> OnHeld,
) -> OpenOptions<'a> {
    OpenOptions {
        may_create,
        uploads_per_user: limits.uploads_per_user,
        reserve_bytes: limits.reserve_bytes,
        idle_connections: limits.database_readers(),
        hot_manifest_bytes: limits.hot_manifest_bytes,
        read_pause_time: limits.read_pause_time,
        on_held,
        allow_network_fs: false,
        on_fatal: end_process,
        on_trouble: log_trouble,
    }
}

/// Ends the process when the database can no longer be trusted; the next start recovers.
fn end_process(cause: &StorageError) -> ! {
    let cause = told(cause);
    error!(%cause, "the database can no longer be trusted; starting anew recovers it");
    if !tracing::dispatcher::has_been_set() {
        // A command keeps no log, and must not end without a word.
        let what = "the database can no longer be trusted; trying again recovers it";
        text::complain(&format!("{cause}: {what}"));
    }
    logging::flush();
    std::process::exit(1)
}

/// Logs a failure of the database that no caller waits for.
fn log_trouble(cause: &StorageError) {
    match cause {
        StorageError::BlobLost(_) | StorageError::ManifestLost { .. } => {
            error!("{cause}; it was asked for, and its bytes are not what they were");
        }
        _ => error!(
            cause = %told(cause),
            "the database's log could not be moved into it; the next write tries again"
        ),
    }
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// How long a command waits for the socket of a server that is starting, or for another command.
const WAIT_FOR_OWNER: Duration = Duration::from_secs(20);
/// What the command line said, once and for all commands that it stands for.
static ALLOW_NETWORK_FS: AtomicBool = AtomicBool::new(false);
const PAUSE: Duration = Duration::from_millis(50);
