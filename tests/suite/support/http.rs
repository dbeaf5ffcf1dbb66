//! A client that speaks HTTP/1.1 over TLS byte by byte, so that tests can send what no HTTP
//! library would: half a head, a body that stops, two requests at once, no HTTP at all.
//!
//! [`Client`] is for whole requests, over connections that it keeps open; [`Connection`] is one
//! connection with everything in the test's hand. Every answer is checked as it is read.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

mod response;

pub(crate) use response::{OF_EVERY_REPLY, Response};

/// One header of a request.
pub(crate) type Header<'a> = (&'a str, &'a str);

/// Someone who talks to a server: its address, the CA to believe, and perhaps a login.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    authorization: Option<String>,
    /// Where it comes from, if not from where the system says.
    source: Option<IpAddr>,
    idle: Mutex<Vec<Connection>>,
}

impl Client {
    /// A client that believes the CA in `ca`, and sends the user and the password if there are
    /// any.
    pub(crate) fn new(address: SocketAddr, ca: &Path, login: Option<(&str, &str)>) -> Self {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(ca).expect("the CA's certificate");
        roots.add(ca).expect("a certificate that can be a root");
        let mut tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        // oc and others offer HTTP/2; the registry takes the other.
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let tls = Arc::new(tls);
        let client =
            Self { address, tls, authorization: None, source: None, idle: Mutex::default() };
        client.with_login(login)
    }

    /// Somebody else at the same server.
    pub(crate) fn with_login(&self, login: Option<(&str, &str)>) -> Self {
        self.with_authorization(login.map(|(user, password)| basic(user, password)))
    }

    /// The same with any `Authorization` header.
    pub(crate) fn with_authorization(&self, authorization: Option<String>) -> Self {
        let tls = Arc::clone(&self.tls);
        let Self { address, source, .. } = *self;
        Self { address, tls, authorization, source, idle: Mutex::default() }
    }

    /// The same somebody at another address of this host.
    pub(crate) fn at(&self, source: impl Into<IpAddr>) -> Self {
        Self { source: Some(source.into()), ..self.again() }
    }

    /// The same somebody, over other connections.
    pub(crate) fn again(&self) -> Self {
        self.with_authorization(self.authorization.clone())
    }

    /// Sends a request and reads the answer. A body has its length in the head unless the headers
    /// say otherwise.
    #[track_caller]
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[Header<'_>],
        body: &[u8],
    ) -> Response {
        self.try_request(method, path, headers, body).expect("an answer")
    }

    /// The same to a server that may die meanwhile.
    pub(crate) fn try_request(
        &self,
        method: &str,
        path: &str,
        headers: &[Header<'_>],
        body: &[u8],
    ) -> io::Result<Response> {
        let length = body.len().to_string();
        let mut headers = headers.to_vec();
        if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            headers.push(("Content-Length", &length));
        }
        let head = self.head_of(method, path, &headers);
        self.exchange(method, [head.as_bytes(), body].into_iter().map(<[u8]>::to_vec))
    }

