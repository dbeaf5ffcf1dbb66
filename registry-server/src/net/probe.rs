//! A client that asks one thing: does a registry serve there, as it should?
//!
//! It calls by address and never by name, since a name that is not in any DNS yet says nothing
//! about the registry; which certificate it wants is said by name. It waits for a server that is
//! starting, and for nothing else.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use certs::ServerName;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use storage::UserName;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::tls::client::Client;
use crate::auth::basic;
use crate::auth::password::Password;

pub use super::tls::client::{Trust, TrustError};

/// What to ask, of whom.
pub struct Probe<'a> {
    /// The address that the server listens on. Every address means one of this host's own.
    pub listening: SocketAddr,
    /// The name that its certificate must have, unless one certificate is trusted whatever its
    /// names.
    pub name: &'a ServerName,
    /// Whom to believe.
    pub trust: &'a Trust,
    /// A login to try.
    pub login: Option<(&'a UserName, &'a Password)>,
    /// How long it is tried again while nobody listens, or somebody takes the connection and does
    /// not answer.
    pub patience: Duration,
    /// How long one try waits for a connection, and then for all answers together.
    pub try_time: Duration,
}

/// Why there is no registry as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProbeError {
    /// There is nobody to believe.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// No connection was made.
    #[error(
        "nobody answers on {address} ({message}): the registry's log says whether it runs, and \
         where it listens"
    )]
    NotReached {
        /// The address that was called.
        address: SocketAddr,
        /// The kind of failure.
        kind: io::ErrorKind,
        /// The system's words.
        message: String,
    },
    /// A connection was made, and nothing came in time.
    #[error(
        "{address} takes connections and does not answer: if `ss -ltnp` shows the registry there, \
         its log says what it waits for"
    )]
    Silent {
        /// The address that was called.
        address: SocketAddr,
    },
    /// There is no TLS there, or not with the right certificate.
    #[error(
        "no TLS connection to {address} as {name}: {message}; see with `ss -ltnp` whether another \
         program listens there, and if it is the registry, start it again"
    )]
    Tls {
        /// The address that was called.
        address: SocketAddr,
        /// The name that was called.
        name: ServerName,
        /// What is wrong.
        message: String,
    },
    /// What came is no answer in HTTP.
    #[error(
        "{address} gives no answer in HTTP ({message}): see with `ss -ltnp` whether another \
         program listens there; if it is the registry, its log says more"
    )]
    NotHttp {
        /// The address that was called.
        address: SocketAddr,
        /// The library's words.
        message: String,
    },
    /// An answer came, and not the right one.
    #[error("{address} answers GET {path} with {status}, not 200: the registry's log says why")]
    Answered {
        /// The address that was called.
        address: SocketAddr,
        /// What was asked for.
        path: &'static str,
        /// The status of the answer.
        status: u16,
    },
    /// The server is well and does not take the login.
    #[error(
        "the registry answers and does not let {user} in: set another password with \
         `registry user passwd {user}`"
    )]
    LoginRefused {
        /// Who tried to log in.
        user: UserName,
    },
    /// The system gave no means to ask.
    #[error("cannot ask whether the registry answers: {message}; try again")]
    Runtime {
        /// The system's words.
        message: String,
    },
}

impl<'a> Probe<'a> {
    /// Asks without a login, with the patience that a start deserves.
    pub fn new(listening: SocketAddr, name: &'a ServerName, trust: &'a Trust) -> Self {
        Self { listening, name, trust, login: None, patience: PATIENCE, try_time: TRY_TIME }
    }

