//! Uploads: every way in which clients send a blob, and what a session survives.

mod end;
mod kill;
mod syncs;

use std::time::Duration;

use storage::Role;

use crate::support::content::{OCTETS, begin_upload, noise, push_blob, sha256, sha512};
use crate::support::http::{Client, Response};
use crate::support::process::wait_until;
use crate::support::server::Server;

#[test]
fn a_blob_comes_in_one_post() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(1, 300_000);
    for digest in [sha256(&bytes), sha512(&bytes)] {
        let path = format!("/v2/a/b/blobs/uploads/?digest={digest}");
        let response = client.request("POST", &path, &[OCTETS], &bytes).expect(201);
        created(&client, "a/b", &response, &digest, &bytes);
        // Once more, in a body without a length and with the digest escaped as Go does.
        let path = format!("/v2/a/b/blobs/uploads/?digest={}", digest.replace(':', "%3A"));
        let response = client.stream("POST", &path, &[OCTETS], bytes.chunks(70_000)).expect(201);
        created(&client, "a/b", &response, &digest, &bytes);
    }
    // One that fails leaves no session behind.
    let path = format!("/v2/a/b/blobs/uploads/?digest={}", sha256(b"other"));
    client.request("POST", &path, &[OCTETS], &bytes).refused(400, "DIGEST_INVALID");
    assert_eq!(open_uploads(&server), 0);
}

#[test]
fn a_blob_comes_with_the_closing_put() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(2, 300_000);
    for digest in [sha256(&bytes), sha512(&bytes)] {
        let started = client.request("POST", "/v2/a/blobs/uploads/", &[], b"").expect(202);
        let location = session(&started, "a", 0);
        let closing = format!("{location}?digest={digest}");
        let response = client.request("PUT", &closing, &[OCTETS], &bytes).expect(201);
        created(&client, "a", &response, &digest, &bytes);
        client.get(&location).refused(404, "BLOB_UPLOAD_UNKNOWN");
        client.request("PATCH", &location, &[], b"more").refused(404, "BLOB_UPLOAD_UNKNOWN");
        // Who did not hear the answer sends the same again.
        let response = client.request("PUT", &closing, &[OCTETS], &bytes).expect(201);
        created(&client, "a", &response, &digest, &bytes);
        // `oc` ends each session that it finished, and takes "unknown" for an answer.
        client.delete(&location).refused(404, "BLOB_UPLOAD_UNKNOWN");
        client.request("PUT", &closing, &[OCTETS], &bytes).refused(404, "BLOB_UPLOAD_UNKNOWN");
    }
    // Without the slash at the end it is the same.
    let started = client.request("POST", "/v2/a/blobs/uploads", &[], b"").expect(202);
    session(&started, "a", 0);
}

#[test]
fn a_streamed_patch_has_no_length() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(3, 700_000);
    let location = begin_upload(&client, "a");
    let response = client.stream("PATCH", &location, &[], bytes.chunks(100_001)).expect(202);
    assert_eq!(session(&response, "a", bytes.len()), location);
    let status = client.get(&location).expect(204);
    session(&status, "a", bytes.len());
    let response = close(&client, &location, &sha256(&bytes), b"").expect(201);
    created(&client, "a", &response, &sha256(&bytes), &bytes);
}

#[test]
fn chunks_come_with_and_without_their_place() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(4, 90_000);
    type Place = fn(usize, usize) -> Option<String>;
    let places: [Place; 3] = [
        |_, _| None,
        |first, last| Some(format!("{first}-{last}")),
        |first, last| Some(format!("bytes {first}-{last}/*")),
    ];
    for place in places {
        for has_length in [true, false] {
            let location = begin_upload(&client, "a");
            let mut end = 0;
            for chunk in bytes[..60_000].chunks(30_000) {
                let place = place(end, end + chunk.len() - 1);
                let mut headers = vec![OCTETS];
                headers.extend(place.as_deref().map(|place| ("Content-Range", place)));
                let response = match has_length {
                    true => client.request("PATCH", &location, &headers, chunk),
                    false => client.stream("PATCH", &location, &headers, [chunk]),
                };
                end += chunk.len();
                session(&response.expect(202), "a", end);
            }
            // The last chunk comes with the closing PUT.
            let place = place(60_000, 89_999);
            let headers: Vec<_> =
                place.as_deref().map(|place| ("Content-Range", place)).into_iter().collect();
            let closing = format!("{location}?digest={}", sha256(&bytes));
            let last = &bytes[60_000..];
            let response = match has_length {
                true => client.request("PUT", &closing, &headers, last),
                false => client.stream("PUT", &closing, &headers, [last]),
            };
            created(&client, "a", &response.expect(201), &sha256(&bytes), &bytes);
        }
    }
}

