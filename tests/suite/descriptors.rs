//! Few open files: the server does less at once, and refuses nobody for it.

use std::net::TcpStream;

use crate::support::binary::Instance;
use crate::support::content::{Manifest, OCTETS, noise, push_image, sha256};
use crate::support::http::{Client, Response};

/// The fewest with which it starts.
const FEW: u32 = 68;
/// More than the places that there are for them.
const CLIENTS: u64 = 24;

#[test]
fn with_few_open_files_many_clients_push_and_pull_and_none_hears_of_a_failure() {
    let mut instance = Instance::new().with_open_files(FEW);
    instance.start();
    assert!(instance.errors().contains("few open files"), "{}", instance.errors());
    let client = instance.client();
    let shared = noise(0, 1 << 20);
    push_image(&client, "shared", "1", &shared);
    let shared = format!("/v2/shared/blobs/{}", sha256(&shared));
    // Who only connects keeps nobody out.
    let silent = (0..FEW).map(|_| TcpStream::connect(("127.0.0.1", instance.port())));
    let silent: Vec<TcpStream> = silent.collect::<Result<_, _>>().expect("connections");
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (client, shared) = (client.again(), &shared);
            scope.spawn(move || {
                for round in 0..4 {
                    push(&client, number, round);
                    ask(&client, "GET", shared, &[], b"").expect(200);
                    ask(&client, "GET", "/v2/shared/manifests/1", &[], b"").expect(200);
                    ask(&client, "GET", "/v2/_catalog", &[], b"").expect(200);
                }
            });
        }
    });
    drop(silent);
    instance.command(&["gc"], &[]).ok();
    instance.command(&["verify"], &[]).ok();
    instance.stop();
    assert!(!instance.errors().contains("Too many open files"), "{}", instance.errors());
}

/// Pushes an image of one layer of its own.
fn push(client: &Client, number: u64, round: u64) {
    let repository = format!("own/{number}");
    let layer = noise(100 + number * 100 + round, 100_000);
    for blob in [&b"{}"[..], &layer] {
        let path = format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(blob));
        ask(client, "POST", &path, &[OCTETS], blob).expect(201);
    }
    let image = Manifest::image(b"{}", &layer);
    let path = format!("/v2/{repository}/manifests/{round}");
    let media_type = [("Content-Type", image.media_type.as_str())];
    ask(client, "PUT", &path, &media_type, &image.bytes).expect(201);
}

/// Asks once, over a connection of its own.
fn ask(
    client: &Client,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let answer = client.try_alone(method, path, headers, body);
    answer.unwrap_or_else(|| panic!("{method} {path} was not answered"))
}

#[test]
fn with_fewer_open_files_than_it_needs_it_says_so_and_does_not_start() {
    let mut instance = Instance::new().with_open_files(FEW - 1);
    instance.begin();
    assert_eq!(instance.wait().code(), Some(1));
    let said = instance.errors();
    assert!(said.contains("may open 67 files at once, and the registry needs 68"), "{said}");
}
