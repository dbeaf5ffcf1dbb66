//! What clients can make the server hold has one bound, whatever they do.

use std::any::Any;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use registry_server::limits::Limits;
use storage::MediaType;

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
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, instance.port()));
    let attacks: [(&str, Attack<'_>); 7] = [
        ("large blobs that nobody reads", Box::new(|| Box::new(unread(&client, &large)))),
        ("small blobs that nobody reads", Box::new(|| Box::new(unread(&client, &small)))),
        ("blobs in thousands of parts", Box::new(|| Box::new(unread_parts(&client, &large)))),
        ("manifests without an end", Box::new(|| Box::new(endless(&client)))),
        ("half-open handshakes", Box::new(|| Box::new(half_open(address)))),
        ("uploads that rest", Box::new(|| Box::new(resting(&client)))),
        ("refusals that nobody reads", Box::new(|| Box::new(refused(&client)))),
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

/// Makes the server hold something, as long as what it returns lives.
type Attack<'a> = Box<dyn Fn() -> Box<dyn Any> + 'a>;

fn unread(client: &Client, digest: &str) -> Vec<Connection> {
    unread_of(client, digest, &[])
}

/// As many parts as a head has room for, and none so close to another that it could be joined.
fn unread_parts(client: &Client, digest: &str) -> Vec<Connection> {
    let parts: Vec<String> =
        (0..3400).map(|part| part * 4000).map(|at| format!("{at}-{at}")).collect();
    unread_of(client, digest, &[("Range", &format!("bytes={}", parts.join(",")))])
}

fn unread_of(client: &Client, digest: &str, headers: &[(&str, &str)]) -> Vec<Connection> {
    let head = client.head_of("GET", &format!("/v2/a/blobs/{digest}"), headers);
    let asked = |_| {
        let mut connection = client.connect();
        connection.send(&head);
        connection
    };
    (0..400).map(asked).collect()
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

/// Less than what these clients want to be held: 800 MiB of manifests, and as much of blobs.
const ALL_BYTES: u64 = 400 << 20;
/// What may come on top of it from one time to the next.
const SLACK_BYTES: u64 = 16 << 20;
