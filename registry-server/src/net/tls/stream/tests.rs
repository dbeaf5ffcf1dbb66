use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::SystemTime;

use certs::{RootKey, TlsFile};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, Error, HandshakeKind, RootCertStore, SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::net::tls::seal::OVERHEAD_BYTES;
use crate::net::tls::{CertificateDer, ServingCertificate, TlsAcceptor};

/// A server and what its clients believe.
struct Pair {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    client: Arc<ClientConfig>,
}

impl Pair {
    async fn new(version: &'static SupportedProtocolVersion) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (names, now) = (["localhost".parse().unwrap()], SystemTime::now());
        let made = certs::ensure(directory.path(), RootKey::InDirectory, &names, now).unwrap();
        let certificate = ServingCertificate::new(&made.certificate).unwrap();
        let mut roots = RootCertStore::empty();
        let root = directory.path().join(TlsFile::RootCertificate.name());
        roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Self { listener, acceptor: certificate.acceptor().unwrap(), client: Arc::new(config) }
    }

    async fn connect(&self) -> (ServerStream, TlsStream<TcpStream>) {
        let (server, client) = tokio::join!(self.accept(), async {
            let socket = TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap();
            let connector = TlsConnector::from(Arc::clone(&self.client));
            connector.connect(ServerName::try_from("localhost").unwrap(), socket).await.unwrap()
        });
        (server.unwrap(), client)
    }

    async fn accept(&self) -> io::Result<ServerStream> {
        self.acceptor.accept(self.listener.accept().await.unwrap().0).await
    }
}

fn noise(count: usize) -> Vec<u8> {
    (0..count as u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Sends and receives at the same time, in pieces of this size, as the other side does too.
async fn exchange(stream: impl AsyncRead + AsyncWrite, sent: &[u8], piece: usize) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        for piece in sent.chunks(piece) {
            writer.write_all(piece).await.unwrap();
        }
        writer.flush().await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let read = async {
        let (mut received, mut room) = (Vec::new(), vec![0; piece]);
        loop {
            match reader.read(&mut room).await.unwrap() {
                0 => return received,
                count => received.extend_from_slice(&room[..count]),
            }
        }
    };
    tokio::join!(write, read).1
}

#[tokio::test]
async fn bytes_arrive_as_they_were_sent_whatever_their_pieces_and_the_version() {
    let (to_server, to_client) = (noise(3_000_000), noise(2_000_001));
    for version in [&TLS12, &TLS13] {
        let pair = Pair::new(version).await;
        for (piece, is_wide) in [(777, false), (16 * 1024, true), (70_000, false), (400_000, true)]
        {
            let (mut server, client) = pair.connect().await;
            server.set_wide(is_wide);
            let (at_server, at_client) = tokio::join!(
                exchange(server, &to_client, piece),
                exchange(client, &to_server, piece)
            );
            assert!(at_server == to_server, "{version:?}, {piece}");
            assert!(at_client == to_client, "{version:?}, {piece}");
        }
    }
}

#[tokio::test]
async fn a_head_and_the_beginning_of_a_body_share_a_record() {
    let pair = Pair::new(&TLS13).await;
    let (mut server, mut client) = pair.connect().await;
    let body = noise(40_000);
    let parts = [&b"head"[..], &[], &body[..100], &body[100..]].map(IoSlice::new);
    let count = server.write_vectored(&parts).await.unwrap();
    assert_eq!(count, 4 + body.len());
    let mut received = vec![0; count];
    client.read_exact(&mut received).await.unwrap();
    assert!(received[..4] == *b"head" && received[4..] == body);
    // Three records of 16 KiB at most, and what each costs.
    let sent = server.outgoing.len() + count;
    assert!(sent < count + 3 * OVERHEAD_BYTES, "{sent}");
}

#[tokio::test]
async fn keys_may_be_changed_amid_a_body() {
    let pair = Pair::new(&TLS13).await;
    let (mut server, mut client) = pair.connect().await;
    for round in 0..3_u8 {
        client.get_mut().1.refresh_traffic_keys().unwrap();
        client.write_all(&[round; 20_000]).await.unwrap();
        client.flush().await.unwrap();
        let mut received = [0; 20_000];
        server.read_exact(&mut received).await.unwrap();
        assert_eq!(received, [round; 20_000]);
        // The server changes its own when it was asked to.
        server.write_all(&received).await.unwrap();
        server.flush().await.unwrap();
        let mut received = [0; 20_000];
        client.read_exact(&mut received).await.unwrap();
        assert_eq!(received, [round; 20_000]);
    }
}

#[tokio::test]
async fn an_end_that_is_told_is_told_from_a_cut() {
    let pair = Pair::new(&TLS13).await;
    let (mut server, mut client) = pair.connect().await;
    client.write_all(b"all").await.unwrap();
    client.shutdown().await.unwrap();
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"all");
    // Its own half is still open.
    server.write_all(b"answer").await.unwrap();
    server.shutdown().await.unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"answer");

    let (mut server, mut client) = pair.connect().await;
    client.write_all(b"some").await.unwrap();
    client.flush().await.unwrap();
    client.get_mut().0.shutdown().await.unwrap();
    let mut received = Vec::new();
    let error = server.read_to_end(&mut received).await.unwrap_err();
    assert_eq!((received.as_slice(), error.kind()), (&b"some"[..], ErrorKind::UnexpectedEof));
}

