//! What bullies do.

use std::collections::VecDeque;
use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use oci::MediaType;
use storage::Role;

use crate::support::content::{OCTETS, begin_upload, noise, sha256};
use crate::support::http::{Client, Connection, connect_from};
use crate::support::process::wait_until;
use crate::support::server::Server;

use super::heavy;

/// A server with its clients.
pub(super) struct Scene {
    pub(super) server: Server,
    /// Somebody who may push, and means no good.
    pub(super) bully: Client,
    /// Somebody who may push.
    pub(super) pusher: Client,
    /// Somebody who may pull.
    pub(super) puller: Client,
    /// Somebody with a connection that rests most of the time.
    pub(super) idle: Client,
}

/// A bully at work, until this is dropped.
pub(super) struct Attack {
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
    /// How many blows make it felt.
    needed: usize,
}

#[derive(Default)]
pub(super) struct State {
    is_over: AtomicBool,
    /// What was done so far: connections that are held, requests that were answered.
    blows: AtomicUsize,
}

impl State {
    pub(super) fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    pub(super) fn strike(&self) {
        self.blows.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn rest(&self) {
        std::thread::sleep(PAUSE);
    }
}

impl Attack {
    /// So many threads that do the same until the end; each has a number.
    pub(super) fn begin(
        count: usize,
        needed: usize,
        work: impl Fn(&State, usize) + Send + Sync + 'static,
    ) -> Self {
        let (state, work) = (Arc::new(State::default()), Arc::new(work));
        let threads = (0..count).map(|number| {
            let (state, work) = (Arc::clone(&state), Arc::clone(&work));
            std::thread::spawn(move || {
                while state.goes_on() {
                    work(&state, number);
                }
            })
        });
        let threads = threads.collect();
        Self { state, threads, needed }
    }

    /// Waits until enough was done.
    pub(super) fn wait_until_it_hurts(&self) {
        wait_until("the bully is at work", || self.blows() >= self.needed);
    }

    /// How much was done so far.
    pub(super) fn blows(&self) -> usize {
        self.state.blows.load(Ordering::Relaxed)
    }

    /// Ends it, and says how much was done.
    pub(super) fn end(mut self) -> Blows {
        self.stop();
        Blows(self.blows())
    }

    fn stop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let outcome = thread.join();
            if !std::thread::panicking() {
                outcome.expect("a bully that does not panic");
            }
        }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How much a bully did.
pub(super) struct Blows(usize);

impl fmt::Display for Blows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} blows", self.0)
    }
}

/// More connections than there are places pipeline requests and never read an answer.
pub(super) fn asks_and_never_reads(scene: &Scene) -> Attack {
    asks_and(scene, |_| ())
}

/// The same, but now and then they read a few bytes.
pub(super) fn reads_a_little(scene: &Scene) -> Attack {
    asks_and(scene, |connection| {
        let _ = connection.is_idle();
    })
}

fn asks_and(scene: &Scene, now_and_then: fn(&mut Connection)) -> Attack {
    let client = scene.server.nobody();
    Attack::begin(CROWD, CROWD, move |state, _| {
        let Some(mut connection) = hurried(&client) else { return state.rest() };
        pour(state, &mut connection);
        state.strike();
        while state.goes_on() && pour(state, &mut connection) {
            now_and_then(&mut connection);
            state.rest();
        }
    })
}

/// Connections on which nothing comes.
pub(super) fn half_open(scene: &Scene) -> Attack {
    let address = scene.server.address();
    Attack::begin(CROWD, CROWD, move |state, _| {
        let Ok(socket) = TcpStream::connect(address) else { return state.rest() };
        state.strike();
        let mut byte = [0];
        socket.set_read_timeout(Some(PAUSE)).expect("a socket");
        let is_open = || matches!(socket.peek(&mut byte), Err(error) if is_late(error.kind()));
        let mut is_open = is_open;
        while state.goes_on() && is_open() {}
    })
}

/// Passwords are tried under names that are there and others.
pub(super) fn guesses(scene: &Scene) -> Attack {
    let client = scene.server.nobody();
    let number = AtomicUsize::new(0);
    Attack::begin(8, 8, move |state, _| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let name =
            if number.is_multiple_of(2) { "puller".to_owned() } else { format!("guess{number}") };
        let guesser = client.with_login(Some((&name, &format!("guess {number}"))));
        guesser.get("/v2/").refused(401, "UNAUTHORIZED");
        state.strike();
    })
}

