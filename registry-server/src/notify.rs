//! What the server tells systemd, after sd_notify(3): that it still starts, that it is ready, that
//! it lives and that it stops. Without a manager that listens (NOTIFY_SOCKET) it tells nobody.
//!
//! A start may last: while another process owns the store, or while its database is brought to a
//! newer schema. So more time is asked for until the server is ready. At a stop none is: requests
//! have less time to end than a unit has to stop, everything that was acknowledged is durable, and
//! what a stalled disk still holds up then is nothing that anybody was promised.
//!
//! The manager may be slow to read too, so a thread of its own sends what is told here.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

/// Tells the manager of this service what it is at, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Notifier(Option<SyncSender<Message>>);

#[derive(Debug)]
enum Message {
    Starting(String),
    MoreTime,
    Ready(String),
    Alive,
    Stopping,
}

impl Notifier {
    /// Starts the thread that sends, if this process is a service that is listened to. Without
    /// one, as [`Notifier::default`] makes it, nothing is told.
    ///
    /// # Errors
    /// Fails when there is no thread to be had.
    pub fn start() -> io::Result<Self> {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(Self::default());
        }
        let (sender, messages) = sync_channel(WAITING_MESSAGES);
        std::thread::Builder::new().name("notify".to_owned()).spawn(move || send_all(&messages))?;
        Ok(Self(Some(sender)))
    }

    /// The server is starting, and this is what it is at.
    pub fn starting(&self, what: &str) {
        self.tell(Message::Starting(what.to_owned()));
    }

    /// The server takes requests at this address.
    pub fn ready(&self, address: &str) {
        self.tell(Message::Ready(address.to_owned()));
    }

    /// The server begins to stop.
    pub fn stopping(&self) {
        self.tell(Message::Stopping);
    }

    /// Asks for more time to start, again and again, until it is dropped.
    pub async fn ask_for_time(&self) -> Infallible {
        let mut ticks = interval(ASK_INTERVAL);
        loop {
            ticks.tick().await;
            self.tell(Message::MoreTime);
        }
    }

    /// Tells for ever that the event loop turns, as often as the manager's watchdog asks for it.
    /// It waits for nothing else: a disk that stalls is no reason to be killed.
    pub async fn stay_alive(self) {
        let Some(time) = sd_notify::watchdog_enabled().filter(|time| !time.is_zero()) else {
            return;
        };
        let mut ticks = interval((time / SIGNS_OF_LIFE).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tell(Message::Alive);
        }
    }

    fn tell(&self, message: Message) {
        if let Some(sender) = &self.0 {
            // Full only if the manager did not read for many minutes: it knows of nothing then.
            let _ = sender.try_send(message);
        }
    }
}

fn send_all(messages: &Receiver<Message>) {
    while let Ok(message) = messages.recv() {
        if let Err(error) = send(&message) {
            warn!(%error, "systemd cannot be told about this service");
        }
    }
}

fn send(message: &Message) -> io::Result<()> {
    let time = u32::try_from(ASKED_TIME.as_micros()).unwrap_or(u32::MAX);
    let more_time = NotifyState::ExtendTimeoutUsec(time);
    match message {
        Message::Starting(what) => {
            sd_notify::notify(&[more_time, NotifyState::Status(&one_line(what))])
        }
        Message::MoreTime => sd_notify::notify(&[more_time]),
        Message::Ready(address) => {
            let status = format!("listening on {address}");
            sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&one_line(&status))])
        }
        Message::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
        Message::Stopping => {
            let status = NotifyState::Status("stopping: requests that are running may end");
            sd_notify::notify(&[NotifyState::Stopping, status])
        }
    }
}

/// Each line of a message is a statement of its own, so no text may hold a second one.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// How much time to start is asked for.
const ASKED_TIME: Duration = Duration::from_secs(60);
/// How often, so that two may be lost.
const ASK_INTERVAL: Duration = Duration::from_secs(20);
/// Signs of life within the time of the watchdog, so that one may be late.
const SIGNS_OF_LIFE: u32 = 3;
/// Messages that wait for the manager to read.
const WAITING_MESSAGES: usize = 64;