#[test]
fn a_chunk_out_of_order_leaves_the_session_as_it_was() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(5, 3000);
    let location = begin_upload(&client, "a");
    let patch = |client: &Client, first: usize, last: usize| {
        let place = format!("{first}-{last}");
        let headers = [("Content-Range", place.as_str()), OCTETS];
        client.request("PATCH", &location, &headers, &bytes[first..=last])
    };
    let refused = |response: Response, end: usize| {
        let response = response.refused(416, "BLOB_UPLOAD_INVALID");
        assert_eq!(response.must("location"), location);
        assert_eq!(response.must("range"), range(end));
        session(&client.get(&location).expect(204), "a", end);
    };
    refused(patch(&client, 1000, 1999), 0);
    patch(&client, 0, 999).expect(202);
    refused(patch(&client, 0, 999), 1000);
    refused(patch(&client, 999, 1999), 1000);
    refused(patch(&client, 2000, 2999), 1000);
    patch(&client, 1000, 1999).expect(202);
    let closing = format!("{location}?digest={}", sha256(&bytes));
    let headers = [("Content-Range", "1999-2999")];
    refused(client.request("PUT", &closing, &headers, &bytes[1999..]), 2000);
    let headers = [("Content-Range", "2000-2999")];
    client.request("PUT", &closing, &headers, &bytes[2000..]).expect(201);
}

#[test]
fn a_place_that_is_none_or_lies_is_refused() {
    let server = Server::start();
    let client = server.administrator();
    let location = begin_upload(&client, "a");
    let patch = |place: &str, bytes: &[u8]| {
        client.request("PATCH", &location, &[("Content-Range", place)], bytes)
    };
    for place in ["x", "5", "9-0", "a-b", "-5", "5-", "bytes", "0-9-9", "0-99999999999999999999"] {
        patch(place, b"0123456789").refused(400, "BLOB_UPLOAD_INVALID");
    }
    patch("0-4", b"0123456789").refused(400, "SIZE_INVALID");
    session(&client.get(&location).expect(204), "a", 0);
    let largest = format!("0-{}", u64::MAX);
    patch(&largest, b"0123456789").expect(400);
    session(&client.get(&location).expect(204), "a", 0);
    close(&client, &location, &sha256(b"0123456789"), b"0123456789").expect(201);
}

#[test]
fn the_algorithm_may_be_told_or_come_at_the_end() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(7, 5000);
    for hint in ["", "?digest-algorithm=sha256", "?digest-algorithm=sha512"] {
        for digest in [sha256(&bytes), sha512(&bytes)] {
            let path = format!("/v2/a/blobs/uploads/{hint}");
            let location = client.request("POST", &path, &[], b"").expect(202).location();
            client.request("PATCH", &location, &[], &bytes[..2500]).expect(202);
            client.stream("PATCH", &location, &[], [&bytes[2500..4000]]).expect(202);
            let response = close(&client, &location, &digest, &bytes[4000..]).expect(201);
            created(&client, "a", &response, &digest, &bytes);
        }
    }
    let path = "/v2/a/blobs/uploads/?digest-algorithm=md5";
    client.request("POST", path, &[], b"").refused(400, "DIGEST_INVALID");
}

