//! Blobs: reading them, deleting them, and that a blob is reachable only
//! through a repository that holds it.

use std::fs::File;
use std::num::NonZeroU64;

use rustix::fs::{Advice, fadvise};

use crate::support::content::{
    Manifest, begin_upload, noise, push_blob, push_image, sha256, sha512,
};
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
fn a_blob_is_read_from_memory_and_from_the_disk_alike() {
    const SIZE: usize = 9_000_000;
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(2, SIZE);
    let digest = push_blob(&client, "a", &bytes);
    let path = format!("/v2/a/blobs/{digest}");
    let hex = digest.trim_start_matches("sha256:");
    let file = File::open(server.data().join("blobs/sha256").join(&hex[..2]).join(hex));
    let file = file.expect("the file of the blob");
    // Memory loses all of it, every other piece, and its end; the rest was read in between.
    for (first, length, step) in [(0, SIZE, SIZE), (0, 100_000, 200_000), (SIZE / 2, SIZE, SIZE)] {
        for start in (first..SIZE).step_by(step) {
            let length = NonZeroU64::new(length as u64);
            fadvise(&file, start as u64, length, Advice::DontNeed).expect("advice");
        }
        assert!(client.get(&path).expect(200).body == bytes, "from {first}");
        let part = [("Range", "bytes=1000000-7999999")];
        let part = client.request("GET", &path, &part, b"").expect(206);
        assert!(part.body == bytes[1_000_000..8_000_000], "a part, from {first}");
    }
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
    let nothing = client.request("GET", &path, &[("Range", "bytes=0-")], b"").expect(416);
    assert_eq!(nothing.must("content-range"), "bytes */0");
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