/// Passwords are tried under names that nobody has, each time another one.
pub(super) fn guesses_new_names(scene: &Scene) -> Attack {
    let client = scene.server.nobody();
    let number = AtomicUsize::new(0);
    Attack::begin(GUESSERS, GUESSERS / 4, move |state, _| {
        let name = format!("guess{}", number.fetch_add(1, Ordering::Relaxed));
        client.with_login(Some((&name, "a guess"))).get("/v2/").refused(401, "UNAUTHORIZED");
        state.strike();
    })
}

/// Manifests that name as many absent layers as fit.
pub(super) fn names_absent_layers(scene: &Scene) -> Attack {
    let client = scene.bully.again();
    Attack::begin(6, 6, move |state, number| {
        let body = heavy::of_absent_layers(number, heavy::MOST);
        let headers = [("Content-Type", MediaType::OCI_MANIFEST)];
        while state.goes_on() {
            let answer = client.request("PUT", "/v2/bully/manifests/a", &headers, body.as_bytes());
            assert!(matches!(answer.status, 400 | 404), "{answer:?}");
            state.strike();
        }
    })
}

/// Manifests of 4 MiB whose last byte never comes.
pub(super) fn endless_manifests(scene: &Scene) -> Attack {
    let client = scene.bully.again();
    Attack::begin(40, 4, move |state, _| {
        let Some(mut connection) = hurried(&client) else { return state.rest() };
        let length = (4 << 20).to_string();
        let headers =
            [("Content-Type", MediaType::OCI_MANIFEST), ("Content-Length", length.as_str())];
        connection.send(client.head_of("PUT", "/v2/bully/manifests/a", &headers));
        let piece = vec![b' '; 1 << 20];
        let mut left = 4;
        while state.goes_on() {
            match connection.try_send(if left > 1 { &piece } else { &piece[1..] }) {
                Ok(()) if left == 1 => break,
                Ok(()) => left -= 1,
                Err(error) if is_late(error.kind()) => {}
                Err(_) => return,
            }
        }
        state.strike();
        while state.goes_on() {
            state.rest();
        }
    })
}

/// Pulls of a large blob that nobody reads.
pub(super) fn pulls_and_never_reads(scene: &Scene) -> Attack {
    let client = scene.bully.again();
    let path = format!("/v2/bully/blobs/{}", sha256(&noise(1, LARGE_BYTES)));
    Attack::begin(CROWD, CROWD, move |state, _| {
        let Some(mut connection) = hurried(&client) else { return state.rest() };
        connection.send(client.head_of("GET", &path, &[]));
        state.strike();
        while state.goes_on() {
            state.rest();
        }
    })
}

/// Uploads of which a part came, and nothing more comes.
pub(super) fn resting_uploads(scene: &Scene) -> Attack {
    let client = scene.bully.again();
    // One after the other on one connection, so that all others are at an upload.
    let uploads: Vec<String> = (0..CROWD).map(|_| begin_upload(&client, "bully")).collect();
    Attack::begin(CROWD, CROWD, move |state, number| {
        let Some(mut connection) = hurried(&client) else { return state.rest() };
        let headers = [OCTETS, ("Content-Length", "1000000")];
        connection.send(client.head_of("PATCH", &uploads[number], &headers));
        connection.send([b'x'; 1000]);
        state.strike();
        while state.goes_on() {
            state.rest();
        }
    })
}

/// Uploads on all places, each with a byte now and then.
pub(super) fn trickling_uploads(scene: &Scene) -> Attack {
    let client = scene.bully.again();
    let uploads: Vec<String> = (0..CROWD).map(|_| begin_upload(&client, "bully")).collect();
    Attack::begin(CROWD, SHARE, move |state, number| {
        state.rest();
        let Some(mut connection) = hurried(&client) else { return };
        let headers = [OCTETS, ("Content-Length", "1000000")];
        let head = client.head_of("PATCH", &uploads[number], &headers);
        if connection.try_send(head.as_bytes()).is_ok() {
            state.strike();
        }
        while state.goes_on() && connection.try_send(b"x").is_ok() {
            state.rest();
        }
    })
}

