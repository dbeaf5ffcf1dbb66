//! What leaves is held against its digest: a byte that flipped on the disk reaches nobody, is known
//! from then on, and is healed by the next push.

use std::fs;
use std::path::Path;

use registry_server::command::data::{LookAtState, State};

use crate::support::binary::Instance;
use crate::support::content::{Manifest, noise, push_blob, push_image, sha256};
use crate::support::http::{Client, Response};
use crate::support::server::Server;
use crate::verify::{blob_path, flip};

/// Bytes of a blob that is held against its digest before it is sent, in these tests.
const HASHED: usize = 10_000;

fn start() -> Server {
    Server::with(|limits| limits.hashed_blob_bytes = HASHED as u64)
}

fn status(server: &Server) -> State {
    server.command(LookAtState {})
}

/// How many blobs and manifests are lost.
fn lost(server: &Server) -> (u64, u64) {
    let status = status(server);
    (status.lost_blobs, status.lost_manifests)
}

/// What a client is told of something lost.
fn is_lost(answer: &Response, code: &str, what: &str) {
    let message = format!("the registry lost {what}: push the image again");
    assert_eq!(answer.error(), (code.to_owned(), message));
}

/// What becomes of a small layer once its file was changed.
fn is_found_and_healed(server: &Server, client: &Client, spoil: impl Fn(&Path)) {
    let layer = noise(1, HASHED);
    let image = push_image(client, "app", "1", &layer);
    let digest = sha256(&layer);
    let (blob, manifest) = (format!("/v2/app/blobs/{digest}"), "/v2/app/manifests/1");
    assert_eq!(client.get(&blob).expect(200).body, layer);
    spoil(&blob_path(&server.data(), &digest));
    client.get(manifest).expect(200);
    is_lost(&client.get(&blob).expect(404), "BLOB_UNKNOWN", &format!("the blob {digest}"));
    assert_eq!(lost(server), (1, 0));
    client.head(&blob).expect(404);
    let needed = format!("{digest}, which {} needs", image.digest());
    is_lost(&client.get(manifest).expect(404), "MANIFEST_UNKNOWN", &needed);
    // As a mirror run does.
    push_image(client, "app", "1", &layer);
    assert_eq!(client.get(&blob).expect(200).body, layer);
    client.get(manifest).expect(200);
    assert_eq!(lost(server), (0, 0));
}

#[test]
fn a_small_blob_with_a_flipped_byte_is_lost_with_the_first_pull() {
    let server = start();
    is_found_and_healed(&server, &server.administrator(), flip);
}

#[test]
fn a_file_that_is_cut_short_or_gone_is_lost_with_the_first_pull() {
    let server = start();
    let client = server.administrator();
    let cut = |path: &Path| fs::write(path, b"short").expect("the file of a blob");
    is_found_and_healed(&server, &client, cut);
    is_found_and_healed(&server, &client, |path| fs::remove_file(path).expect("a file"));
}

#[test]
fn a_range_that_is_ignored_is_a_whole_blob_and_a_part_is_not() {
    let server = start();
    let client = server.administrator();
    let layer = noise(2, HASHED);
    let path = format!("/v2/app/blobs/{}", push_blob(&client, "app", &layer));
    flip(&blob_path(&server.data(), &sha256(&layer)));
    let range = |range| client.request("GET", &path, &[("Range", range)], b"");
    assert_eq!(range("bytes=0-9").expect(206).body, layer[..10]);
    assert_eq!(lost(&server), (0, 0));
    range("lines=0-9").expect(404);
    assert_eq!(lost(&server), (1, 0));
}

#[test]
fn a_large_blob_is_the_clients_to_check_and_a_cut_one_is_lost_without_being_read() {
    let server = start();
    let client = server.administrator();
    let layer = noise(3, 3 << 20);
    let digest = push_blob(&client, "app", &layer);
    let (path, file) = (format!("/v2/app/blobs/{digest}"), blob_path(&server.data(), &digest));
    assert_eq!(client.get(&path).expect(200).body, layer);
    let cut = fs::OpenOptions::new().write(true).open(&file).expect("the file of a blob");
    cut.set_len(2 << 20).expect("a shorter file");
    is_lost(&client.get(&path).expect(404), "BLOB_UNKNOWN", &format!("the blob {digest}"));
    assert_eq!(lost(&server), (1, 0));
    // Verification decides what it is; until then it stays.
    assert!(file.exists());
    push_blob(&client, "app", &layer);
    assert_eq!(client.get(&path).expect(200).body, layer);
    assert_eq!(lost(&server), (0, 0));
}

#[test]
fn a_manifest_whose_bytes_changed_in_the_database_is_answered_to_nobody() {
    let mut instance = Instance::started();
    let client = instance.client();
    let more = serde_json::json!({ "annotations": { "kind": "right-right-right" } });
    push_blob(&client, "app", b"{}");
    push_blob(&client, "app", b"layer");
    let image = Manifest::image_with(b"{}", b"layer", &more);
    image.put(&client, "app", "1").expect(201);
    let index = Manifest::index(&[&image]);
    index.put(&client, "app", "list").expect(201);
    // A start moves what the log holds into the database.
    instance.stop();
    instance.start();
    instance.stop();
    let database = instance.data().join("registry.db");
    let mut bytes = fs::read(&database).expect("the database");
    let word = b"right-right-right";
    let at = bytes.windows(word.len()).position(|found| found == word).expect("the annotation");
    bytes[at + 7] ^= 1;
    fs::write(&database, bytes).expect("the database");
    instance.start();
    let client = instance.client();
    let (by_tag, by_digest) =
        ("/v2/app/manifests/1".to_owned(), format!("/v2/app/manifests/{}", image.digest()));
    client.get("/v2/app/manifests/list").expect(200);
    // Only what is there is asked for: the first answer notes it.
    client.head(&by_tag).expect(404);
    assert!(instance.command(&["status"], &[]).ok().contains("LOST: 0 blobs and 1 manifest"));
    let what = format!("the manifest {}", image.digest());
    for path in [&by_tag, &by_digest] {
        is_lost(&client.get(path).expect(404), "MANIFEST_UNKNOWN", &what);
    }
    client.get("/v2/app/manifests/list").refused(404, "MANIFEST_UNKNOWN");
    assert!(instance.errors().contains(&format!("ERROR the registry lost {what}")));
    image.put(&client, "app", "1").expect(201);
    for path in [&by_tag, &by_digest] {
        assert_eq!(client.get(path).expect(200).body, image.bytes);
    }
    client.get("/v2/app/manifests/list").expect(200);
    assert!(!instance.command(&["status"], &[]).ok().contains("LOST"));
}
