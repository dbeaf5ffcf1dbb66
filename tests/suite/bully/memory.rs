//! What clients can make the server hold has one bound, whatever they do.

use std::any::Any;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use registry_server::limits::Limits;
use storage::MediaType;

use super::heavy::{MOST, long_manifest, of_absent_layers, push_long_tags};
use crate::support::binary::Instance;
use crate::support::content::{noise, push_blob};
use crate::support::http::{Client, Connection};
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
    let attacks: [(&str, Attack<'_>); 9] = [
        ("large blobs that nobody reads", Box::new(|| Box::new(unread(&client, &large)))),
        ("small blobs that nobody reads", Box::new(|| Box::new(unread(&client, &small)))),
        ("blobs in thousands of parts", Box::new(|| Box::new(unread_parts(&client, &large)))),
        ("manifests without an end", Box::new(|| Box::new(endless(&client)))),
        ("half-open handshakes", Box::new(|| Box::new(half_open(address)))),
        ("uploads that rest", Box::new(|| Box::new(resting(&client)))),
        ("lists that nobody reads", Box::new(|| Box::new(unread_at(&client, "tags/list", &[])))),
        ("long manifests unread", Box::new(|| Box::new(unread_at(&client, "manifests/long", &[])))),
        ("who sends and goes", Box::new(|| gone(&client))),
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
    unread_at(client, &format!("blobs/{digest}"), headers)
}

fn unread_at(client: &Client, path: &str, headers: &[(&str, &str)]) -> Vec<Connection> {
    let head = client.head_of("GET", &format!("/v2/a/{path}"), headers);
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
const ALL_BYTES: u64 = 300 << 20;
/// What may come on top of it from one time to the next.
const SLACK_BYTES: u64 = 16 << 20;