#[test]
fn a_session_is_cancelled() {
    let server = Server::start();
    let client = server.administrator();
    let location = begin_upload(&client, "a");
    client.request("PATCH", &location, &[], b"some").expect(202);
    client.delete(&location).expect(204);
    assert_eq!(std::fs::read_dir(server.data().join("uploads")).expect("uploads").count(), 0);
    client.get(&location).refused(404, "BLOB_UPLOAD_UNKNOWN");
    client.request("PATCH", &location, &[], b"more").refused(404, "BLOB_UPLOAD_UNKNOWN");
    close(&client, &location, &sha256(b"some"), b"").refused(404, "BLOB_UPLOAD_UNKNOWN");
    client.delete(&location).refused(404, "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn a_blob_is_mounted() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(8, 1000);
    let digest = push_blob(&client, "from/here", &bytes);
    let mount = |to: &str, query: &str| {
        let path = format!("/v2/{to}/blobs/uploads/?{query}");
        client.request("POST", &path, &[], b"")
    };
    for (to, query) in [
        ("a", format!("mount={digest}&from=from/here")),
        ("b", format!("from=from%2Fhere&mount={}", digest.replace(':', "%3A"))),
        // From wherever it is.
        ("c", format!("mount={digest}")),
        // Into the repository that holds it.
        ("from/here", format!("mount={digest}&from=from/here")),
    ] {
        created(&client, to, &mount(to, &query).expect(201), &digest, &bytes);
    }
    // What cannot be mounted can be uploaded: never an error, always a session that works.
    let absent = sha256(b"absent");
    for query in [
        format!("mount={digest}&from=not/there"),
        format!("mount={absent}&from=from/here"),
        format!("mount={absent}"),
    ] {
        let started = mount("d", &query).expect(202);
        let location = session(&started, "d", 0);
        client.get(&format!("/v2/d/blobs/{digest}")).refused(404, "BLOB_UNKNOWN");
        client.request("PATCH", &location, &[], b"absent").expect(202);
        close(&client, &location, &absent, b"").expect(201);
        client.delete(&format!("/v2/d/blobs/{absent}")).expect(202);
    }
}

#[test]
fn a_session_belongs_to_one_user_in_one_repository() {
    let server = Server::start();
    let (owner, other) = (server.administrator(), server.add_user("other", Role::Push));
    let location = begin_upload(&owner, "a");
    owner.request("PATCH", &location, &[], b"mine").expect(202);
    let elsewhere = location.replace("/v2/a/", "/v2/b/");
    for (client, location) in [(&other, &location), (&owner, &elsewhere)] {
        client.get(location).refused(404, "BLOB_UPLOAD_UNKNOWN");
        client.request("PATCH", location, &[], b"x").refused(404, "BLOB_UPLOAD_UNKNOWN");
        close(client, location, &sha256(b"mine"), b"").refused(404, "BLOB_UPLOAD_UNKNOWN");
        client.delete(location).refused(404, "BLOB_UPLOAD_UNKNOWN");
    }
    session(&owner.get(&location).expect(204), "a", 4);
    let (path, id) = location.rsplit_once('/').expect("a path");
    for id in [id.to_uppercase(), id.replace('-', ""), "x".into(), "..".into(), "%2e%2e%2f".into()]
    {
        if id != location {
            owner.get(&format!("{path}/{id}")).expect(404);
        }
    }
    close(&owner, &location, &sha256(b"mine"), b"").expect(201);
}

#[test]
fn a_later_request_takes_the_session_over() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(9, 400_000);
    let location = begin_upload(&client, "a");
    // A client whose network died: half of its body came, and the server cannot know.
    let mut dead = client.connect();
    let length = bytes.len().to_string();
    dead.send(client.head_of("PATCH", &location, &[("Content-Length", &length)]));
    dead.send(&bytes[..300_000]);
    let mut arrived = 0;
    wait_until("a part of it arrives", || {
        let range = client.get(&location).expect(204).must("range").to_owned();
        arrived = match range.strip_prefix("0-").expect("a range") {
            "0" => 0,
            last => last.parse::<usize>().expect("a number") + 1,
        };
        arrived > 0
    });
    assert!(arrived <= 300_000);
    let place = format!("{arrived}-{}", bytes.len() - 1);
    let headers = [("Content-Range", place.as_str())];
    let response = client.request("PATCH", &location, &headers, &bytes[arrived..]).expect(202);
    session(&response, "a", bytes.len());
    // What the first one still sends is refused, and changes nothing.
    dead.send(&bytes[300_000..]);
    let refusal = dead.response("PATCH").refused(409, "BLOB_UPLOAD_INVALID");
    assert!(refusal.error().1.contains("status"), "{refusal:?}");
    let response = close(&client, &location, &sha256(&bytes), b"").expect(201);
    created(&client, "a", &response, &sha256(&bytes), &bytes);
}

#[test]
fn a_session_survives_a_restart() {
    let mut server = Server::start();
    let bytes = noise(10, 200_000);
    let client = server.administrator();
    let locations: Vec<String> = (0..2).map(|_| begin_upload(&client, "a")).collect();
    for location in &locations {
        client.request("PATCH", location, &[], &bytes[..150_000]).expect(202);
    }
    server.restart();
    let client = server.administrator();
    for (location, digest) in locations.iter().zip([sha256(&bytes), sha512(&bytes)]) {
        session(&client.get(location).expect(204), "a", 150_000);
        client.request("PATCH", location, &[], &bytes[150_000..]).expect(202);
        let response = close(&client, location, &digest, b"").expect(201);
        created(&client, "a", &response, &digest, &bytes);
    }
}