/// Manifests of two users on all places, of which more comes now and then, as slowly as it may.
pub(super) fn two_hold_all_places(scene: &Scene) -> Attack {
    let accomplice = scene.server.add_user("accomplice", Role::Push);
    let clients = [scene.bully.again(), accomplice];
    clients.iter().for_each(|client| drop(client.get("/v2/").expect(200)));
    Attack::begin(CROWD, SHARE, move |state, number| {
        state.rest();
        let client = &clients[number % 2];
        let Some(mut connection) = hurried(client) else { return };
        let headers = [("Content-Type", MediaType::OCI_MANIFEST), ("Content-Length", "4000000")];
        let head = client.head_of("PUT", "/v2/bully/manifests/a", &headers);
        if connection.try_send(head.as_bytes()).is_ok() {
            state.strike();
        }
        while state.goes_on() && connection.try_send(&[b' '; 5000]).is_ok() {
            state.rest();
        }
    })
}

/// One user is logged in on as many places as he gets, and does nothing. Beside him come
/// connections that say nothing, each from another address.
pub(super) fn silent_from_everywhere(scene: &Scene) -> Attack {
    let (client, address) = (scene.bully.again(), scene.server.address());
    let numbers = AtomicUsize::new(0);
    Attack::begin(CROWD + 1, SHARE, move |state, thread| match thread {
        CROWD => {
            let mut held = VecDeque::new();
            while state.goes_on() {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                let [.., high, low] = number.to_be_bytes();
                held.extend(connect_from(Ipv4Addr::new(127, 1, high, low).into(), address).ok());
                if held.len() > CROWD {
                    held.pop_front();
                }
                state.rest();
            }
        }
        _ => rest_with_a_login(state, &client),
    })
}

/// The same, but those who say nothing come from one address, and come again when they are closed.
pub(super) fn silent_from_one_address(scene: &Scene) -> Attack {
    let (client, address) = (scene.bully.again(), scene.server.address());
    Attack::begin(CROWD + CROWD / 2, SHARE, move |state, thread| match thread {
        CROWD.. => say_nothing(state, ANOTHER_ADDRESS, address),
        _ => rest_with_a_login(state, &client),
    })
}

/// Logs in, and does nothing until it is closed.
fn rest_with_a_login(state: &State, client: &Client) {
    state.rest();
    let client = client.again();
    if client.try_request("GET", "/v2/", &[], b"").is_err() {
        return state.rest();
    }
    state.strike();
    while state.goes_on() && client.has_idle() {
        state.rest();
    }
}

fn say_nothing(state: &State, source: IpAddr, address: SocketAddr) {
    let Ok(socket) = connect_from(source, address) else { return state.rest() };
    let mut byte = [0];
    socket.set_read_timeout(Some(PAUSE)).expect("a socket");
    let is_open = || matches!(socket.peek(&mut byte), Err(error) if is_late(error.kind()));
    let mut is_open = is_open;
    while state.goes_on() && is_open() {}
}

/// The same layer is pushed by all at once, again and again.
pub(super) fn one_base_layer(scene: &Scene) -> Attack {
    let client = scene.bully.again();
    let layer = noise(2, 1 << 20);
    Attack::begin(CROWD, CROWD, move |state, number| {
        let path = format!("/v2/bully/{number}/blobs/uploads/?digest={}", sha256(&layer));
        let client = client.again();
        while state.goes_on() {
            client.request("POST", &path, &[OCTETS], &layer).expect(201);
            state.strike();
        }
    })
}

/// A connection on which nobody waits for long; none if there is none to be had now.
pub(super) fn hurried(client: &Client) -> Option<Connection> {
    let mut connection = client.try_connect().ok()?;
    connection.hurry(PAUSE);
    Some(connection)
}

/// Sends requests until the server takes no more; false once it has closed the connection.
fn pour(state: &State, connection: &mut Connection) -> bool {
    let requests = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    while state.goes_on() {
        match connection.try_send(requests.as_bytes()) {
            Ok(()) => {}
            Err(error) => return is_late(error.kind()),
        }
    }
    true
}

fn is_late(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// More connections than a server with few places has.
pub(super) const CROWD: usize = 80;
/// Of so many places, those that one user may have.
const SHARE: usize = 48;
/// Where some bullies come from, and a few of the victims.
pub(super) const ANOTHER_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// How many guess at once.
pub(super) const GUESSERS: usize = 40;
/// The size of the blob that a bully pulls.
pub(super) const LARGE_BYTES: usize = 8 << 20;
const PAUSE: Duration = Duration::from_millis(100);
