//! Bodies that stop, break off, come unasked for or are refused: the client reads why, and an
//! upload goes on from what arrived.

use oci::MediaType;
use storage::Role;

use super::{MIB, SHORT};
use crate::support::content::{begin_upload, noise, push_blob, sha256};
use crate::support::http::Connection;
use crate::support::process::wait_until;
use crate::support::server::Server;

#[test]
fn an_upload_that_rests_for_too_long_is_refused_and_goes_on() {
    let server = Server::with(|limits| limits.upload_rest_time = SHORT);
    let client = server.administrator();
    let bytes = noise(1, 500_000);
    let location = begin_upload(&client, "a");
    let length = [("Content-Length", "500000")];
    let mut connection = client.connect();
    connection.send(client.head_of("PATCH", &location, &length));
    connection.send(&bytes[..300_000]);
    let refusal = connection.response("PATCH").refused(408, "BLOB_UPLOAD_INVALID");
    assert!(refusal.error().1.contains("status"), "{refusal:?}");
    assert_eq!(client.get(&location).expect(204).must("range"), "0-299999");
    client.request("PATCH", &location, &[], &bytes[300_000..400_000]).expect(202);
    // The same with the last request of an upload, chunked.
    let closing = format!("{location}?digest={}", sha256(&bytes));
    let mut connection = client.connect();
    connection.send(client.head_of("PUT", &closing, &[("Transfer-Encoding", "chunked")]));
    connection.send_chunk(&bytes[400_000..450_000]);
    connection.response("PUT").refused(408, "BLOB_UPLOAD_INVALID");
    assert_eq!(client.get(&location).expect(204).must("range"), "0-449999");
    client.request("PUT", &closing, &[], &bytes[450_000..]).expect(201);
}

#[test]
fn an_upload_may_rest_for_longer_than_another_body() {
    let server = Server::with(|limits| limits.body_idle_time = SHORT);
    let client = server.administrator();
    let bytes = noise(14, 600_000);
    let (digest, length) = (sha256(&bytes), bytes.len().to_string());
    let length = ("Content-Length", length.as_str());
    let location = begin_upload(&client, "a");
    let whole = format!("/v2/a/blobs/uploads/?digest={digest}");
    let chunked = ("Transfer-Encoding", "chunked");
    let mut patch = client.connect();
    patch.send(client.head_of("PATCH", &location, &[length]));
    patch.send(&bytes[..200_000]);
    let mut post = client.connect();
    post.send(client.head_of("POST", &whole, &[chunked]));
    post.send_chunk(&bytes[..200_000]);
    // One that has sent nothing yet.
    let other = format!("{}?digest={digest}", begin_upload(&client, "a"));
    let mut put = client.connect();
    put.send(client.head_of("PUT", &other, &[length]));
    // A manifest is gathered in memory. When one is refused that stopped after all of these, and
    // then another, they have rested for longer than it may.
    for _ in 0..2 {
        let mut manifest = client.connect();
        manifest.send(client.head_of("PUT", "/v2/a/manifests/1", &[length]));
        manifest.send("{");
        manifest.response("PUT").refused(408, "BLOB_UPLOAD_INVALID");
    }
    wait_until("what came is in the file", || {
        client.get(&location).expect(204).must("range") == "0-199999"
    });
    patch.send(&bytes[200_000..]);
    assert_eq!(patch.response("PATCH").expect(202).must("range"), "0-599999");
    post.send_chunk(&bytes[200_000..]);
    post.send("0\r\n\r\n");
    post.response("POST").expect(201);
    put.send(&bytes);
    put.response("PUT").expect(201);
}

#[test]
fn an_upload_that_rested_is_finished() {
    let server = Server::with(|limits| limits.body_idle_time = SHORT);
    let client = server.administrator();
    let bytes = noise(15, 600_000);
    let digest = sha256(&bytes);
    let location = begin_upload(&client, "a");
    let mut upload = client.connect();
    let chunked = [("Transfer-Encoding", "chunked")];
    upload.send(client.head_of("PUT", &format!("{location}?digest={digest}"), &chunked));
    for piece in bytes.chunks(200_000) {
        upload.send_chunk(piece);
        let mut manifest = client.connect();
        manifest.send(client.head_of("PUT", "/v2/a/manifests/1", &[("Content-Length", "2")]));
        manifest.response("PUT").expect(408);
    }
    upload.send("0\r\n\r\n");
    upload.response("PUT").expect(201);
    assert!(client.get(&format!("/v2/a/blobs/{digest}")).expect(200).body == bytes, "other bytes");
}

