//! Blobs: reading them whole and in parts, deleting them, and that a blob is reachable only
//! through a repository that holds it.

use crate::support::content::{
    Manifest, begin_upload, noise, push_blob, push_image, sha256, sha512,
};
use crate::support::http::{Client, Response};
use crate::support::server::Server;

const SIZE: usize = 1_000_000;

#[test]
fn a_blob_is_read_as_it_was_pushed() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(1, SIZE);
    let digest = push_blob(&client, "a", &bytes);
    let path = format!("/v2/a/blobs/{digest}");
    let whole = client.get(&path).expect(200);
    assert_eq!(whole.body, bytes);
    let head = client.head(&path).expect(200);
    for response in [&whole, &head] {
        assert_eq!(response.must("content-length"), SIZE.to_string());
        assert_eq!(response.must("content-type"), "application/octet-stream");
        assert_eq!(response.must("docker-content-digest"), digest);
        assert_eq!(response.must("accept-ranges"), "bytes");
    }
    // Go asks for compression; a compressed answer would have no length.
    let compressed = client.request("GET", &path, &[("Accept-Encoding", "gzip")], b"").expect(200);
    assert_eq!(compressed.body, bytes);
}

#[test]
fn a_blob_that_is_not_there_is_unknown() {
    let server = Server::start();
    let client = server.administrator();
    let digest = push_blob(&client, "a", b"there");
    for path in [
        format!("/v2/a/blobs/{}", sha256(b"elsewhere")),
        format!("/v2/a/blobs/{}", sha512(b"there")),
        format!("/v2/b/blobs/{digest}"),
    ] {
        let refusal = client.get(&path).refused(404, "BLOB_UNKNOWN");
        let (_, message) = refusal.error();
        assert!(message.contains(path.rsplit('/').next().expect("a digest")), "{message}");
        client.head(&path).expect(404);
        client.delete(&path).refused(404, "BLOB_UNKNOWN");
    }
}

#[test]
fn the_empty_blob_is_a_blob() {
    let server = Server::start();
    let client = server.administrator();
    let path = format!("/v2/a/blobs/{}", push_blob(&client, "a", b""));
    let whole = client.get(&path).expect(200);
    assert_eq!((whole.must("content-length"), whole.body.as_slice()), ("0", &b""[..]));
    assert_eq!(client.head(&path).expect(200).must("content-length"), "0");
    let location = begin_upload(&client, "b");
    let closing = format!("{location}?digest={}", sha256(b""));
    client.request("PUT", &closing, &[], b"").expect(201);
    let nothing = range(&client, &path, "bytes=0-").expect(416);
    assert_eq!(nothing.must("content-range"), "bytes */0");
}

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
    // A hundred overlapping parts are more work than the whole.
    let many = format!("bytes={}", ["0-"; 100].join(","));
    assert!(range(&client, &path, &many).expect(200).body == bytes, "other bytes");
}

#[test]
fn a_blob_is_deleted_from_one_repository() {
    let server = Server::start();
    let client = server.administrator();
    let digest = push_blob(&client, "a", b"shared");
    push_blob(&client, "b", b"shared");
    client.delete(&format!("/v2/a/blobs/{digest}")).expect(202);
    client.get(&format!("/v2/a/blobs/{digest}")).refused(404, "BLOB_UNKNOWN");
    client.head(&format!("/v2/a/blobs/{digest}")).expect(404);
    client.delete(&format!("/v2/a/blobs/{digest}")).refused(404, "BLOB_UNKNOWN");
    assert_eq!(client.get(&format!("/v2/b/blobs/{digest}")).expect(200).body, b"shared");
    // It can be pushed again.
    push_blob(&client, "a", b"shared");
    client.get(&format!("/v2/a/blobs/{digest}")).expect(200);
}

#[test]
fn a_blob_is_not_deleted_while_a_manifest_names_it() {
    let server = Server::start();
    let client = server.administrator();
    let layer = noise(6, 100);
    let manifest = push_image(&client, "a", "1", &layer);
    push_blob(&client, "b", &layer);
    for blob in [sha256(&layer), sha256(b"{}")] {
        let path = format!("/v2/a/blobs/{blob}");
        let refusal = client.delete(&path).expect(405);
        let (_, message) = refusal.error();
        assert!(message.contains(&manifest.digest()), "{message}");
        assert!(!refusal.must("allow").contains("DELETE"), "{refusal:?}");
        client.get(&path).expect(200);
    }
    // Another repository's manifest does not count.
    client.delete(&format!("/v2/b/blobs/{}", sha256(&layer))).expect(202);
    client.delete("/v2/a/manifests/1").expect(202);
    client.delete(&format!("/v2/a/blobs/{}", sha256(&layer))).expect(405);
    client.delete(&format!("/v2/a/manifests/{}", manifest.digest())).expect(202);
    client.delete(&format!("/v2/a/blobs/{}", sha256(&layer))).expect(202);
}

#[test]
fn a_manifest_is_no_blob() {
    let server = Server::start();
    let client = server.administrator();
    let manifest = push_image(&client, "a", "1", b"layer");
    client.get(&format!("/v2/a/blobs/{}", manifest.digest())).refused(404, "BLOB_UNKNOWN");
    let blob = sha256(b"layer");
    client.get(&format!("/v2/a/manifests/{blob}")).refused(404, "MANIFEST_UNKNOWN");
    // The same bytes may be both.
    push_blob(&client, "a", &manifest.bytes);
    client.delete(&format!("/v2/a/blobs/{}", manifest.digest())).expect(202);
    assert_eq!(client.get("/v2/a/manifests/1").expect(200).body, manifest.bytes);
}

#[test]
fn everything_is_there_after_a_restart() {
    let mut server = Server::start();
    let layer = noise(7, SIZE);
    let manifest = push_image(&server.administrator(), "a/b", "1", &layer);
    server.restart();
    let client = server.administrator();
    assert_eq!(client.get("/v2/a/b/manifests/1").expect(200).body, manifest.bytes);
    let blob = client.get(&format!("/v2/a/b/blobs/{}", sha256(&layer))).expect(200);
    assert!(blob.body == layer, "other bytes");
    let again = Manifest::image(b"{}", &layer);
    assert_eq!(again.put(&client, "a/b", "2").expect(201).header("oci-subject"), None);
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
