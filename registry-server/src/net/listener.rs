//! Listening, accepting, and stopping in order.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use super::buffers::Buffers;
use super::connection;
use super::table::{Crowding, Slot, Table};
use crate::api::App;

/// Serves on all listeners until `stop` turns true, then lets requests end within the limit.
pub async fn serve(
    app: Arc<App>,
    acceptor: TlsAcceptor,
    listeners: Vec<TcpListener>,
    mut stop: watch::Receiver<bool>,
) {
    let table = Arc::new(Table::default());
    // Each connection holds a sender; when the last is dropped, all connections have ended.
    let (alive, mut all_ended) = mpsc::channel::<()>(1);
    let mut accepting = Vec::new();
    let acceptor = Acceptor {
        app: Arc::clone(&app),
        acceptor,
        table: Arc::clone(&table),
        buffers: Arc::new(Buffers::new(&app.limits)),
        stop: stop.clone(),
        alive,
    };
    for listener in listeners {
        accepting.push(tokio::spawn(acceptor.clone().run(listener)));
    }
    accepting.push(tokio::spawn(acceptor.seat()));
    let overdue = tokio::spawn(close_overdue(Arc::clone(&app), Arc::clone(&table)));
    let _ = stop.wait_for(|stop| *stop).await;
    app.is_stopping.store(true, Ordering::Relaxed);
    accepting.iter().for_each(tokio::task::JoinHandle::abort);
    table.dismiss();
    if tokio::time::timeout(app.limits.drain_time, all_ended.recv()).await.is_err() {
        warn!("requests were still running after the time to stop; they are cut off");
    }
    overdue.abort();
    info!("stopped");
}

/// What accepting needs.
#[derive(Clone)]
struct Acceptor {
    app: Arc<App>,
    acceptor: TlsAcceptor,
    table: Arc<Table>,
    buffers: Arc<Buffers>,
    stop: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        loop {
            self.table.ready(&self.app.limits).await;
            match listener.accept().await {
                // A listener for both families shows IPv4 addresses inside IPv6 ones.
                Ok((socket, peer)) => {
                    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                    // Whoever has to wait for a place waits elsewhere, and holds up nobody.
                    if let Some((socket, place)) = self.table.come(socket, peer, &self.app.limits) {
                        self.begin(socket, place);
                    }
                }
                Err(error) => {
                    // Out of descriptors or memory: nothing is gained by trying at once.
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Gives places to those who wait for one.
    async fn seat(self) {
        loop {
            while let Some((socket, place)) = self.table.next(&self.app.limits) {
                self.begin(socket, place);
                tokio::task::yield_now().await;
            }
            self.table.changed().await;
        }
    }

    fn begin(&self, socket: TcpStream, place: Slot) {
        let (app, acceptor) = (Arc::clone(&self.app), self.acceptor.clone());
        let buffers = Arc::clone(&self.buffers);
        let (stop, alive) = (self.stop.clone(), self.alive.clone());
        tokio::spawn(async move {
            connection::serve(app, acceptor, socket, place, buffers, stop).await;
            drop(alive);
        });
    }
}

async fn close_overdue(app: Arc<App>, table: Arc<Table>) {
    let mut told = Instant::now();
    loop {
        // While nobody is there the process sleeps.
        table.occupied().await;
        tokio::time::sleep(OVERDUE_INTERVAL).await;
        table.close_overdue(&app.limits);
        // One line for however many: whoever makes them must not fill the disk with it.
        if told.elapsed() >= TOLD_INTERVAL {
            told = Instant::now();
            let Crowding { gave_way, refused } = table.take_crowding();
            if gave_way + refused > 0 {
                warn!(gave_way, refused, "there were more connections than places");
            }
        }
    }
}

/// Listens on all these addresses; port 0 takes a free one.
///
/// Every address of IPv6 is every one of IPv4 too, whatever the host's `net.ipv6.bindv6only` says;
/// unless the list names what is meant of IPv4 on the same port. Where the host has no IPv6, it is
/// IPv4 alone.
///
/// # Errors
/// Those of the system, with what to do about the commonest.
pub fn listen(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for &address in addresses {
        let is_same_port = |other: &SocketAddr| other.is_ipv4() && other.port() == address.port();
        let takes_ipv4 = address.port() == 0 || !addresses.iter().any(is_same_port);
        match listen_on(address, takes_ipv4) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported && is_every(address) => {
                if takes_ipv4 {
                    let every = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
                    listeners.push(listen_on(every, takes_ipv4)?);
                }
            }
            outcome => listeners.push(outcome?),
        }
    }
    Ok(listeners)
}

fn listen_on(address: SocketAddr, takes_ipv4: bool) -> io::Result<TcpListener> {
    bind(address, takes_ipv4).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another program uses this port: find it with `ss -ltnp`, or choose another \
                 with --listen"
            }
            io::ErrorKind::AddrNotAvailable => {
                "no interface of this host has this address: see `ip address`"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need root or CAP_NET_BIND_SERVICE: choose another with --listen"
            }
            _ => return with_address(kind(&error), address, &error.to_string()),
        };
        with_address(error.kind(), address, advice)
    })
}

fn bind(address: SocketAddr, takes_ipv4: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    if is_every(address) {
        set_ipv6_v6only(&socket, !takes_ipv4)?;
    }
    // Connections of a server that ended do not keep the next one from listening.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether this is every address of IPv6.
fn is_every(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

fn with_address(kind: io::ErrorKind, address: SocketAddr, what: &str) -> io::Error {
    io::Error::new(kind, format!("cannot listen on {address}: {what}"))
}

/// The kind of a failure, with a name for the one that Rust has none for: a host without IPv6.
fn kind(error: &io::Error) -> io::ErrorKind {
    match error.raw_os_error() {
        Some(number) if number == rustix::io::Errno::AFNOSUPPORT.raw_os_error() => {
            io::ErrorKind::Unsupported
        }
        _ => error.kind(),
    }
}

/// Connections that wait to be accepted; the system may keep fewer (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;
/// How long accepting rests after a failure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often connections are checked against their time limits.
const OVERDUE_INTERVAL: Duration = Duration::from_millis(500);
/// How often it is told that there were too many connections.
const TOLD_INTERVAL: Duration = Duration::from_secs(10);