#[test]
fn an_upload_that_rests_gives_its_place_to_a_newcomer() {
    let server = Server::with(|limits| {
        limits.connections = 2;
        limits.body_idle_time = SHORT;
    });
    let client = server.administrator();
    let bytes = noise(16, 300_000);
    let begin = client.head_of("POST", "/v2/a/blobs/uploads/", &[("Content-Length", "0")]);
    // Until the server has read its head a connection is idle, and would give way as such.
    let expect = [("Content-Length", "300000"), ("Expect", "100-continue")];
    let begin_on = |connection: &mut Connection| {
        connection.send(&begin);
        let location = connection.response("POST").expect(202).location();
        connection.send(client.head_of("PATCH", &location, &expect));
        connection.response("PATCH").expect(100);
        connection.send(&bytes[..200_000]);
        location
    };
    let (mut given_up, mut kept) = (client.connect(), client.connect());
    let location = begin_on(&mut given_up);
    wait_until("what came is in the file", || {
        kept.send(client.head_of("GET", &location, &[]));
        kept.response("GET").expect(204).must("range") == "0-199999"
    });
    begin_on(&mut kept);
    // It waits until the first of the two has rested for long enough.
    let mut newcomer = client.connect();
    newcomer.send(client.head_of("GET", "/v2/", &[]));
    newcomer.response("GET").expect(200);
    let refusal = given_up.response("PATCH").refused(408, "BLOB_UPLOAD_INVALID");
    assert_eq!(refusal.must("connection"), "close");
    given_up.expect_close();
    kept.send(&bytes[200_000..]);
    kept.response("PATCH").expect(202);
    // What was sent is there, and the upload goes on from it.
    newcomer.send(client.head_of("GET", &location, &[]));
    assert_eq!(newcomer.response("GET").expect(204).must("range"), "0-199999");
    newcomer.send(client.head_of("PATCH", &location, &[("Content-Length", "100000")]));
    newcomer.send(&bytes[200_000..]);
    newcomer.response("PATCH").expect(202);
}

#[test]
fn an_upload_that_rests_ends_when_another_request_takes_it_over() {
    let server = Server::with(|limits| limits.body_idle_time = SHORT);
    let client = server.administrator();
    let location = begin_upload(&client, "a");
    let chunked = [("Transfer-Encoding", "chunked")];
    let mut dead = client.connect();
    dead.send(client.head_of("PATCH", &location, &chunked));
    dead.send_chunk(b"before");
    wait_until("it came", || client.get(&location).expect(204).must("range") == "0-5");
    client.request("PATCH", &location, &[], b"after").expect(202);
    dead.response("PATCH").refused(409, "BLOB_UPLOAD_INVALID");
    assert_eq!(client.get(&location).expect(204).must("range"), "0-10");
}

#[test]
fn a_manifest_that_stops_is_refused() {
    let server = Server::with(|limits| limits.body_idle_time = SHORT);
    let client = server.administrator();
    let mut connection = client.connect();
    connection.send(client.head_of("PUT", "/v2/a/manifests/1", &[("Content-Length", "500")]));
    connection.send("{");
    let refusal = connection.response("PUT").expect(408);
    assert_eq!(refusal.must("connection"), "close");
    client.get("/v2/a/manifests/1").refused(404, "MANIFEST_UNKNOWN");
}

#[test]
fn what_came_before_the_connection_broke_is_kept() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(2, 500_000);
    let location = begin_upload(&client, "a");
    let mut connection = client.connect();
    // With an answer unread, even one of TLS, the close would be a reset that overtakes the bytes.
    connection.send(client.head_of("GET", "/v2/", &[]));
    connection.response("GET").expect(200);
    connection.send(client.head_of("PATCH", &location, &[("Content-Length", "500000")]));
    connection.send(&bytes[..300_000]);
    drop(connection);
    wait_until("all that arrived is in the session", || {
        client.get(&location).expect(204).must("range") == "0-299999"
    });
    let closing = format!("{location}?digest={}", sha256(&bytes));
    client.request("PUT", &closing, &[], &bytes[300_000..]).expect(201);
    // Framing that is wrong is as if the connection broke.
    let location = begin_upload(&client, "a");
    let mut connection = client.connect();
    connection.send(client.head_of("PATCH", &location, &[("Transfer-Encoding", "chunked")]));
    connection.send_chunk(&bytes[..1000]);
    connection.send("no number\r\n");
    connection.response("PATCH").refused(400, "BLOB_UPLOAD_INVALID");
    assert_eq!(client.get(&location).expect(204).must("range"), "0-999");
}

#[test]
fn a_broken_upload_in_one_request_leaves_no_session() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(7, MIB);
    let path = format!("/v2/a/blobs/uploads/?digest={}", sha256(&bytes));
    for sent in [0, 1000, 300_000, MIB - 1] {
        let mut connection = client.connect();
        connection.send(client.head_of("POST", &path, &[("Content-Length", "1048576")]));
        connection.send(&bytes[..sent]);
        drop(connection);
    }
    // The second request is answered after the first, so the four sessions have begun or never
    // will.
    client.get("/v2/").expect(200);
    wait_until("the sessions that nobody knows of are gone", || {
        std::fs::read_dir(server.data().join("uploads")).expect("uploads").count() == 0
    });
}