    /// Sends a request with a body of its length over a connection of its own; none if the server
    /// or the connection ends before the whole answer is there.
    #[track_caller]
    pub(crate) fn try_alone(
        &self,
        method: &str,
        path: &str,
        headers: &[Header<'_>],
        body: &[u8],
    ) -> Option<Response> {
        let length = body.len().to_string();
        let headers = [headers, &[("Content-Length", &length), ("Connection", "close")]].concat();
        let mut connection = self.try_connect().ok()?;
        let head = self.head_of(method, path, &headers);
        let sent = [head.as_bytes(), body].concat();
        // A server that refuses early may close before it has read everything; its answer tells.
        let _ = connection.try_send(&sent);
        connection.try_response(method).ok()
    }

    /// Sends a request whose body has no length in its head, one chunk for each piece.
    #[track_caller]
    pub(crate) fn stream<'a>(
        &self,
        method: &str,
        path: &str,
        headers: &[Header<'_>],
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Response {
        self.try_stream(method, path, headers, pieces).expect("an answer")
    }

    /// The same to a server that may die meanwhile.
    pub(crate) fn try_stream<'a>(
        &self,
        method: &str,
        path: &str,
        headers: &[Header<'_>],
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> io::Result<Response> {
        let mut headers = headers.to_vec();
        headers.push(("Transfer-Encoding", "chunked"));
        let head = self.head_of(method, path, &headers).into_bytes();
        let chunks = pieces.into_iter().map(chunk);
        self.exchange(method, [head].into_iter().chain(chunks).chain([b"0\r\n\r\n".to_vec()]))
    }

    /// `GET` without more.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], b"")
    }

    /// `HEAD` without more.
    #[track_caller]
    pub(crate) fn head(&self, path: &str) -> Response {
        self.request("HEAD", path, &[], b"")
    }

    /// `DELETE` without more.
    #[track_caller]
    pub(crate) fn delete(&self, path: &str) -> Response {
        self.request("DELETE", path, &[], b"")
    }

    /// The head of a request with this client's login, for a [`Connection`].
    pub(crate) fn head_of(&self, method: &str, path: &str, headers: &[Header<'_>]) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        let own = self.authorization.iter().map(|value| ("Authorization", value.as_str()));
        for (name, value) in own.chain(headers.iter().copied()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head + "\r\n"
    }

    /// A new connection, with its TLS handshake done.
    #[track_caller]
    pub(crate) fn connect(&self) -> Connection {
        self.try_connect().expect("a TLS connection")
    }

    /// A new connection, if the server makes one.
    pub(crate) fn try_connect(&self) -> io::Result<Connection> {
        let socket = match self.source {
            None => TcpStream::connect(self.address)?,
            Some(source) => connect_from(source, self.address)?,
        };
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::from(self.address.ip());
        let session =
            ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, socket);
        stream.conn.complete_io(&mut stream.sock)?;
        assert_eq!(stream.conn.alpn_protocol(), Some(b"http/1.1".as_slice()));
        Ok(Connection { stream, buffer: Vec::new() })
    }

    fn exchange(
        &self,
        method: &str,
        pieces: impl Iterator<Item = Vec<u8>>,
    ) -> io::Result<Response> {
        let mut connection = match self.idle_connection() {
            Some(connection) => connection,
            None => self.try_connect()?,
        };
        for piece in pieces {
            // A server that refuses early may close before it has read everything; its answer
            // tells.
            if connection.try_send(&piece).is_err() {
                break;
            }
        }
        let response = connection.try_response(method)?;
        if response.header("connection") != Some("close") {
            self.idle.lock().expect("the connections").push(connection);
        }
        Ok(response)
    }

    /// Whether a connection is open over which the next request would go.
    pub(crate) fn has_idle(&self) -> bool {
        let mut idle = self.idle.lock().expect("the connections");
        idle.retain_mut(Connection::is_idle);
        !idle.is_empty()
    }

    fn idle_connection(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().expect("the connections");
        while let Some(mut connection) = idle.pop() {
            if connection.is_idle() {
                return Some(connection);
            }
        }
        None
    }
}

/// One TLS connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// What came and was not taken yet.
    buffer: Vec<u8>,
}

impl Connection {
    /// Sends bytes as they are.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).expect("the server to take what is sent");
    }

    /// Sends bytes as they are; fails when the server has closed the connection.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// From here on sends and receives give up after this time.
    pub(crate) fn hurry(&mut self, time: Duration) {
        self.stream.sock.set_write_timeout(Some(time)).expect("a socket");
        self.stream.sock.set_read_timeout(Some(time)).expect("a socket");
    }

    /// Sends a piece of a chunked body.
    #[track_caller]
    pub(crate) fn send_chunk(&mut self, piece: &[u8]) {
        self.send(chunk(piece));
    }

    /// Reads the answer to a request with this method. An interim answer (100) is one, too.
    #[track_caller]
    pub(crate) fn response(&mut self, method: &str) -> Response {
        self.try_response(method).expect("an answer")
    }

    /// The same from a server that may die meanwhile: then there is none, and never a part of one.
    pub(crate) fn try_response(&mut self, method: &str) -> io::Result<Response> {
        let cut = |what: String| Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        let head = loop {
            match self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break self.take(end + 4),
                None if self.fill() => {}
                None => return cut(format!("the server closed instead of answering {method}")),
            }
        };
        let mut response = Response::parse(&String::from_utf8(head).expect("a head in UTF-8"));
        let length = response.body_length(method);
        while self.buffer.len() < length {
            if !self.fill() {
                return cut(format!("the server closed within the body: {response:?}"));
            }
        }
        response.body = self.take(length);
        response.check(method);
        Ok(response)
    }

    /// Everything that still comes before the server closes the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// Waits until the server closes the connection, which it must do without another byte.
    #[track_caller]
    pub(crate) fn expect_close(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "more came: {}", String::from_utf8_lossy(&rest));
    }

    /// Whether nothing came and the server did not close, as far as is known now.
    #[track_caller]
    pub(crate) fn is_idle(&mut self) -> bool {
        // Not a peek at the socket: TLS itself sends tickets that are no answer.
        self.stream.sock.set_nonblocking(true).expect("a socket");
        let mut piece = [0; 16 * 1024];
        let seen = self.stream.read(&mut piece);
        self.stream.sock.set_nonblocking(false).expect("a socket");
        if let Ok(count) = seen {
            self.buffer.extend_from_slice(&piece[..count]);
        }
        let is_open = matches!(seen, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        is_open && self.buffer.is_empty()
    }

    /// Reads what came; false at the end, whether it was in order or a reset.
    #[track_caller]
    fn fill(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                true
            }
            Err(error) if is_end(&error) => false,
            Err(error) => panic!("the server neither answered nor closed: {error}"),
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.buffer.drain(..count).collect()
    }
}

/// A connection from this address.
pub(crate) fn connect_from(source: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::from((source, 0)))?;
    connect(&socket, &address)?;
    Ok(socket.into())
}

/// The value of an `Authorization` header.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

fn chunk(piece: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
    chunk.extend_from_slice(piece);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// Whether a connection has ended, in whatever way.
pub(crate) fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
    };
    matches!(
        error.kind(),
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe | NotConnected
    )
}

/// How long a client waits before it gives the server up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
