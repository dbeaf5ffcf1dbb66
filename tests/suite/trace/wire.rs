//! How clients write requests, and what each kind of answer is, header by header.
//!
//! Requests have the order and the spelling of Go's net/http (or, for the update service, Rust's
//! reqwest): host, agent, framing, then the others sorted, then Accept-Encoding.

use crate::support::content::{Manifest, sha256};
use crate::support::http::{Connection, OF_EVERY_REPLY, Response, basic};
use crate::support::server::{ADMINISTRATOR, PASSWORD, Server};

/// A Go program on one connection.
pub(super) struct Go {
    connection: Connection,
    host: String,
    agent: &'static str,
    /// What every request says besides.
    pub(super) common: Vec<String>,
}

impl Go {
    pub(super) fn new(server: &Server, agent: &'static str) -> Self {
        let connection = server.nobody().connect();
        Self { connection, host: server.address().to_string(), agent, common: Vec::new() }
    }

    pub(super) fn log_in(&mut self) {
        self.common.push(format!("Authorization: {}", basic(ADMINISTRATOR, PASSWORD)));
    }

    #[track_caller]
    pub(super) fn send(
        &mut self,
        method: &str,
        target: &str,
        framing: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Response {
        let (host, agent) = (&self.host, self.agent);
        let mut head =
            format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n");
        let mut lines: Vec<&str> = self.common.iter().map(String::as_str).collect();
        lines.extend(headers);
        lines.sort_by_key(|line| line.split(':').next());
        let framing = Some(framing).filter(|framing| !framing.is_empty());
        // Go asks for compression in everything but HEAD.
        let encoding = (method != "HEAD").then_some("Accept-Encoding: gzip");
        for line in framing.into_iter().chain(lines).chain(encoding) {
            head.push_str(&format!("{line}\r\n"));
        }
        self.connection.send(head + "\r\n");
        if framing == Some("Transfer-Encoding: chunked") {
            // Go copies through 32 KiB.
            body.chunks(32 * 1024).for_each(|piece| self.connection.send_chunk(piece));
            self.connection.send("0\r\n\r\n");
        } else {
            self.connection.send(body);
        }
        self.connection.response(method)
    }
}

/// A Rust program with reqwest on one connection.
pub(super) struct Rust(pub(super) Connection, pub(super) String);

impl Rust {
    #[track_caller]
    pub(super) fn get(&mut self, target: &str, headers: &[&str]) -> Response {
        let mut head = format!("GET {target} HTTP/1.1\r\n");
        for line in headers {
            head.push_str(&format!("{line}\r\n"));
        }
        let Self(connection, host) = self;
        connection.send(format!("{head}accept: */*\r\nhost: {host}\r\n\r\n"));
        connection.response("GET")
    }
}

#[track_caller]
pub(super) fn session(response: &Response, status: u16, repository: &str, end: usize) -> String {
    let (location, id) = (response.location(), response.must("docker-upload-uuid"));
    assert_eq!(location, format!("/v2/{repository}/blobs/uploads/{id}"));
    let range = format!("0-{}", end.saturating_sub(1));
    let mut headers =
        vec![("docker-upload-uuid", id), ("location", &location), ("range", range.as_str())];
    headers.extend((status != 204).then_some(("content-length", "0")));
    exactly(response, status, &headers);
    location.clone()
}

#[track_caller]
pub(super) fn created(response: &Response, parent: &str, digest: &str) {
    let location = format!("/v2/{parent}/{digest}");
    let headers =
        [("content-length", "0"), ("docker-content-digest", digest), ("location", &location)];
    exactly(response, 201, &headers);
}

#[track_caller]
pub(super) fn manifest_is(response: &Response, manifest: &Manifest) {
    let (length, digest) = (manifest.bytes.len().to_string(), manifest.digest());
    let headers = [
        ("content-length", length.as_str()),
        ("content-type", &manifest.media_type),
        ("docker-content-digest", &digest),
    ];
    exactly(response, 200, &headers);
    assert_eq!(response.body, manifest.bytes);
}

#[track_caller]
pub(super) fn blob_is(response: &Response, blob: &[u8]) {
    let (length, digest) = (blob.len().to_string(), sha256(blob));
    let headers = [
        ("accept-ranges", "bytes"),
        ("content-length", length.as_str()),
        ("content-type", "application/octet-stream"),
        ("docker-content-digest", &digest),
    ];
    exactly(response, 200, &headers);
}

/// Checks a refusal: its status, and its headers besides those of its document.
#[track_caller]
pub(super) fn refusal(response: &Response, status: u16, more: &[(&str, &str)]) {
    let length = response.must("content-length");
    let document = [("content-length", length), ("content-type", "application/json")];
    let mut headers = [&document, more].concat();
    headers.sort_unstable();
    exactly(response, status, &headers);
}

/// Checks a status and every header, but for the time.
#[track_caller]
pub(super) fn exactly(response: &Response, status: u16, headers: &[(&str, &str)]) {
    assert_eq!(response.status, status, "{response:?}");
    let mut expected = headers.to_vec();
    expected.extend(OF_EVERY_REPLY);
    expected.sort_unstable();
    let mut seen: Vec<(&str, &str)> =
        response.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    seen.retain(|(name, _)| *name != "date");
    seen.sort_unstable();
    assert_eq!(seen, expected);
}
