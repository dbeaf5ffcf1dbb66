//! Parts of blobs: one, several, and as many as the head of a request holds.

use crate::support::binary::Instance;
use crate::support::content::{noise, push_blob, sha512};
use crate::support::http::{Client, Connection, Response};
use crate::support::server::Server;

const SIZE: usize = 1_000_000;

#[test]
fn one_range_is_sent_alone() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(2, SIZE);
    let digest = push_blob(&client, "a", &bytes);
    let path = format!("/v2/a/blobs/{digest}");
    for (asked, first, last) in [
        ("bytes=500-1499", 500, 1499),
        ("bytes=0-0", 0, 0),
        ("bytes=500-", 500, SIZE - 1),
        ("bytes=999999-", SIZE - 1, SIZE - 1),
        ("bytes=-500", SIZE - 500, SIZE - 1),
        ("bytes=-2000000", 0, SIZE - 1),
        // The end may lie behind the last byte, even behind every number.
        ("bytes=999000-2000000", 999_000, SIZE - 1),
        ("bytes=1-99999999999999999999999999", 1, SIZE - 1),
        // A part that does not exist is left out.
        ("bytes=5-9, 5000000-", 5, 9),
    ] {
        let response = range(&client, &path, asked).expect(206);
        let expected = format!("bytes {first}-{last}/{SIZE}");
        assert_eq!(response.must("content-range"), expected, "{asked}");
        assert_eq!(response.must("content-type"), "application/octet-stream");
        assert_eq!(response.must("docker-content-digest"), digest);
        assert!(response.body == bytes[first..=last], "{asked}: other bytes");
    }
}

#[test]
fn a_range_outside_the_blob_is_not_satisfiable() {
    let server = Server::start();
    let client = server.administrator();
    let path = format!("/v2/a/blobs/{}", push_blob(&client, "a", &noise(3, 1000)));
    for asked in ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=500-0", "bytes=5000-,6000-"]
    {
        let response = range(&client, &path, asked).refused(416, "SIZE_INVALID");
        assert_eq!(response.must("content-range"), "bytes */1000", "{asked}");
    }
}

#[test]
fn a_range_that_is_none_is_ignored() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(4, 1000);
    let path = format!("/v2/a/blobs/{}", push_blob(&client, "a", &bytes));
    for asked in ["lines=1-2", "bytes", "bytes=", "bytes=x-y", "bytes=1", "bytes=1-2;3-4"] {
        assert_eq!(range(&client, &path, asked).expect(200).body, bytes, "{asked}");
    }
    // Ranges are for GET.
    let head = client.request("HEAD", &path, &[("Range", "bytes=0-9")], b"").expect(200);
    assert_eq!(head.must("content-length"), "1000");
}

#[test]
fn several_ranges_come_as_multipart() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(5, SIZE);
    let digest = push_blob(&client, "a", &bytes);
    let path = format!("/v2/a/blobs/{digest}");
    let asked = [(0, 99), (600_000, 899_999), (200, 299), (SIZE - 10, SIZE - 1)];
    let header: Vec<String> = asked.iter().map(|(first, last)| format!("{first}-{last}")).collect();
    let response = range(&client, &path, &format!("bytes={}", header.join(","))).expect(206);
    assert_eq!(response.header("content-range"), None);
    let parts = parts(&response);
    assert_eq!(parts.len(), asked.len());
    for ((first, last), (place, part)) in asked.into_iter().zip(parts) {
        assert_eq!(place, format!("bytes {first}-{last}/{SIZE}"));
        assert!(part == bytes[first..=last], "{place}: other bytes");
    }
}

#[test]
fn a_thousand_ranges_are_answered_one_by_one() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(8, SIZE);
    let path = format!("/v2/a/blobs/{}", push_blob(&client, "a", &bytes));
    // podman takes a reply for broken that has not exactly the parts that it asked for, so they
    // stay apart even where one begins behind the other, and 8 bytes after it.
    for (count, step, length) in [(17, 1000, 100), (300, 108, 100), (1024, 100, 100)] {
        let asked: Vec<_> = (0..count).map(|n| (n * step, n * step + length - 1)).collect();
        let parts = parts(&range(&client, &path, &header(&asked)).expect(206));
        assert_eq!(parts.len(), count);
        for ((first, last), (place, part)) in asked.into_iter().zip(parts) {
            assert_eq!(place, format!("bytes {first}-{last}/{SIZE}"));
            assert!(part == bytes[first..=last], "{place}: other bytes");
        }
    }
}

#[test]
fn ranges_that_overlap_are_joined() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(9, SIZE);
    let path = format!("/v2/a/blobs/{}", push_blob(&client, "a", &bytes));
    let all = format!("bytes={}", ["0-"; 100].join(","));
    let response = range(&client, &path, &all).expect(206);
    assert_eq!(response.must("content-range"), format!("bytes 0-{}/{SIZE}", SIZE - 1));
    assert!(response.body == bytes, "other bytes");
    let response = range(&client, &path, "bytes=900-999,500-, 10-19,15-29").expect(206);
    let parts = parts(&response);
    let places = [format!("bytes 500-{}/{SIZE}", SIZE - 1), format!("bytes 10-29/{SIZE}")];
    assert_eq!(parts.iter().map(|(place, _)| place).collect::<Vec<_>>(), places.each_ref());
    assert!(parts[0].1 == bytes[500..] && parts[1].1 == bytes[10..30], "other bytes");
}

