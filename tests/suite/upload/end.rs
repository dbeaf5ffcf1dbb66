//! How an upload ends: with a blob, with an answer that was lost and is given again, or for good
//! where it can never succeed.

use storage::Role;

use super::{close, created, open_uploads, session};
use crate::support::content::{OCTETS, begin_upload, noise, push_blob, sha256, sha512};
use crate::support::http::Response;
use crate::support::server::Server;

#[test]
fn a_wrong_digest_ends_the_upload_and_says_so() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(6, 1000);
    for digest in [sha256(b"other"), sha512(b"other")] {
        let location = begin_upload(&client, "a");
        client.request("PATCH", &location, &[OCTETS], &bytes).expect(202);
        // What is no digest is refused before the upload is looked at.
        for malformed in ["", "sha256:", "sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e", "x"]
        {
            close(&client, &location, malformed, b"").refused(400, "DIGEST_INVALID");
        }
        client.request("PUT", &location, &[], b"").refused(400, "DIGEST_INVALID");
        session(&client.get(&location).expect(204), "a", 1000);
        let refusal = close(&client, &location, &digest, b"").refused(400, "DIGEST_INVALID");
        let (_, message) = refusal.error();
        assert!(message.contains(&digest) && message.contains("begin a new one"), "{refusal:?}");
        client.get(&format!("/v2/a/blobs/{digest}")).refused(404, "BLOB_UNKNOWN");
        // Bytes can only be added, so it could never succeed.
        client.get(&location).refused(404, "BLOB_UPLOAD_UNKNOWN");
        close(&client, &location, &sha256(&bytes), b"").refused(404, "BLOB_UPLOAD_UNKNOWN");
        client.delete(&location).refused(404, "BLOB_UPLOAD_UNKNOWN");
    }
    assert_eq!(std::fs::read_dir(server.data().join("uploads")).expect("uploads").count(), 0);
    push_blob(&client, "a", &bytes);
}

#[test]
fn a_piece_that_was_sent_twice_costs_one_upload_and_no_more() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(15, 200_000);
    let digest = sha256(&bytes);
    // The answer to the first PATCH was lost, and the client does not say where its piece belongs.
    let location = begin_upload(&client, "a");
    for end in [200_000, 400_000] {
        session(&client.request("PATCH", &location, &[OCTETS], &bytes).expect(202), "a", end);
    }
    close(&client, &location, &digest, b"").refused(400, "DIGEST_INVALID");
    close(&client, &location, &digest, b"").refused(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(open_uploads(&server), 0);
    push_blob(&client, "a", &bytes);
}

#[test]
fn an_answer_that_was_lost_is_given_again_while_the_blob_is_there() {
    let mut server = Server::start();
    let client = server.administrator();
    let bytes = noise(16, 300_000);
    let digest = sha256(&bytes);
    let location = begin_upload(&client, "a");
    client.request("PATCH", &location, &[OCTETS], &bytes[..200_000]).expect(202);
    close(&client, &location, &digest, &bytes[200_000..]).expect(201);
    for restarts in 0..2 {
        let client = server.administrator();
        let other = server.add_user(&format!("other-{restarts}"), Role::Push);
        // With the last piece in it or without.
        for last in [&bytes[200_000..], b""] {
            let again = close(&client, &location, &digest, last).expect(201);
            created(&client, "a", &again, &digest, &bytes);
            let unknown = |response: Response| response.refused(404, "BLOB_UPLOAD_UNKNOWN");
            unknown(close(&client, &location, &sha256(b"other"), last));
            unknown(close(&other, &location, &digest, last));
            unknown(close(&client, &location.replace("/v2/a/", "/v2/b/"), &digest, last));
            unknown(client.get(&location));
        }
        assert_eq!(open_uploads(&server), 0);
        server.restart();
    }
    let client = server.administrator();
    client.delete(&format!("/v2/a/blobs/{digest}")).expect(202);
    close(&client, &location, &digest, b"").refused(404, "BLOB_UPLOAD_UNKNOWN");
    client.get(&format!("/v2/a/blobs/{digest}")).refused(404, "BLOB_UNKNOWN");
    // What came in one request has no session that anybody knows of.
    let whole = noise(17, 1000);
    let path = format!("/v2/a/blobs/uploads/?digest={}", sha256(&whole));
    let before = std::fs::read_dir(server.data().join("uploads")).expect("uploads").count();
    client.request("POST", &path, &[OCTETS], &whole).expect(201);
    let after = std::fs::read_dir(server.data().join("uploads")).expect("uploads").count();
    assert_eq!(after, before);
}

#[test]
fn a_push_puts_right_bytes_over_wrong_ones() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(18, 100_000);
    let digest = push_blob(&client, "a", &bytes);
    let hex = &digest["sha256:".len()..];
    let file = server.data().join("blobs/sha256").join(&hex[..2]).join(hex);
    for repository in ["a", "b"] {
        let mut wrong = bytes.clone();
        wrong[50_000] ^= 1;
        std::fs::write(&file, &wrong).expect("a byte flips");
        push_blob(&client, repository, &bytes);
        for repository in ["a", repository] {
            let blob = client.get(&format!("/v2/{repository}/blobs/{digest}")).expect(200);
            assert!(blob.body == bytes, "wrong bytes");
        }
    }
}