#[tokio::test]
async fn what_is_no_tls_is_refused_and_told_so() {
    let pair = Pair::new(&TLS13).await;
    let client = async {
        let address = pair.listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(&[0; 100]).await.unwrap();
        let mut told = [0; 7];
        client.read_exact(&mut told).await.unwrap();
        told
    };
    let (server, told) = tokio::join!(pair.accept(), client);
    assert_eq!(server.err().map(|error| error.kind()), Some(ErrorKind::InvalidData));
    // An alert that is fatal.
    assert_eq!((told[0], told[5]), (21, 2));
}

#[tokio::test]
async fn what_was_changed_on_its_way_ends_the_connection() {
    let pair = Pair::new(&TLS13).await;
    let (mut server, mut client) = pair.connect().await;
    client.write_all(b"right").await.unwrap();
    client.flush().await.unwrap();
    // A record that nobody encrypted.
    let forged = [&[23, 3, 3, 0, 32][..], &[7; 32]].concat();
    client.get_mut().0.write_all(&forged).await.unwrap();
    let mut received = Vec::new();
    let error = server.read_to_end(&mut received).await.unwrap_err();
    assert_eq!((received.as_slice(), error.kind()), (&b"right"[..], ErrorKind::InvalidData));
    let error = server.write(b"more").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "it stays so");
    let told = client.read(&mut [0; 1]).await.unwrap_err();
    let alert = told.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    assert!(matches!(alert, Some(Error::AlertReceived(_))), "{told}");
}

#[tokio::test]
async fn who_comes_again_resumes_and_who_believes_another_ca_is_told_apart() {
    for version in [&TLS12, &TLS13] {
        let pair = Pair::new(version).await;
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let (mut server, mut client) = pair.connect().await;
            server.write_all(b"!").await.unwrap();
            server.flush().await.unwrap();
            // What comes before it are the tickets.
            client.read_exact(&mut [0; 1]).await.unwrap();
            kinds.push(client.get_ref().1.handshake_kind());
        }
        assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)], "{version:?}");
    }
    let (pair, other) = (Pair::new(&TLS13).await, Pair::new(&TLS13).await);
    let address = pair.listener.local_addr().unwrap();
    let (server, client) = tokio::join!(pair.accept(), async {
        let socket = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(Arc::clone(&other.client));
        connector.connect(ServerName::try_from("localhost").unwrap(), socket).await
    });
    let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
    let refused = client.err().and_then(|error| error.downcast::<Error>().ok());
    assert_eq!(refused, Some(unknown));
    assert_eq!(server.err().map(|error| error.kind()), Some(ErrorKind::InvalidData));
}

#[tokio::test]
async fn an_idle_connection_has_a_short_buffer() {
    let pair = Pair::new(&TLS13).await;
    let (mut server, mut client) = pair.connect().await;
    server.set_wide(true);
    let body = noise(1_000_000);
    let write = async {
        client.write_all(&body).await.unwrap();
        client.flush().await.unwrap();
    };
    let mut received = vec![0; body.len()];
    tokio::join!(write, async { server.read_exact(&mut received).await.unwrap() });
    assert!(server.received.room() >= WIDE_BYTES);
    server.set_wide(false);
    let nothing = tokio::time::timeout(std::time::Duration::ZERO, server.read(&mut [0; 1])).await;
    assert!(nothing.is_err(), "nothing comes");
    assert!(server.received.room().max(server.outgoing.room()) <= HEAD_BYTES);
}
