//! What clients can make the server hold has one bound, whatever they do.

use std::any::Any;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use oci::MediaType;
use registry_server::limits::Limits;
use registry_server::net::Kernel;

use super::heavy::{MOST, long_manifest, of_absent_layers, push_long_tags};
use crate::support::binary::Instance;
use crate::support::content::{noise, push_blob};
use crate::support::http::{Client, Connection};
use crate::support::process::wait_until;
use crate::support::report::tell;

#[test]
fn what_clients_make_the_server_hold_is_bounded_and_the_next_one_finds_it_again() {
    let mut instance = Instance::started();
    let client = instance.client();
    let large = push_blob(&client, "a", &noise(1, 16 << 20));
    let small = push_blob(&client, "a", &noise(2, 1 << 20));
    push_long_tags(&client, "a", 10_000);
    long_manifest().put(&client, "a", "long").expect(201);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, instance.port()));
    let attacks: [(&str, Attack<'_>); 11] = [
        ("large blobs that nobody reads", Box::new(|| Box::new(unread(&client, &large)))),
        ("small blobs that nobody reads", Box::new(|| Box::new(unread(&client, &small)))),
        ("blobs in thousands of parts", Box::new(|| Box::new(unread_parts(&client, &large)))),
        ("manifests without an end", Box::new(|| Box::new(endless(&client)))),
        ("half-open handshakes", Box::new(|| Box::new(half_open(address)))),
        ("uploads that rest", Box::new(|| Box::new(resting(&client)))),
        ("refusals that nobody reads", Box::new(|| Box::new(refused(&client)))),
        (
            "lists that nobody reads",
            Box::new(|| Box::new(unread_at(&client, "tags/list", &[], CROWD))),
        ),
        (
            "long manifests unread",
            Box::new(|| Box::new(unread_at(&client, "manifests/long", &[], CROWD))),
        ),
        ("who sends and goes", Box::new(|| gone(&client))),
        ("logins that wait", Box::new(|| Box::new(waiting_logins(&client)))),
    ];
    let bound = Limits::default().memory_bytes() as u64;
    // The first time, each thread comes to the memory that it keeps for itself from then on.
    let mut peaks = [0; 3];
    for peak in &mut peaks {
        for (what, attack) in &attacks {
            let held = attack();
            // What is under way still takes what came, and no more.
            std::thread::sleep(Duration::from_millis(500));
            let bytes = instance.anonymous_memory();
            drop(held);
            tell(&format!("{what}: {} MiB of {}", bytes >> 20, bound >> 20));
            assert!(bytes < bound, "{what}: {bytes} bytes, the bound is {bound}");
            *peak = bytes.max(*peak);
            client.get("/v2/").expect(200);
        }
    }
    let [first, second, third] = peaks;
    assert!(third < ALL_BYTES, "{third} bytes were not bounded by what each takes");
    assert!(third < second + second / 8 + SLACK_BYTES, "{first}, {second} bytes, then {third}");
    instance.stop();
}

#[test]
fn what_the_kernel_holds_of_pulls_that_nobody_reads_is_bounded() {
    let mut instance = Instance::started();
    let client = instance.client();
    let large = push_blob(&client, "a", &noise(1, 16 << 20));
    let held = unread_of(&client, &large, &[], UNREAD);
    wait_until("the server has nothing more to write", || {
        let before = queued_bytes(instance.port());
        std::thread::sleep(Duration::from_millis(500));
        before > 0 && queued_bytes(instance.port()) == before
    });
    let queued = queued_bytes(instance.port());
    let limits = Limits::default().fit_sockets(Kernel::read());
    let growing = limits.growing_sockets.div_ceil(2) * limits.grown_socket_bytes;
    // A buffer takes one piece more than it has room for.
    let bound = growing + held.len() * 2 * limits.socket_send_bytes;
    tell(&format!("{} KiB in {} sockets, of {}", queued >> 10, held.len(), bound >> 10));
    assert!(queued < bound, "{queued} bytes, the bound is {bound}");
    assert!(bound < limits.socket_memory_bytes());
    // Others are served as before.
    client.get(&format!("/v2/a/blobs/{large}")).expect(200);
    drop(held);
    instance.stop();
}

/// Bytes that the server wrote and nobody took, in all of its connections.
fn queued_bytes(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table of sockets");
    let local = format!(":{port:04X}");
    let sent = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (queue, _) = fields.get(4)?.split_once(':')?;
        let is_ours = fields[1].ends_with(&local) && fields[3] == ESTABLISHED;
        is_ours.then(|| usize::from_str_radix(queue, 16).expect("a number"))
    };
    table.lines().filter_map(sent).sum()
}