#[test]
fn as_many_ranges_as_a_head_holds_cost_no_more_than_the_blob() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(10, SIZE);
    let path = format!("/v2/a/blobs/{}", push_blob(&client, "a", &bytes));
    // Single bytes, each with a head of its own, would be many times the blob.
    let asked: Vec<_> = (0..5000).map(|n| (n * 3, n * 3)).collect();
    let response = range(&client, &path, &header(&asked)).expect(206);
    assert_eq!(response.must("content-range"), format!("bytes 0-{}/{SIZE}", 4999 * 3));
    assert!(response.body == bytes[..=4999 * 3], "other bytes");
    // Those far from one another are answered, whoever asks for so many.
    let asked: Vec<_> = (0..4000).map(|n| (n * 250, n * 250)).collect();
    let response = range(&client, &path, &header(&asked)).expect(206);
    let parts = parts(&response);
    assert_eq!(parts.len(), asked.len());
    assert!(parts.iter().zip(asked).all(|((_, part), (first, _))| *part == [bytes[first]]));
    assert!(response.body.len() < SIZE, "{}", response.body.len());
}

#[test]
fn ranges_that_nobody_reads_hold_little_memory() {
    const CLIENTS: usize = 40;
    let instance = Instance::started();
    let client = instance.client();
    let path = format!("/v2/a/blobs/{}", push_blob(&client, "a", &noise(11, 64 * SIZE)));
    let asked: Vec<_> = (0..3000).map(|n| (n * 20_000, n * 20_000 + 9999)).collect();
    let head = client.head_of("GET", &path, &[("Range", &header(&asked))]);
    let before = instance.memory();
    let stuck: Vec<Connection> = (0..CLIENTS)
        .map(|_| {
            let mut connection = client.connect();
            connection.send(&head);
            connection
        })
        .collect();
    for _ in 0..100 {
        client.get("/readyz").expect(200);
    }
    let each = instance.memory().saturating_sub(before) / CLIENTS as u64;
    // Two pieces of 256 KiB, what TLS and the connection hold, and the list.
    assert!(each < 1536 * 1024, "{} KiB for each", each / 1024);
    drop(stuck);
}

#[test]
fn the_boundary_is_no_longer_than_rfc_2046_allows() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(12, 1000);
    let digest = sha512(&bytes);
    let push = format!("/v2/a/blobs/uploads/?digest={digest}");
    client.request("POST", &push, &[], &bytes).expect(201);
    let response = range(&client, &format!("/v2/a/blobs/{digest}"), "bytes=0-9,20-29").expect(206);
    let parts = parts(&response);
    assert!(parts[0].1 == bytes[..10] && parts[1].1 == bytes[20..30], "other bytes");
}

#[test]
fn a_range_of_what_the_client_had_is_a_range_of_this() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(13, 1000);
    let digest = push_blob(&client, "a", &bytes);
    let ask = |known: &str| {
        let headers = [("Range", "bytes=10-19"), ("If-Range", known)];
        client.request("GET", &format!("/v2/a/blobs/{digest}"), &headers, b"")
    };
    assert!(ask(&format!("\"{digest}\"")).expect(206).body == bytes[10..20], "other bytes");
    // A part of something else would be put together with what the client had of it.
    for known in ["\"another\"", "Sat, 28 Nov 2026 10:00:00 GMT"] {
        assert!(ask(known).expect(200).body == bytes, "other bytes");
    }
}

/// A `Range` header of these parts, given by their first and last bytes.
fn header(parts: &[(usize, usize)]) -> String {
    let parts: Vec<String> = parts.iter().map(|(first, last)| format!("{first}-{last}")).collect();
    format!("bytes={}", parts.join(","))
}

fn range(client: &Client, path: &str, range: &str) -> Response {
    client.request("GET", path, &[("Range", range)], b"")
}

/// The parts of a multipart/byteranges body, by RFC 2046 section 5.1: where each belongs, and its
/// bytes.
fn parts(response: &Response) -> Vec<(String, Vec<u8>)> {
    let kind = response.must("content-type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect("several parts");
    assert!(boundary.len() <= 70 && !boundary.is_empty(), "RFC 2046 allows 70: {boundary}");
    let delimiter = format!("\r\n--{boundary}");
    // The first delimiter needs no line end before it.
    let mut rest = response.body.as_slice();
    rest = rest.strip_prefix(b"\r\n".as_slice()).unwrap_or(rest);
    rest = rest.strip_prefix(&delimiter.as_bytes()[2..]).expect("a delimiter");
    let mut parts = Vec::new();
    while let Some(part) = rest.strip_prefix(b"\r\n".as_slice()) {
        let end = find(part, delimiter.as_bytes()).expect("a delimiter behind each part");
        let head_end = find(part, b"\r\n\r\n").expect("a head of each part");
        let head = String::from_utf8(part[..head_end].to_vec()).expect("a head in UTF-8");
        let header = |name: &str| {
            let line = head.lines().find(|line| line.to_lowercase().starts_with(name));
            line.and_then(|line| line.split_once(": ")).expect("a header").1.to_owned()
        };
        assert_eq!(header("content-type"), "application/octet-stream");
        parts.push((header("content-range"), part[head_end + 4..end].to_vec()));
        rest = &part[end + delimiter.len()..];
    }
    assert!(matches!(rest, b"--" | b"--\r\n"), "no closing delimiter");
    parts
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}
