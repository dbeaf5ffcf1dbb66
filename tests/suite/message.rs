//! What RFC 9112 and the OCI distribution specification say of messages, whatever they ask for: the
//! host, the coding of a body, the end of a connection, and the path that is the API itself.

use std::process::Command;

use crate::support::binary::Instance;
use crate::support::content::{begin_upload, noise};
use crate::support::http::Client;
use crate::support::process::{run, wait_until};
use crate::support::server::Server;

/// A head that is not this client's, but for its login.
fn head(client: &Client, line: &str, headers: &str) -> String {
    let own = client.head_of("GET", "/", &[]);
    let login = own.lines().find(|line| line.starts_with("Authorization: "));
    let login = login.map_or_else(String::new, |login| format!("{login}\r\n"));
    format!("{line}\r\n{login}{headers}\r\n")
}

#[test]
fn a_request_names_its_host_once() {
    let server = Server::start();
    let (client, nobody) = (server.administrator(), server.nobody());
    let host = server.address();
    let once = format!("Host: {host}\r\n");
    for path in ["/v2/", "/v2/_catalog", "/healthz", "/nothing"] {
        for (version, headers) in [
            ("1.1", String::new()),
            ("1.1", format!("{once}{once}")),
            ("1.1", format!("{once}Host: other\r\n")),
            ("1.0", format!("{once}{once}")),
            ("1.1", "Host: a b\r\n".to_owned()),
            ("1.1", "Host: user@a\r\n".to_owned()),
            ("1.1", "Host: a:b\r\n".to_owned()),
        ] {
            for client in [&client, &nobody] {
                let mut connection = client.connect();
                connection.send(head(client, &format!("GET {path} HTTP/{version}"), &headers));
                let refusal = connection.response("GET").refused(400, "UNSUPPORTED");
                assert!(refusal.error().1.contains("Host"), "{headers}");
            }
        }
    }
    // Older clients need name none, and the absolute form does not do without one.
    for (line, headers, status) in [
        ("GET /v2/ HTTP/1.0".to_owned(), "", 200),
        (format!("GET https://{host}/v2/ HTTP/1.1"), "", 400),
        (format!("GET https://{host}/v2/ HTTP/1.1"), once.as_str(), 200),
        ("GET /v2/ HTTP/1.1".to_owned(), "Host:\r\n", 200),
        ("GET /v2/ HTTP/1.1".to_owned(), "host: [::1]:8443\r\n", 200),
    ] {
        let mut connection = client.connect();
        connection.send(head(&client, &line, headers));
        connection.response("GET").expect(status);
    }
}

#[test]
fn a_body_in_a_coding_that_is_not_known_is_refused_and_not_stored() {
    let server = Server::start();
    let client = server.administrator();
    let location = begin_upload(&client, "a");
    let chunk = "4\r\nsome\r\n0\r\n\r\n";
    for (coding, status) in [
        ("gzip, chunked", 501),
        ("gzip\r\nTransfer-Encoding: chunked", 501),
        ("deflate;q=1, chunked", 501),
        ("chunked, chunked", 400),
        ("chunked, gzip", 400),
        ("gzip", 400),
    ] {
        for path in [location.as_str(), "/v2/a/manifests/1", "/v2/", "/nothing"] {
            let mut connection = client.connect();
            let method = if path == location { "PATCH" } else { "PUT" };
            connection.send(client.head_of(method, path, &[("Transfer-Encoding", coding)]));
            connection.send(chunk);
            let refusal = connection.response(method).refused(status, "UNSUPPORTED");
            assert_eq!(refusal.must("connection"), "close", "{coding}");
            if status == 501 {
                // oc and podman show this line of a 5xx and drop the rest.
                assert_eq!(refusal.reason, refusal.error().1);
            }
            connection.expect_close();
        }
    }
    assert_eq!(client.get(&location).expect(204).must("range"), "0-0");
    // What a client takes itself is another header, and of no consequence.
    for accepted in ["trailers", "gzip;q=0.5, trailers", ""] {
        let headers = [("TE", accepted), ("Connection", "TE")];
        client.request("GET", "/v2/", &headers, b"").expect(200);
    }
    let headers = [("Transfer-Encoding", "Chunked"), ("TE", "trailers")];
    let mut connection = client.connect();
    connection.send(client.head_of("PATCH", &location, &headers));
    connection.send(chunk);
    assert_eq!(connection.response("PATCH").expect(202).must("range"), "0-3");
}

#[test]
fn a_body_with_two_lengths_ends_the_connection() {
    let server = Server::start();
    let client = server.administrator();
    for order in [
        [("Content-Length", "3"), ("Transfer-Encoding", "chunked")],
        [("Transfer-Encoding", "chunked"), ("Content-Length", "3")],
    ] {
        let location = begin_upload(&client, "a");
        let mut connection = client.connect();
        connection.send(client.head_of("PATCH", &location, &order));
        connection.send("4\r\nsome\r\n0\r\n\r\n");
        // What follows the body must not pass for a request of somebody behind a proxy.
        connection.send(client.head_of("GET", "/v2/", &[]));
        let reply = connection.response("PATCH").expect(202);
        assert_eq!((reply.must("connection"), reply.must("range")), ("close", "0-3"));
        connection.expect_close();
    }
}

