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
fn what_clients_make_the_server_hold_is_bounded_and_given_back() {
    let mut instance = Instance::started();
    let client = instance.client();
    let large = push_blob(&client, "a", &noise(1, 16 << 20));
    let small = push_blob(&client, "a", &noise(2, 1 << 20));
    let before = instance.anonymous_memory();
    let bound = Limits::default().memory_bytes() as u64;
    let attacks: [(&str, Attack<'_>); 5] = [
        (
            "1,000 large blobs that nobody reads",
            Box::new(|| Box::new(unread(&client, &large, 1000))),
        ),
        (
            "1,000 small blobs that nobody reads",
            Box::new(|| Box::new(unread(&client, &small, 1000))),
        ),
        ("500 manifests without an end", Box::new(|| Box::new(endless(&client)))),
        (
            "4,000 half-open handshakes",
            Box::new(|| {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, instance.port()));
                let sockets: Vec<_> =
                    (0..4000).filter_map(|_| TcpStream::connect(address).ok()).collect();
                Box::new(sockets)
            }),
        ),
        ("1,000 uploads that rest", Box::new(|| Box::new(resting(&client)))),
    ];
    for (what, attack) in attacks {
        let held = attack();
        // Whatever is still under way then is no more than what came.
        std::thread::sleep(Duration::from_secs(1));
        let at_most = instance.anonymous_memory();
        drop(held);
        tell(&format!("{what}: {} MiB of {}", at_most >> 20, bound >> 20));
        assert!(at_most < bound, "{what}: {at_most} bytes, the bound is {bound}");
        client.get("/v2/").expect(200);
        wait_until("what was held is given back", || {
            instance.anonymous_memory() < before + GIVEN_BACK_BYTES
        });
    }
    instance.stop();
}

/// Makes the server hold something, as long as what it returns lives.
type Attack<'a> = Box<dyn Fn() -> Box<dyn Any> + 'a>;

fn unread(client: &Client, digest: &str, count: usize) -> Vec<Connection> {
    let head = client.head_of("GET", &format!("/v2/a/blobs/{digest}"), &[]);
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
    (0..500).map(sent).collect()
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
    (0..1000).map(sent).collect()
}

/// What may stay of it: what SQLite and the threads keep for the next request.
const GIVEN_BACK_BYTES: u64 = 48 << 20;