#[test]
fn a_refusal_reaches_a_client_that_still_sends() {
    let server = Server::start();
    let (nobody, reader, owner) =
        (server.nobody(), server.add_user("reader", Role::Pull), server.administrator());
    let body = vec![b'x'; 16 * MIB];
    let length = body.len().to_string();
    let unknown = "/v2/a/blobs/uploads/01234567-89ab-4def-8123-456789abcdef";
    let kind = ("Content-Type", MediaType::OCI_MANIFEST);
    for (client, method, path, status) in [
        (&nobody, "PATCH", unknown, 401),
        (&reader, "PATCH", unknown, 403),
        (&owner, "PATCH", unknown, 404),
        (&owner, "PUT", "/v2/a/manifests/1", 413),
        (&owner, "POST", "/v2/a/blobs/uploads/?digest=x", 400),
        (&owner, "BREW", "/v2/", 405),
    ] {
        for framing in [("Content-Length", length.as_str()), ("Transfer-Encoding", "chunked")] {
            let is_chunked = framing.1 == "chunked";
            let head = client.head_of(method, path, &[kind, framing]);
            let send = |connection: &mut Connection, piece: &[u8]| {
                if is_chunked { connection.send_chunk(piece) } else { connection.send(piece) }
            };
            // One reads only after it has sent everything.
            let mut late = client.connect();
            late.send(&head);
            body.chunks(MIB).for_each(|piece| send(&mut late, piece));
            if is_chunked {
                late.send("0\r\n\r\n");
            }
            late.response(method).expect(status);
            // The other reads as soon as there is something, and goes on sending.
            let mut early = client.connect();
            early.send(&head);
            if status == 413 && is_chunked {
                body[..5 * MIB].chunks(MIB).for_each(|piece| send(&mut early, piece));
            }
            early.response(method).expect(status);
            body[..MIB].chunks(MIB / 4).for_each(|piece| send(&mut early, piece));
        }
    }
}

#[test]
fn a_body_that_nobody_wants_is_read_all_the_same() {
    let server = Server::start();
    let client = server.administrator();
    let digest = push_blob(&client, "a", b"blob");
    let body = vec![b'x'; 8 * MIB];
    for (method, path, status) in [
        ("POST", "/v2/a/blobs/uploads/".to_owned(), 202),
        ("POST", format!("/v2/b/blobs/uploads/?mount={digest}&from=a"), 201),
        ("GET", "/v2/".to_owned(), 200),
        ("DELETE", format!("/v2/a/blobs/{digest}"), 202),
    ] {
        let length = [("Content-Length", "8388608")];
        let mut connection = client.connect();
        connection.send(client.head_of(method, &path, &length));
        for piece in body.chunks(MIB) {
            connection.send(piece);
        }
        connection.response(method).expect(status);
    }
}

#[test]
fn a_refused_body_is_read_within_bounds() {
    let server = Server::with(|limits| {
        limits.refused_body_bytes = MIB as u64;
        limits.refused_body_time = SHORT;
    });
    let client = server.nobody();
    let head = client.head_of("PUT", "/v2/a/manifests/1", &[("Transfer-Encoding", "chunked")]);
    // More than the bound.
    let mut endless = client.connect();
    endless.send(&head);
    endless.response("PUT").expect(401);
    let mut chunk = b"10000\r\n".to_vec();
    chunk.extend_from_slice(&[b'x'; 0x10000]);
    chunk.extend_from_slice(b"\r\n");
    let mut sent = 0;
    while endless.try_send(&chunk).is_ok() {
        sent += chunk.len();
        assert!(sent < 256 * MIB, "the server takes an endless body");
    }
    // Longer than the bound.
    let mut stalled = client.connect();
    stalled.send(&head);
    stalled.response("PUT").expect(401);
    stalled.expect_close();
}

#[test]
fn the_body_of_a_refused_request_is_not_the_head_of_the_next() {
    let server = Server::with(|limits| limits.head_time = SHORT);
    let client = server.administrator();
    let nobody = client.with_login(None);
    let mut connection = nobody.connect();
    connection.send(nobody.head_of("PUT", "/v2/a/manifests/1", &[("Content-Length", "20")]));
    connection.response("PUT").refused(401, "UNAUTHORIZED");
    connection.send([b'x'; 20]);
    // Nothing comes for longer than a head may take, and that is no head that is late.
    std::thread::sleep(SHORT * 5);
    connection.send(client.head_of("GET", "/v2/", &[]));
    connection.response("GET").expect(200);
}
