//! Limits and abuse: what is too large or too slow is told so and ended, and costs others nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::content::{begin_upload, noise, push_blob, sha256};
use crate::support::http::{Connection, PATIENCE, Response};
use crate::support::process::wait_until;
use crate::support::server::Server;

mod bodies;

const SHORT: Duration = Duration::from_millis(200);
const MIB: usize = 1 << 20;

#[test]
fn a_head_has_at_most_64_kib() {
    let server = Server::start();
    let client = server.administrator();
    let (long, longer) = ("x".repeat(32_000), "x".repeat(70_000));
    let fits = [("X-One", long.as_str()), ("X-Two", long.as_str())];
    client.request("GET", "/v2/", &fits, b"").expect(200);
    client.get(&format!("/v2/_catalog?x={}", "x".repeat(32_000))).expect(200);
    client.get(&format!("/v2/?x={}", "x".repeat(33_000))).refused(414, "SIZE_INVALID");

    let many: Vec<String> = (0..90).map(|number| format!("X-{number}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), &long[..1000])).collect();
    for headers in [&[("X-One", longer.as_str())][..], &many] {
        let head = client.head_of("GET", "/v2/", headers);
        // In one piece, and in pieces that come one after the other.
        for piece in [head.len(), 5000] {
            let mut connection = client.connect();
            for piece in head.as_bytes().chunks(piece) {
                if connection.try_send(piece).is_err() {
                    break;
                }
            }
            let refusal = connection.response("GET").refused(431, "SIZE_INVALID");
            assert!(refusal.error().1.contains("65536"), "{refusal:?}");
        }
    }
    let mut connection = client.connect();
    connection.send(client.head_of("GET", &format!("/v2/?x={longer}"), &[]));
    let refusal = connection.response("GET");
    assert!(matches!(refusal.status, 414 | 431), "{refusal:?}");
    // One that never ends.
    let mut connection = client.connect();
    connection.send("GET /v2/ HTTP/1.1\r\nX: ");
    while connection.try_send(&[b'x'; 4096]).is_ok() && connection.is_idle() {}
    connection.response("GET").refused(431, "SIZE_INVALID");
}

#[test]
fn a_head_that_takes_too_long_is_refused() {
    let server = Server::with(|limits| limits.head_time = SHORT);
    let client = server.administrator();
    let mut idle = client.connect();
    let head = client.head_of("GET", "/v2/", &[]);

    let mut half = client.connect();
    half.send(&head[..head.len() / 2]);
    half.response("GET").refused(408, "UNSUPPORTED");
    half.expect_close();
    // Byte by byte is no way around it.
    let mut slow = client.connect();
    for byte in "GET /v2/?".bytes().chain([b'x'; 10_000]) {
        if slow.try_send(&[byte]).is_err() || !slow.is_idle() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    slow.response("GET").refused(408, "UNSUPPORTED");
    // The second request of a connection has the same time as the first.
    let mut second = client.connect();
    second.send(&head);
    second.response("GET").expect(200);
    second.send(&head[..head.len() / 2]);
    second.response("GET").refused(408, "UNSUPPORTED");
    // A connection that sent nothing yet has the time of idle ones.
    idle.send(&head);
    idle.response("GET").expect(200);
}

#[test]
fn what_is_not_http_is_told_so() {
    let server = Server::start();
    let client = server.nobody();
    for garbage in [
        "\0\u{1}\u{2}\r\n\r\n",
        "garbage\r\n\r\n",
        "GET\r\n\r\n",
        "GET /v2/ HTTP/9.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nbad name: x\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nX: a\0b\r\n\r\n",
        "POST /v2/ HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "POST /v2/ HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST /v2/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST /v2/ HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    ] {
        let mut connection = client.connect();
        connection.send(garbage);
        let refusal = connection.response("GET").refused(400, "UNSUPPORTED");
        assert_eq!(refusal.header("connection"), Some("close"), "{garbage:?}");
        connection.expect_close();
    }
    client.get("/healthz").expect(200);
}

#[test]
fn what_is_not_http_is_told_so_behind_a_request_as_well() {
    let server = Server::with(|limits| {
        limits.head_time = SHORT;
        limits.keep_alive_time = SHORT;
    });
    let client = server.administrator();
    let location = begin_upload(&client, "a");
    let long = "x".repeat(70_000);
    for (second, status, code) in [
        (client.head_of("GET", "/v2/", &[("X", &long)]), 431, "SIZE_INVALID"),
        ("garbage\r\n\r\n".to_owned(), 400, "UNSUPPORTED"),
        ("GET /v2/ HTTP/1.1\r\nX: ".to_owned(), 408, "UNSUPPORTED"),
    ] {
        for (method, first) in [
            ("GET", client.head_of("GET", "/v2/", &[])),
            ("HEAD", client.head_of("HEAD", "/v2/", &[])),
            ("PATCH", client.head_of("PATCH", &location, &[("Content-Length", "4")]) + "some"),
            ("GET", client.head_of("GET", "/v2/a/manifests/none", &[])),
        ] {
            let mut connection = client.connect();
            connection.send(format!("{first}{second}"));
            assert!(matches!(connection.response(method).status, 200 | 202 | 404));
            connection.response("GET").refused(status, code);
        }
    }
}

#[test]
fn targets_that_are_no_paths_are_unknown() {
    let server = Server::start();
    let client = server.administrator();
    let host = server.address();
    for line in ["OPTIONS *", "GET *", "CONNECT example.com:443"] {
        let mut connection = client.connect();
        connection.send(format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        connection.response("GET").expect(404);
    }
}

#[test]
fn plain_http_is_told_to_use_https() {
    let server = Server::start();
    for request in ["GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n", "POST / HTTP/1.0\r\n\r\n"] {
        let mut socket = plain(&server);
        socket.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer in plain HTTP");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let mut response = Response::parse(&format!("{head}\r\n\r\n"));
        response.body = body.as_bytes().to_vec();
        assert!(response.refused(400, "UNSUPPORTED").error().1.contains("https://"), "{answer}");
    }
}

#[test]
fn a_handshake_that_never_ends_is_ended() {
    let server = Server::with(|limits| limits.handshake_time = SHORT);
    // Nothing at all; half a ClientHello; no TLS at all.
    for beginning in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00", b"\0\0\0\0\0\0\0\0", b"\xff"] {
        let mut socket = plain(&server);
        socket.write_all(beginning).expect("some bytes");
        let mut answer = Vec::new();
        // An alert, or nothing; then the end.
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.len() < 100, "{answer:?}");
    }
    server.administrator().get("/v2/").expect(200);
}

#[test]
fn an_idle_connection_is_closed() {
    let server = Server::with(|limits| limits.keep_alive_time = SHORT);
    let client = server.administrator();
    let mut unused = client.connect();
    let mut used = client.connect();
    used.send(client.head_of("GET", "/v2/", &[]));
    used.response("GET").expect(200);
    used.expect_close();
    unused.expect_close();
}

#[test]
fn a_failure_inside_is_told_in_the_status_line_as_well() {
    let server = Server::start();
    let client = server.administrator();
    // Without its directory no upload can begin.
    std::fs::remove_dir(server.data().join("uploads")).expect("an empty directory");
    let response = client.request("POST", "/v2/a/blobs/uploads/", &[], b"");
    let response = response.refused(500, "UNKNOWN");
    // oc and podman drop the body of a 5xx.
    assert_eq!(response.reason, response.error().1);
    assert!(!response.reason.contains("uploads"), "{response:?}");
    client.get("/v2/").expect(200);
}

#[test]
fn at_the_limit_the_longest_idle_connection_gives_way() {
    let server = Server::with(|limits| limits.connections = 3);
    let client = server.administrator();
    let head = client.head_of("GET", "/v2/", &[]);
    let ask = |connection: &mut Connection| {
        connection.send(&head);
        connection.response("GET").expect(200);
        // Idle times are told apart by milliseconds.
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut connections: Vec<Connection> = (0..3).map(|_| client.connect()).collect();
    connections.iter_mut().for_each(ask);
    ask(&mut connections[0]);
    let mut newcomer = client.connect();
    ask(&mut newcomer);
    connections.remove(1).expect_close();
    connections.push(newcomer);
    connections.iter_mut().for_each(ask);
    // Those that only connected give way, too.
    let silent: Vec<TcpStream> = (0..20).map(|_| plain(&server)).collect();
    ask(&mut client.connect());
    drop(silent);
}

#[test]
fn a_busy_connection_does_not_give_way() {
    let server = Server::with(|limits| {
        limits.connections = 2;
        limits.place_time = SHORT;
    });
    let client = server.administrator();
    let bytes = noise(3, 100_000);
    let begin = client.head_of("POST", "/v2/a/blobs/uploads/", &[("Content-Length", "0")]);
    let expect = [("Content-Length", "100000"), ("Expect", "100-continue")];
    // Everything over the two connections that are busy: a third would make one give way.
    let mut busy: Vec<(String, Connection)> = Vec::new();
    for _ in 0..2 {
        let mut connection = client.connect();
        connection.send(&begin);
        let location = connection.response("POST").expect(202).location();
        connection.send(client.head_of("PATCH", &location, &expect));
        connection.response("PATCH").expect(100);
        busy.push((location, connection));
    }
    assert!(client.try_connect().is_err(), "there is no place for a third");
    for (location, connection) in &mut busy {
        connection.send(&bytes);
        connection.response("PATCH").expect(202);
        let closing = format!("{location}?digest={}", sha256(&bytes));
        connection.send(client.head_of("PUT", &closing, &[("Content-Length", "0")]));
        connection.response("PUT").expect(201);
    }
}

#[test]
fn a_client_that_does_not_read_is_dropped() {
    let server = Server::with(|limits| {
        limits.connections = 1;
        limits.place_time = SHORT;
        limits.write_idle_time = SHORT;
    });
    let bytes = noise(4, 24 * MIB);
    let owner = server.administrator();
    let path = format!("/v2/a/blobs/{}", push_blob(&owner, "a", &bytes));
    drop(owner);
    let client = server.administrator();
    let mut free = None;
    wait_until("the owner's place is free", || {
        free = client.try_connect().ok();
        free.is_some()
    });
    let mut stuck = free.expect("a connection");
    stuck.send(client.head_of("GET", &path, &[]));
    // It holds the only place until it is dropped.
    wait_until("the stuck connection gives up its place", || {
        let Ok(mut connection) = client.try_connect() else { return false };
        connection.try_send(client.head_of("GET", "/v2/", &[]).as_bytes()).is_ok()
            && connection.response("GET").status == 200
    });
    assert!(stuck.rest().len() < bytes.len(), "the whole blob came to a client that did not read");
}

#[test]
fn clients_that_do_not_read_hold_nobody_up() {
    let server = Server::with(|limits| limits.reads = 1);
    let client = server.administrator();
    let path = format!("/v2/a/blobs/{}", push_blob(&client, "a", &noise(6, 24 * MIB)));
    let request = client.head_of("GET", &path, &[]);
    // All of them want their next piece, and none takes the one before.
    let stuck: Vec<_> = (0..12)
        .map(|_| {
            let mut connection = client.connect();
            connection.send(&request);
            connection
        })
        .collect();
    for _ in 0..20 {
        client.get("/readyz").expect(200);
        client.head(&path).expect(200);
    }
    drop(stuck);
}

#[test]
fn requests_may_be_sent_ahead() {
    let server = Server::start();
    let client = server.administrator();
    let digest = push_blob(&client, "a", &noise(5, 200_000));
    let location = begin_upload(&client, "a");
    let mut connection = client.connect();
    let requests = [
        client.head_of("GET", "/v2/", &[]),
        client.head_of("HEAD", &format!("/v2/a/blobs/{digest}"), &[]),
        client.head_of("PATCH", &location, &[("Content-Length", "4")]) + "some",
        client.head_of("GET", &location, &[]),
        client.head_of("GET", &format!("/v2/a/blobs/{digest}"), &[]),
        client.head_of("HEAD", "/v2/a/manifests/none", &[]),
        client.head_of("GET", "/v2/a/manifests/none", &[]),
    ];
    connection.send(requests.concat());
    connection.response("GET").expect(200);
    connection.response("HEAD").expect(200);
    assert_eq!(connection.response("PATCH").expect(202).must("range"), "0-3");
    assert_eq!(connection.response("GET").expect(204).must("range"), "0-3");
    assert_eq!(sha256(&connection.response("GET").expect(200).body), digest);
    connection.response("HEAD").expect(404);
    connection.response("GET").refused(404, "MANIFEST_UNKNOWN");
}

#[test]
fn old_and_one_way_clients_are_answered() {
    let server = Server::start();
    let client = server.administrator();
    let head = client.head_of("GET", "/v2/", &[]);
    // HTTP/1.0 ends with the answer.
    let mut old = client.connect();
    old.send(head.replacen("HTTP/1.1", "HTTP/1.0", 1));
    old.response("GET").expect(200);
    old.expect_close();
    let mut last = client.connect();
    last.send(client.head_of("GET", "/v2/", &[("Connection", "close")]));
    assert_eq!(last.response("GET").expect(200).must("connection"), "close");
    last.expect_close();
    // The absolute form, which proxies send.
    let mut proxied = client.connect();
    proxied.send(head.replacen("GET /v2/", &format!("GET https://{}/v2/", server.address()), 1));
    proxied.response("GET").expect(200);
}

#[test]
fn a_stopping_server_ends_what_has_begun() {
    let mut server = Server::with(|limits| limits.drain_time = PATIENCE);
    let client = server.administrator();
    let (bytes, address) = (noise(8, 400_000), server.address());
    let location = begin_upload(&client, "a");
    let mut idle = client.connect();
    let mut busy = client.connect();
    let expect = [("Content-Length", "400000"), ("Expect", "100-continue")];
    busy.send(client.head_of("PATCH", &location, &expect));
    busy.response("PATCH").expect(100);
    busy.send(&bytes[..300_000]);
    std::thread::scope(|scope| {
        let (bytes, idle, busy) = (&bytes, &mut idle, &mut busy);
        scope.spawn(move || {
            wait_until("nobody can connect any more", || TcpStream::connect(address).is_err());
            idle.expect_close();
            busy.send(&bytes[300_000..]);
            busy.response("PATCH").expect(202);
            busy.expect_close();
        });
        server.restart();
    });
    let closing = format!("{location}?digest={}", sha256(&bytes));
    server.administrator().request("PUT", &closing, &[], b"").expect(201);
}

/// A connection without TLS.
fn plain(server: &Server) -> TcpStream {
    let socket = TcpStream::connect(server.address()).expect("a connection");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    socket
}