#[test]
fn who_is_going_to_close_says_so() {
    let server = Server::start();
    let (client, nobody) = (server.administrator(), server.nobody());
    let unknown = "/v2/a/blobs/uploads/01234567-89ab-4def-8123-456789abcdef";
    for (client, method, path, status) in [
        (&nobody, "PATCH", unknown, 401),
        (&client, "PATCH", unknown, 404),
        (&client, "PUT", "/v2/a/manifests/1", 413),
        (&client, "POST", "/v2/a/blobs/uploads/", 202),
        (&client, "GET", "/v2/", 200),
        (&client, "DELETE", "/nothing", 404),
    ] {
        let mut long = client.connect();
        long.send(client.head_of(method, path, &[("Content-Length", "100000000")]));
        assert_eq!(long.response(method).expect(status).must("connection"), "close", "{path}");
        if status == 413 {
            continue;
        }
        let mut unknown = client.connect();
        unknown.send(client.head_of(method, path, &[("Transfer-Encoding", "chunked")]));
        assert_eq!(unknown.response(method).expect(status).must("connection"), "close", "{path}");
        // A few bytes are read, and the connection goes on.
        let mut short = client.connect();
        short.send(client.head_of(method, path, &[("Content-Length", "4")]));
        assert_eq!(short.response(method).expect(status).header("connection"), None, "{path}");
        short.send("some");
        short.send(client.head_of("GET", "/healthz", &[]));
        short.response("GET").expect(200);
    }
}

#[test]
fn a_final_answer_instead_of_leave_to_send_ends_the_connection() {
    let server = Server::start();
    let (client, nobody) = (server.administrator(), server.nobody());
    for (client, method, path, status) in [
        (&nobody, "PUT", "/v2/a/manifests/1", 401),
        (&client, "PUT", "/v2/a/manifests/1", 413),
        (&client, "POST", "/v2/a/blobs/uploads/?digest=x", 400),
    ] {
        let length = [("Content-Length", "100000000"), ("Expect", "100-Continue")];
        let mut connection = client.connect();
        connection.send(client.head_of(method, path, &length));
        let refusal = connection.response(method).expect(status);
        assert_eq!(refusal.must("connection"), "close", "{path}");
        connection.expect_close();
        // One that sends the body all the same reads why, and not that the connection is gone.
        let mut eager = client.connect();
        eager.send(client.head_of(method, path, &length));
        eager.send([b'x'; 100_000]);
        eager.response(method).expect(status);
        let _ = eager.try_send(&[b'x'; 100_000]);
    }
    // HTTP/1.0 knows no such expectation, and what else may be expected is nothing here.
    for (version, expected) in [("1.0", "100-continue"), ("1.1", "200-ok")] {
        let location = begin_upload(&client, "a");
        let headers = [("Content-Length", "4"), ("Expect", expected)];
        let head = client.head_of("PATCH", &location, &headers);
        let mut connection = client.connect();
        connection.send(head.replacen("HTTP/1.1", &format!("HTTP/{version}"), 1) + "some");
        connection.response("PATCH").expect(202);
    }
}

#[test]
fn curl_reads_why_a_large_body_was_refused() {
    let instance = Instance::started();
    let body = instance.root().join("body");
    std::fs::write(&body, noise(1, 8 << 20)).expect("a file");
    let url = format!("https://{}/v2/a/manifests/1", instance.address());
    // curl asks for leave to send a megabyte and more.
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--include", "--http1.1", "--cacert"]);
    curl.arg(instance.ca()).arg("--upload-file").arg(&body).arg(&url);
    let said = run(&mut curl).ok();
    assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
    assert!(said.contains("connection: close\r\n") && said.contains("UNAUTHORIZED"), "{said}");
}

#[test]
fn the_path_of_the_api_may_lack_its_last_slash() {
    let server = Server::start();
    let (client, nobody) = (server.administrator(), server.nobody());
    for path in ["/v2/", "/v2", "/v2?x=y", "/v2/?x=y", "/%762", "/v2%2F"] {
        let reply = client.get(path).expect(200);
        assert_eq!(reply.must("docker-distribution-api-version"), "registry/2.0");
        assert_eq!(reply.body, client.get("/v2/").body, "{path}");
        client.head(path).expect(200);
        nobody.get(path).refused(401, "UNAUTHORIZED");
        // What is wrong with a request is told to those who may log in.
        for method in ["POST", "PUT", "DELETE"] {
            client.request(method, path, &[], b"").refused(405, "UNSUPPORTED");
            nobody.request(method, path, &[], b"").refused(401, "UNAUTHORIZED");
        }
    }
    for path in ["/v2x", "/v22/", "/v1/", "/"] {
        client.get(path).refused(404, "UNSUPPORTED");
    }
    client.get("/v2//").refused(404, "UNSUPPORTED");
}

#[test]
fn the_kernel_looks_whether_a_silent_client_is_there_still() {
    let server = Server::start();
    let client = server.administrator();
    let location = begin_upload(&client, "a");
    let bytes = noise(2, 1000);
    let mut upload = client.connect();
    upload.send(client.head_of("PATCH", &location, &[("Content-Length", "2000")]));
    upload.send(&bytes);
    wait_until("it came", || client.get(&location).expect(204).must("range") == "0-999");
    let port = format!("( sport = :{} )", server.address().port());
    // Once what was sent is acknowledged, nothing else is waited for.
    wait_until("each connection is looked after", || {
        let mut ss = Command::new("ss");
        ss.args(["--tcp", "--no-header", "--numeric", "--options", "state", "established"]);
        let told = run(ss.arg(&port)).ok();
        told.lines().count() >= 2 && told.lines().all(|line| line.contains("timer:(keepalive,"))
    });
}
