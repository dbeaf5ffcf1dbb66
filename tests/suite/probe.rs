//! The client that asks whether a registry serves as it should.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use certs::ServerName;
use registry_server::auth::password::Password;
use registry_server::net::probe::{Probe, ProbeError, Trust, TrustError};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use storage::UserName;
use tempfile::TempDir;

use crate::support::http::PATIENCE;
use crate::support::process::{run, wait_until};
use crate::support::server::{ADMINISTRATOR, PASSWORD, Server};

/// Asks once, as a test whose server runs already.
fn ask(
    listening: SocketAddr,
    name: &str,
    trust: &Trust,
    login: Option<(&str, &str)>,
) -> Result<(), ProbeError> {
    let name: ServerName = name.parse().expect("a name");
    let login: Option<(UserName, Password)> = login.map(|(user, password)| {
        (user.parse().expect("a user"), Password::new(password.as_bytes()).expect("a password"))
    });
    let login = login.as_ref().map(|(user, password)| (user, password));
    let patience = Duration::ZERO;
    Probe { login, patience, ..Probe::new(listening, &name, trust) }.run()
}

fn root_of(server: &Server) -> Trust {
    Trust::Root(server.data().join("tls/ca.crt"))
}

/// A certificate for `a.example` that signed itself, and its key.
fn own_certificate() -> (TempDir, PathBuf, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = (directory.path().join("own.crt"), directory.path().join("own.key"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x"]);
    openssl.args(["-addext", "subjectAltName=DNS:a.example"]);
    run(openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate)).ok();
    (directory, certificate, key)
}

#[test]
fn a_registry_that_serves_well_is_told_by_its_ca_its_name_and_a_login() {
    let server = Server::start();
    let trust = root_of(&server);
    for name in ["localhost", "127.0.0.1", "::1"] {
        assert_eq!(ask(server.address(), name, &trust, None), Ok(()), "{name}");
    }
    let right = Some((ADMINISTRATOR, PASSWORD));
    assert_eq!(ask(server.address(), "localhost", &trust, right), Ok(()));
    for login in [(ADMINISTRATOR, "wrong password"), ("nobody", PASSWORD)] {
        let refused = ProbeError::LoginRefused { user: login.0.parse().expect("a user") };
        assert_eq!(ask(server.address(), "localhost", &trust, Some(login)), Err(refused));
    }
}

#[test]
fn another_ca_and_another_name_are_told() {
    let (server, other) = (Server::start(), Server::start());
    let refused = |name: &str, trust: &Trust| match ask(server.address(), name, trust, None) {
        Err(ProbeError::Tls { address, name: called, message }) => {
            assert_eq!((address, called.to_string()), (server.address(), name.to_owned()));
            message
        }
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!(refused("localhost", &root_of(&other)), "its certificate is of another CA");
    let message = refused("other.example.com", &root_of(&server));
    assert!(message.contains("other.example.com"), "{message}");
    assert_eq!(ask(server.address(), "localhost", &root_of(&server), None), Ok(()));
}

#[test]
fn an_own_certificate_is_trusted_for_itself_and_no_other_is() {
    let (_directory, certificate, key) = own_certificate();
    let server = Server::with_own_certificate(&certificate, &key);
    let pinned = Trust::Certificate(certificate);
    let right = Some((ADMINISTRATOR, PASSWORD));
    // The certificate was judged when it was given: here it is recognized.
    for name in ["a.example", "b.example", "127.0.0.1"] {
        assert_eq!(ask(server.address(), name, &pinned, right), Ok(()), "{name}");
    }
    let (_other_directory, other, _) = own_certificate();
    let outcome = ask(server.address(), "a.example", &Trust::Certificate(other), None);
    let expected = ProbeError::Tls {
        address: server.address(),
        name: "a.example".parse().expect("a name"),
        message: "it has another certificate".to_owned(),
    };
    assert_eq!(outcome, Err(expected));
}

#[test]
fn a_server_on_every_address_is_called_on_this_host() {
    // It listens on 127.0.0.1 alone: the second of the two for `[::]`.
    let server = Server::start();
    let port = server.address().port();
    let every: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    for every in every.map(|ip| SocketAddr::new(ip, port)) {
        assert_eq!(ask(every, "localhost", &root_of(&server), None), Ok(()), "{every}");
    }
}

#[test]
fn nobody_who_listens_is_told_and_waited_for() {
    // A port that is taken and refuses: nobody else can come to listen there.
    let taken = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&taken, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port");
    let address = rustix::net::getsockname(&taken).expect("its address");
    let address: SocketAddr = address.try_into().expect("an address of the internet");
    let (_directory, certificate, _) = own_certificate();
    let trust = Trust::Certificate(certificate);
    let outcome = ask(address, "localhost", &trust, None);
    let Err(ProbeError::NotReached { address: called, kind, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!((called, kind), (address, io::ErrorKind::ConnectionRefused));

    let name: ServerName = "localhost".parse().expect("a name");
    let patient = Probe { patience: PATIENCE, ..Probe::new(address, &name, &trust) };
    let before = failed_connections();
    let outcome = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| patient.run());
        wait_until("a try is refused", || failed_connections() > before);
        listen(&taken, 1).expect("to listen");
        greet(&TcpListener::from(taken), || waiting.is_finished());
        waiting.join().expect("an outcome")
    });
    assert!(matches!(outcome, Err(ProbeError::Tls { .. })), "{outcome:?}");
}

#[test]
fn who_takes_a_connection_and_says_nothing_is_told_and_called_again() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let address = silent.local_addr().expect("its address");
    let (_directory, certificate, _) = own_certificate();
    let (name, trust) = ("localhost".parse().expect("a name"), Trust::Certificate(certificate));
    let probe = |patience| {
        let try_time = Duration::from_millis(100);
        Probe { patience, try_time, ..Probe::new(address, &name, &trust) }.run()
    };
    assert_eq!(probe(Duration::ZERO), Err(ProbeError::Silent { address }));
    let (mut tried, _) = silent.accept().expect("the connection of a try");
    assert_eq!(tried.read(&mut [0]).expect("a first byte"), 1, "it began the handshake");

    let outcome = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| probe(PATIENCE));
        let _held = silent.accept().expect("the connection of a first try");
        greet(&silent, || waiting.is_finished());
        waiting.join().expect("an outcome")
    });
    assert!(matches!(outcome, Err(ProbeError::Tls { .. })), "{outcome:?}");
}