    /// Asks, on this thread, and blocks until there is an answer. It must not be called where
    /// async code runs.
    ///
    /// # Errors
    /// Every [`ProbeError`].
    pub fn run(&self) -> Result<(), ProbeError> {
        let client = Client::new(self.trust)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| ProbeError::Runtime { message: error.to_string() })?;
        runtime.block_on(async {
            let until = Instant::now() + self.patience;
            loop {
                match self.once(&client).await {
                    Err(error) if error.may_pass() && Instant::now() < until => {
                        sleep(PAUSE).await;
                    }
                    outcome => return outcome,
                }
            }
        })
    }

    async fn once(&self, client: &Client) -> Result<(), ProbeError> {
        let (address, socket) = self.connect().await?;
        let asked = timeout(self.try_time, self.ask(client, address, socket)).await;
        asked.unwrap_or(Err(ProbeError::Silent { address }))
    }

    async fn connect(&self) -> Result<(SocketAddr, TcpStream), ProbeError> {
        let mut failure = ProbeError::Runtime { message: "there is no address".to_owned() };
        for address in callable(self.listening) {
            let socket = match timeout(self.try_time, TcpStream::connect(address)).await {
                Ok(socket) => socket,
                Err(late) => Err(late.into()),
            };
            match socket {
                Ok(socket) => return Ok((address, socket)),
                // A host without IPv6 says something else, which is not what keeps us waiting.
                Err(_) if failure.may_pass() => {}
                Err(error) => {
                    let (kind, message) = (error.kind(), error.to_string());
                    failure = ProbeError::NotReached { address, kind, message };
                }
            }
        }
        Err(failure)
    }

    async fn ask(
        &self,
        client: &Client,
        address: SocketAddr,
        socket: TcpStream,
    ) -> Result<(), ProbeError> {
        let stream = client
            .shake_hands(self.name, socket)
            .await
            .map_err(|message| ProbeError::Tls { address, name: self.name.clone(), message })?;
        let not_http = |message: String| ProbeError::NotHttp { address, message };
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| not_http(error.to_string()))?;
        // What ends the connection is told to the request that it cuts off.
        let _connection = tokio::spawn(connection);
        let answered = |path, status: StatusCode| {
            let status = status.as_u16();
            Err(ProbeError::Answered { address, path, status })
        };
        let status = self.get(&mut sender, READY, None).await.map_err(not_http)?;
        if status != StatusCode::OK {
            return answered(READY, status);
        }
        let Some((user, password)) = self.login else { return Ok(()) };
        match self.get(&mut sender, BASE, Some((user, password))).await.map_err(not_http)? {
            StatusCode::OK => Ok(()),
            StatusCode::UNAUTHORIZED => Err(ProbeError::LoginRefused { user: user.clone() }),
            status => answered(BASE, status),
        }
    }

    /// The status of one answer, or what went wrong in words. The body is read, so that another
    /// request can follow.
    async fn get(
        &self,
        sender: &mut http1::SendRequest<Empty<Bytes>>,
        path: &'static str,
        login: Option<(&UserName, &Password)>,
    ) -> Result<StatusCode, String> {
        let host = match self.name.address() {
            Some(IpAddr::V6(address)) => format!("[{address}]:{}", self.listening.port()),
            _ => format!("{}:{}", self.name, self.listening.port()),
        };
        let mut request = Request::get(path).header(HOST, host);
        if let Some((user, password)) = login {
            request = request.header(AUTHORIZATION, basic::encode(user, password));
        }
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        sender.ready().await.map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_BYTES).collect().await;
        body.map(|_| status).map_err(|error| error.to_string())
    }
}

impl ProbeError {
    /// Whether a server that is starting may look like this.
    fn may_pass(&self) -> bool {
        match self {
            Self::NotReached { kind, .. } => {
                matches!(kind, io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut)
            }
            Self::Silent { .. } => true,
            _ => false,
        }
    }
}

/// Where to call a server that listens on this address, in this order.
fn callable(listening: SocketAddr) -> Vec<SocketAddr> {
    let loopback: [IpAddr; 2] = match listening.ip() {
        ip if !ip.is_unspecified() => return vec![listening],
        IpAddr::V4(_) => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        IpAddr::V6(_) => [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()],
    };
    loopback.map(|ip| SocketAddr::new(ip, listening.port())).to_vec()
}

/// Says that the store answers.
const READY: &str = "/readyz";
/// Takes nobody without a login.
const BASE: &str = "/v2/";

/// A start upgrades the database before it listens, and a slow disk takes its time.
const PATIENCE: Duration = Duration::from_secs(60);
/// A password is verified within it, behind others that wait.
const TRY_TIME: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);
/// The longest body that is read; ours have a few bytes.
const BODY_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_server_that_starts_looks_like_is_waited_for() {
        let address: SocketAddr = "127.0.0.1:8443".parse().unwrap();
        let not_reached = |kind| ProbeError::NotReached { address, kind, message: String::new() };
        assert!(not_reached(io::ErrorKind::ConnectionRefused).may_pass());
        assert!(not_reached(io::ErrorKind::TimedOut).may_pass());
        assert!(ProbeError::Silent { address }.may_pass());
        assert!(!not_reached(io::ErrorKind::AddrNotAvailable).may_pass());
        assert!(!ProbeError::Answered { address, path: READY, status: 503 }.may_pass());
    }

    #[test]
    fn every_address_means_this_host() {
        for (listening, called) in [
            ("10.0.0.5:1", &["10.0.0.5:1"][..]),
            ("[2001:db8::5]:1", &["[2001:db8::5]:1"]),
            ("0.0.0.0:8443", &["127.0.0.1:8443", "[::1]:8443"]),
            ("[::]:8443", &["[::1]:8443", "127.0.0.1:8443"]),
        ] {
            let callable = callable(listening.parse().unwrap());
            assert_eq!(callable.iter().map(SocketAddr::to_string).collect::<Vec<_>>(), called);
        }
    }
}