/// Makes the server hold something, as long as what it returns lives.
type Attack<'a> = Box<dyn Fn() -> Box<dyn Any> + 'a>;

fn unread(client: &Client, digest: &str) -> Vec<Connection> {
    unread_of(client, digest, &[], CROWD)
}

/// As many parts as a head has room for, and none so close to another that it could be joined.
fn unread_parts(client: &Client, digest: &str) -> Vec<Connection> {
    let parts: Vec<String> =
        (0..3400).map(|part| part * 4000).map(|at| format!("{at}-{at}")).collect();
    let range = format!("bytes={}", parts.join(","));
    unread_of(client, digest, &[("Range", &range)], CROWD)
}

fn unread_of(
    client: &Client,
    digest: &str,
    headers: &[(&str, &str)],
    count: usize,
) -> Vec<Connection> {
    unread_at(client, &format!("blobs/{digest}"), headers, count)
}

fn unread_at(
    client: &Client,
    path: &str,
    headers: &[(&str, &str)],
    count: usize,
) -> Vec<Connection> {
    let head = client.head_of("GET", &format!("/v2/a/{path}"), headers);
    let asked = |_| {
        let mut connection = client.connect();
        connection.send(&head);
        connection
    };
    (0..count).map(asked).collect()
}

fn endless(client: &Client) -> Vec<Connection> {
    let length = (4 << 20).to_string();
    let headers = [("Content-Type", MediaType::OCI_MANIFEST), ("Content-Length", length.as_str())];
    let head = client.head_of("PUT", "/v2/a/manifests/a", &headers);
    let body = vec![b' '; (4 << 20) - 1];
    let sent = |_| {
        let mut connection = client.connect();
        connection.hurry(Duration::from_millis(5));
        connection.send(&head);
        // The server takes as much of it as it has room for.
        let _ = connection.try_send(&body);
        connection
    };
    (0..200).map(sent).collect()
}

/// Manifests with a text where none belongs, of which each byte is six in a sentence about it.
fn refused(client: &Client) -> Vec<Connection> {
    let text = "\u{7f}".repeat((4 << 20) - 100);
    let body = format!(r#"{{"schemaVersion":"{text}"}}"#);
    let length = body.len().to_string();
    let headers = [("Content-Type", MediaType::OCI_MANIFEST), ("Content-Length", length.as_str())];
    let head = client.head_of("PUT", "/v2/a/manifests/a", &headers);
    let sent = |_| {
        let mut connection = client.connect();
        connection.send(&head);
        connection.send(body.as_bytes());
        wait_until("the answer begins", || !connection.is_idle());
        connection
    };
    (0..20).map(sent).collect()
}

/// Manifests that are whole, and whose clients are gone.
fn gone(client: &Client) -> Box<dyn Any> {
    let body = of_absent_layers(1, MOST);
    let length = body.len().to_string();
    let headers = [("Content-Type", MediaType::OCI_MANIFEST), ("Content-Length", length.as_str())];
    let head = client.head_of("PUT", "/v2/a/manifests/a", &headers);
    for _ in 0..60 {
        let mut connection = client.connect();
        connection.send(&head);
        connection.send(&body);
    }
    Box::new(())
}

/// Logins of which one at a time is verified.
fn waiting_logins(client: &Client) -> Vec<Connection> {
    let asked = |number| {
        let client = client.with_login(Some((&format!("nobody{number}"), "a guess")));
        let mut connection = client.connect();
        connection.send(client.head_of("GET", "/v2/", &[]));
        connection
    };
    (0..CROWD).map(asked).collect()
}

fn resting(client: &Client) -> Vec<Connection> {
    let sent = |number| {
        let upload = crate::support::content::begin_upload(client, &format!("a/{number}"));
        let mut connection = client.connect();
        let headers = [("Content-Length", "1000000")];
        connection.send(client.head_of("PATCH", &upload, &headers));
        connection.send(vec![b'x'; 500_000]);
        connection
    };
    (0..300).map(sent).collect()
}

fn half_open(address: SocketAddr) -> Vec<TcpStream> {
    (0..2000).filter_map(|_| TcpStream::connect(address).ok()).collect()
}

/// Pulls that nobody reads, where the server's own memory is looked at.
const CROWD: usize = 400;
/// The same where that of the kernel is: without a bound it would be felt by the whole host.
const UNREAD: usize = 200;
/// How the kernel's table says that a connection is open both ways.
const ESTABLISHED: &str = "01";
/// Less than what these clients want to be held: 800 MiB of manifests, and as much of blobs.
const ALL_BYTES: u64 = 400 << 20;
/// What may come on top of it from one time to the next.
const SLACK_BYTES: u64 = 16 << 20;