/// Answers the next caller as a program of another kind would, unless nobody calls any more.
fn greet(listener: &TcpListener, is_over: impl Fn() -> bool) {
    listener.set_nonblocking(true).expect("a socket");
    let mut caller = None;
    wait_until("somebody calls", || {
        caller = listener.accept().ok();
        caller.is_some() || is_over()
    });
    let Some((mut caller, _)) = caller else { return };
    caller.set_nonblocking(false).expect("a socket");
    caller.write_all(b"220 mail.example.com ESMTP\r\n").expect("to be heard");
    // Until it hangs up, so that what was written is read before the end of the connection.
    let _ = io::copy(&mut caller, &mut io::sink());
}

/// Connections of this host that were tried and not made, since it started.
fn failed_connections() -> u64 {
    let counts = std::fs::read_to_string("/proc/net/snmp").expect("the kernel's counts");
    let mut lines = counts.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    let found = pairs.find(|(name, _)| *name == "AttemptFails");
    found.expect("the count").1.parse().expect("a number")
}

#[test]
fn a_file_without_a_certificate_is_named_before_anybody_is_called() {
    let directory = tempfile::tempdir().expect("a directory");
    let empty = directory.path().join("empty.crt");
    std::fs::write(&empty, "").expect("a file");
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    for path in [empty.as_path(), Path::new("/nonexistent/ca.crt")] {
        for trust in [Trust::Root(path.to_owned()), Trust::Certificate(path.to_owned())] {
            match ask(nowhere, "localhost", &trust, None) {
                Err(ProbeError::Trust(TrustError { path: named, .. })) => assert_eq!(named, path),
                outcome => panic!("{outcome:?}"),
            }
        }
    }
}

#[test]
fn a_registry_that_is_not_ready_is_told_with_what_it_answers() {
    let (_directory, certificate, key) = own_certificate();
    let trust = Trust::Certificate(certificate.clone());
    let answered = |answer: &'static str| {
        let (address, serving) = answer_once(&certificate, &key, answer);
        let outcome = ask(address, "a.example", &trust, None);
        let request = serving.join().expect("a server").expect("a TLS connection");
        let head = format!("GET /readyz HTTP/1.1\r\nhost: a.example:{}\r\n", address.port());
        assert!(request.starts_with(&head), "{request}");
        (address, outcome)
    };
    for (answer, status) in [
        ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}", 503),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 404),
    ] {
        let (address, outcome) = answered(answer);
        assert_eq!(outcome, Err(ProbeError::Answered { address, path: "/readyz", status }));
    }
    for answer in ["SSH-2.0-OpenSSH_9.2\r\n", "", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"] {
        let (_, outcome) = answered(answer);
        assert!(matches!(outcome, Err(ProbeError::NotHttp { .. })), "{answer:?}: {outcome:?}");
    }
}

#[test]
fn who_shows_the_certificate_without_its_key_is_not_believed() {
    let (_directory, certificate, _) = own_certificate();
    let (_other_directory, _, other_key) = own_certificate();
    let (address, serving) = answer_once(&certificate, &other_key, "");
    let outcome = ask(address, "a.example", &Trust::Certificate(certificate), None);
    assert!(serving.join().expect("a server").is_err(), "the client went on");
    match outcome {
        Err(ProbeError::Tls { message, .. }) => {
            assert!(message.contains("BadSignature"), "{message}");
        }
        outcome => panic!("{outcome:?}"),
    }
}

/// Serves one connection with this certificate and this key, which need not fit: reads a head,
/// gives this answer, whatever was asked, and closes. Gives where it listens, and the head.
fn answer_once(
    certificate: &Path,
    key: &Path,
    answer: &'static str,
) -> (SocketAddr, JoinHandle<io::Result<String>>) {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let key = provider.key_provider.load_private_key(key).expect("a key of a known kind");
    let chain = vec![CertificateDer::from_pem_file(certificate).expect("a certificate")];
    let shown = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the versions of TLS")
        .with_no_client_auth()
        .with_cert_resolver(shown);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let address = listener.local_addr().expect("its address");
    let serving = std::thread::spawn(move || {
        let (socket, _) = listener.accept()?;
        let session = ServerConnection::new(Arc::new(tls)).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, socket);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        stream.write_all(answer.as_bytes())?;
        stream.conn.send_close_notify();
        stream.flush()?;
        Ok(String::from_utf8_lossy(&head).into_owned())
    });
    (address, serving)
}
