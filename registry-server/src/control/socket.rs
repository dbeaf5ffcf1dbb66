//! The server's side of the socket.

use std::fs::{self, File, Permissions};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::Error as _;
use serde_json::value::RawValue;
use storage::{Actor, Store};
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, Take,
};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tracing::{debug, info, warn};

use super::{Line, Request, place};
use crate::blocking::{Blocking, OnDisk, RunningWork};
use crate::command::all::{AnyCommand, Entry};
use crate::command::{Context, Kept, Progress, Running};
use crate::limits::Limits;

/// The socket of a running server. Removed when it is dropped, which may wait for the disk, as
/// making it does.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Makes the socket in the data directory, or elsewhere if its disk is read-only. The process
    /// owns the store, so a socket that is there already is left over. Called within a runtime.
    ///
    /// # Errors
    /// Trouble with the directory.
    pub fn bind(store: &Store) -> io::Result<Self> {
        let layout = store.layout();
        match store.is_read_only() {
            true => Self::bind_at(place::to_bind(layout.root())?),
            false => Self::bind_at(layout.socket()),
        }
    }

    fn bind_at(path: PathBuf) -> io::Result<Self> {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let directory = File::open(path.parent().unwrap_or(Path::new(".")))?;
        let listener = UnixListener::bind(through(&directory, &path)?)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Answers commands for ever.
    pub async fn serve(
        self: Arc<Self>,
        store: Arc<Store>,
        running: Running,
        blocking: Blocking,
        limits: Limits,
    ) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if is_trusted(&stream) => {
                    let (store, running) = (Arc::clone(&store), running.clone());
                    let (blocking, limits) = (blocking.clone(), limits.clone());
                    tokio::spawn(async move {
                        let talk = answer(stream, store, running, blocking, &limits);
                        if let Err(error) = talk.await {
                            warn!(%error, "a command was not answered");
                        }
                    });
                }
                Ok(_) => warn!("a command of another user was refused"),
                Err(error) => {
                    warn!(%error, "a command could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// How long accepting rests after a failure.
const ACCEPT_PAUSE: Duration = Duration::from_secs(2);

impl Drop for Socket {
    fn drop(&mut self) {
        // What stays is removed by the next server.
        let _ = fs::remove_file(&self.path);
    }
}

/// The path by which the socket is bound and reached. The address of a socket ends at 107 bytes
/// and the path of a data directory does not, so a longer one goes through the opened directory.
pub(super) fn through(directory: &File, path: &Path) -> io::Result<PathBuf> {
    if path.as_os_str().len() <= ADDRESS_BYTES {
        return Ok(path.to_owned());
    }
    let descriptors = Path::new("/proc/self/fd");
    if !descriptors.is_dir() {
        return Err(io::Error::other(format!(
            "its path has more than {ADDRESS_BYTES} bytes, which takes a mounted /proc: mount \
             it, or keep the data in a directory with a shorter path"
        )));
    }
    let name = path.file_name().unwrap_or_default();
    Ok(descriptors.join(directory.as_raw_fd().to_string()).join(name))
}

/// Whether the other side is this user or root; the mode of the socket says the same, but only
/// from the moment it is set.
fn is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn answer(
    stream: UnixStream,
    store: Arc<Store>,
    running: Running,
    blocking: Blocking,
    limits: &Limits,
) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = Vec::new();
    let most = limits.command_bytes as u64;
    let mut reader = BufReader::new(reader.take(most));
    tokio::time::timeout(limits.head_time, reader.read_until(b'\n', &mut line)).await??;
    let (reply, kept) = match read(&line) {
        Ok(order) => {
            log_command(order.command.as_ref());
            let long = begin(store, running, &blocking, order);
            attend(long, &mut reader, &mut writer, limits.command_news_time).await?
        }
        Err(error) => {
            let sentence = format!(
                "the running server does not know this command ({error}): is it of another \
                 version?"
            );
            (Line::Failed(sentence), None)
        }
    };
    send(&mut writer, &reply).await?;
    if let Some(kept) = kept {
        let ended = wait_for_end(&mut reader, limits.hold_silence_time).await;
        // Before the connection closes, which tells that all is given back.
        blocking.write(move || drop(kept)).await;
        ended?;
    }
    Ok(())
}

/// Waits for the end of whoever has something kept. What it says is a sign of life, and a long
/// silence is its end: a program that is stopped, or writes to a pipe that nobody reads, has its
/// connection for ever.
async fn wait_for_end(
    reader: &mut BufReader<Take<impl AsyncRead + Unpin>>,
    silence: Duration,
) -> io::Result<()> {
    loop {
        // A sign is one byte, and whoever copies for long gives many.
        reader.get_mut().set_limit(1);
        match tokio::time::timeout(silence, reader.read(&mut [0])).await {
            Ok(Ok(0)) => return Ok(()),
            Ok(said) => drop(said?),
            Err(_) => {
                warn!(?silence, "what reads the store gives no sign of life: deletions go on");
                return Ok(());
            }
        }
    }
}

/// A command, and who gives it.
struct Order {
    command: Box<dyn AnyCommand>,
    is_long: bool,
    by: Option<Actor>,
}

/// Finds out which command a line is, and whose.
fn read(line: &[u8]) -> serde_json::Result<Order> {
    let request: Request = serde_json::from_slice(line)?;
    let entry = Entry::find(&request.command)
        .ok_or_else(|| serde_json::Error::custom(format_args!("{:?}", request.command)))?;
    let command = entry.read(&request.arguments)?;
    Ok(Order { command, is_long: entry.is_long, by: request.by.map(Actor::Host) })
}

/// What a command brings back, and what is kept for it.
type Outcome = (Line<Box<RawValue>>, Option<OnDisk<Kept>>);

/// A command at work.
struct AtWork {
    outcome: RunningWork<Outcome>,
    progress: mpsc::Receiver<Progress>,
}

/// Sets a command to work. It stops when the receiver of its progress is gone.
fn begin(store: Arc<Store>, running: Running, blocking: &Blocking, order: Order) -> AtWork {
    let Order { command, is_long, by } = order;
    let (sender, progress) = mpsc::channel(1);
    let mut on_progress = move |progress: &Progress| match sender.try_send(progress.clone()) {
        Err(mpsc::error::TrySendError::Closed(_)) => ControlFlow::Break(()),
        // Whoever listens has not taken the last news yet; there will be newer.
        _ => ControlFlow::Continue(()),
    };
    let work = move || {
        let (store, upkeep) = (store.as_ref(), &running.upkeep);
        let running = Some(&running);
        let on_progress = &mut on_progress;
        let mut context = Context { store, by, running, upkeep, on_progress, kept: None };
        let reply = command.run(&mut context).map_or_else(Line::Failed, Line::Done);
        (reply, context.kept.map(OnDisk::new))
    };
    let outcome = match is_long {
        true => blocking.begin_long(work),
        false => blocking.begin_write(work),
    };
    AtWork { outcome, progress }
}

/// Passes on the progress of a command until it ends, or whoever gave it is gone. Whoever waits
/// hears something each `news_time`, whatever holds up the work.
async fn attend(
    mut work: AtWork,
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    news_time: Duration,
) -> io::Result<Outcome> {
    let mut rest = [0];
    let mut news = tokio::time::interval(news_time);
    news.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first is at once, when nobody has waited yet.
    news.tick().await;
    loop {
        tokio::select! {
            outcome = &mut work.outcome => return Ok(outcome),
            Some(progress) = work.progress.recv() => {
                send::<()>(writer, &Line::Progress(progress)).await?;
                news.reset();
            }
            _ = news.tick() => send::<()>(writer, &Line::Working).await?,
            _ = reader.read(&mut rest) => {
                return Err(io::Error::other("whoever gave it is gone"));
            }
        }
    }
}

async fn send<R: Serialize>(
    writer: &mut (impl AsyncWrite + Unpin),
    line: &Line<R>,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(line)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

/// Logs a command, with what it is about and nothing else that it carries. One that a command
/// on the command line takes many of is logged once.
fn log_command(command: &dyn AnyCommand) {
    let (name, object) = (command.words(), command.subject());
    match command.is_continued() {
        true => debug!(command = name, object, "command"),
        false => info!(command = name, object, "command"),
    }
}

/// The longest path of a socket.
const ADDRESS_BYTES: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_another_version_says_who_asks_as_far_as_both_know_it() {
        let read_by = |more: &str| {
            let line = format!(r#"{{"command":"status","arguments":{{}}{more}}}"#);
            read(line.as_bytes()).map(|order| order.by).map_err(|error| error.to_string())
        };
        let alice = Some(Actor::Host("alice as root".parse().unwrap()));
        assert_eq!(read_by(""), Ok(None));
        assert_eq!(read_by(r#","by":null"#), Ok(None));
        assert_eq!(read_by(r#","by":"alice as root""#), Ok(alice.clone()));
        assert_eq!(read_by(r#","by":"alice as root","session":7"#), Ok(alice));
        // Whom this version cannot read is nobody who is known; no line of theirs ends in the log.
        for unreadable in [r#""alice\nbob""#, r#"{"user":"alice"}"#, "7"] {
            assert_eq!(read_by(&format!(r#","by":{unreadable}"#)), Ok(None), "{unreadable}");
        }
        // What a command asks is never passed over.
        let unknown = r#"{"command":"status","arguments":{"more":1}}"#;
        assert!(read(unknown.as_bytes()).is_err());
    }

    #[tokio::test]
    async fn whoever_waits_for_silent_work_hears_that_it_goes_on() {
        let blocking = Blocking::new(&Limits::default());
        let (end, is_ended) = std::sync::mpsc::channel::<()>();
        let (_sender, progress) = mpsc::channel(1);
        let outcome = blocking.begin_long(move || {
            let _ = is_ended.recv();
            (Line::Done(RawValue::NULL.to_owned()), None)
        });
        let (theirs, ours) = tokio::io::duplex(1 << 16);
        let (mut reader, mut writer) = tokio::io::split(theirs);
        let work = AtWork { outcome, progress };
        let attending = attend(work, &mut reader, &mut writer, Duration::from_millis(10));
        let listening = async {
            let mut lines = BufReader::new(ours).lines();
            for _ in 0..3 {
                let line = lines.next_line().await.unwrap().unwrap();
                assert_eq!(line, "\"working\"");
            }
            end.send(()).unwrap();
            lines
        };
        let (attended, _open) = tokio::join!(attending, listening);
        assert!(matches!(attended.unwrap().0, Line::Done(_)));
    }

    #[tokio::test]
    async fn whoever_holds_something_and_is_silent_loses_it() {
        let silence = Duration::from_millis(10);
        // One that is there, and says nothing.
        let (theirs, _ours) = tokio::io::duplex(1 << 16);
        wait_for_end(&mut BufReader::new(theirs.take(0)), silence).await.unwrap();
        // However many signs of life, its end is its end.
        let (theirs, mut ours) = tokio::io::duplex(1 << 16);
        ours.write_all(&[0; 1000]).await.unwrap();
        drop(ours);
        let mut reader = BufReader::new(theirs.take(0));
        wait_for_end(&mut reader, Duration::MAX).await.unwrap();
        assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
    }
}