#[test]
fn sessions_expire() {
    let server = Server::with(|limits| {
        limits.upload_idle_time = Duration::from_millis(200);
        limits.upload_sweep_time = Duration::from_millis(50);
    });
    let client = server.administrator();
    let location = begin_upload(&client, "a");
    wait_until("the session expires", || {
        std::fs::read_dir(server.data().join("uploads")).expect("uploads").count() == 0
    });
    client.get(&location).refused(404, "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn at_the_limit_the_longest_idle_session_of_the_user_ends() {
    let server = Server::with(|limits| limits.uploads_per_user = 3);
    let (owner, other) = (server.administrator(), server.add_user("other", Role::Push));
    let of_other = begin_upload(&other, "a");
    let mut locations: Vec<String> = (0..3).map(|_| begin_upload(&owner, "a")).collect();
    // The first is used again, so the second is the one that lay idle longest.
    owner.request("PATCH", &locations[0], &[], b"used").expect(202);
    locations.push(begin_upload(&owner, "a"));
    owner.get(&locations[1]).refused(404, "BLOB_UPLOAD_UNKNOWN");
    for location in [&locations[0], &locations[2], &locations[3]] {
        owner.get(location).expect(204);
    }
    other.get(&of_other).expect(204);
    assert_eq!(open_uploads(&server), 4);
}

#[test]
fn a_client_that_asks_first_is_told_to_continue_or_refused() {
    let server = Server::start();
    let client = server.administrator();
    let location = begin_upload(&client, "a");
    let ask = [("Expect", "100-continue"), ("Content-Length", "4")];
    let mut connection = client.connect();
    connection.send(client.head_of("PATCH", &location, &ask));
    assert_eq!(connection.response("PATCH").expect(100).reason, "Continue");
    connection.send(b"some");
    session(&connection.response("PATCH").expect(202), "a", 4);
    // The connection is fit for the next request.
    connection.send(client.head_of("GET", &location, &[]));
    session(&connection.response("GET").expect(204), "a", 4);

    let mut connection = client.connect();
    let unknown = "/v2/a/blobs/uploads/01234567-89ab-4def-8123-456789abcdef";
    connection.send(client.head_of("PATCH", unknown, &ask));
    connection.response("PATCH").refused(404, "BLOB_UPLOAD_UNKNOWN");
    // Whether it sends its body after that is open, so the connection ends.
    connection.expect_close();
}

#[test]
fn two_clients_push_the_same_blob_at_once() {
    let server = Server::start();
    let client = server.administrator();
    let bytes = noise(11, 500_000);
    client.get("/v2/").expect(200);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (client, bytes) = (&client, &bytes);
            scope.spawn(move || push_blob(client, ["a", "b"][number % 2], bytes));
        }
    });
    for repository in ["a", "b"] {
        let blob = client.get(&format!("/v2/{repository}/blobs/{}", sha256(&bytes))).expect(200);
        assert!(blob.body == bytes, "other bytes");
    }
    assert_eq!(open_uploads(&server), 0);
}

/// Checks an answer that tells of a session, and returns where it is.
#[track_caller]
fn session(response: &Response, repository: &str, end: usize) -> String {
    let location = response.location();
    let id = response.must("docker-upload-uuid");
    assert_eq!(location, format!("/v2/{repository}/blobs/uploads/{id}"));
    assert_eq!(response.must("range"), range(end));
    location
}

/// The range of a session in the form that `oc` parses: no unit, and never an end before the
/// start.
fn range(end: usize) -> String {
    format!("0-{}", end.saturating_sub(1))
}

/// Checks the answer to a push, and that the blob is where it says.
#[track_caller]
fn created(client: &Client, repository: &str, response: &Response, digest: &str, bytes: &[u8]) {
    assert_eq!(response.must("docker-content-digest"), digest);
    let location = response.location();
    assert_eq!(location, format!("/v2/{repository}/blobs/{digest}"));
    let head = client.head(&location).expect(200);
    assert_eq!(head.must("content-length"), bytes.len().to_string());
    assert_eq!(head.must("docker-content-digest"), digest);
    assert!(client.get(&location).expect(200).body == bytes, "other bytes");
}

#[track_caller]
fn close(client: &Client, location: &str, digest: &str, last: &[u8]) -> Response {
    client.request("PUT", &format!("{location}?digest={digest}"), &[], last)
}

#[track_caller]
fn open_uploads(server: &Server) -> u64 {
    server.command(registry_server::command::data::LookAtState {}).open_uploads
}
