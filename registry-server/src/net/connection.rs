//! One connection from its first byte to its last.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt::{
    set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl,
};
use storage::{StorageError, UserName};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::buffers::Buffers;
use super::guard::{Guard, OverTcp};
use super::table::{ConnectionPhase, Entry, Slot, Table};
use crate::api::body::{ReplyBody, RequestBody};
use crate::api::header::OF_EVERY_REPLY;
use crate::api::{self, App};
use crate::error::ApiError;
use crate::limits::{ENDING_TIME, Limits};
use crate::share::Owner;

/// The stream of a connection: one read of the socket feeds several reads of the TLS layer, which
/// asks for little at a time.
type Stream = TlsStream<BufReader<TcpStream>>;

impl OverTcp for Stream {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0.get_ref()
    }
}

/// Serves a connection until it ends, exceeds a limit, or the server stops.
pub(super) async fn serve(
    app: Arc<App>,
    acceptor: TlsAcceptor,
    socket: TcpStream,
    place: Slot,
    buffers: Arc<Buffers>,
    mut stop: watch::Receiver<bool>,
) {
    let entry = Arc::clone(&place.entry);
    let shaken = tokio::select! {
        shaken = shake_hands(&acceptor, socket, &entry) => shaken,
        () = entry.closing() => return,
    };
    let stream = match shaken {
        Ok(stream) => stream,
        Err(error) => return debug!(peer = %entry.peer, %error, "no TLS connection"),
    };
    entry.enter(ConnectionPhase::Idle);
    let table = Arc::clone(&place.table);
    let service = Answer { app: Arc::clone(&app), entry: Arc::clone(&entry), table };
    let io = TokioIo::new(Guard::new(stream, Arc::clone(&entry), buffers));
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(app.limits.head_bytes)
        .max_headers(app.limits.headers)
        .serve_connection(io, service);
    let outcome = loop {
        tokio::select! {
            outcome = &mut connection => break ConnectionEnd::ByItself(outcome),
            () = entry.closing() => break ConnectionEnd::ByLimit,
            Ok(()) = stop.changed() => Pin::new(&mut connection).graceful_shutdown(),
        }
    };
    debug!(peer = %entry.peer, ?outcome, "connection ended");
    let parts = connection.into_parts();
    let refusal = match entry.is_evicted() {
        true => {
            let rested = entry.gave_up_after();
            rested.map(|rested| ApiError::BodyTimeout { seconds: rested.as_secs() })
        }
        false => refusal(&app, entry.phase(), &outcome, !parts.read_buf.is_empty()),
    };
    let mut stream = parts.io.into_inner().into_inner();
    match (refusal, outcome) {
        (Some(refusal), _) => write_refusal(stream, &refusal).await,
        // The end of a TLS stream is told, so that no cut can pass for it.
        (None, ConnectionEnd::ByItself(Ok(()))) => {
            let _ = tokio::time::timeout(ENDING_TIME, stream.shutdown()).await;
        }
        (None, _) => {}
    }
}

/// How a connection came to its end.
#[derive(Debug)]
enum ConnectionEnd {
    ByItself(hyper::Result<()>),
    ByLimit,
}

/// What to tell the client at the end of a connection, if it waits for an answer at all.
///
/// The head that is refused may have come together with the request before it; then nothing was
/// read since, and only what is left over shows it.
fn refusal(
    app: &App,
    phase: ConnectionPhase,
    ended: &ConnectionEnd,
    has_rest: bool,
) -> Option<ApiError> {
    let is_waiting = matches!(phase, ConnectionPhase::Head | ConnectionPhase::Idle);
    match ended {
        ConnectionEnd::ByLimit
            if phase == ConnectionPhase::Head || (phase == ConnectionPhase::Idle && has_rest) =>
        {
            Some(ApiError::HeadTimeout { seconds: app.limits.head_time.as_secs() })
        }
        ConnectionEnd::ByItself(Err(error)) if is_waiting && error.is_parse_too_large() => {
            let Limits { head_bytes, headers, .. } = *app.limits;
            Some(ApiError::HeadTooLarge { limit: head_bytes, headers })
        }
        ConnectionEnd::ByItself(Err(error)) if is_waiting && error.is_parse() => {
            Some(ApiError::NotHttp)
        }
        ConnectionEnd::ByItself(_) | ConnectionEnd::ByLimit => None,
    }
}

/// Makes the TLS connection. To a client that speaks plain HTTP it says so in plain HTTP.
async fn shake_hands(
    acceptor: &TlsAcceptor,
    socket: TcpStream,
    entry: &Entry,
) -> io::Result<Stream> {
    socket.set_nodelay(true)?;
    notice_death(&socket)?;
    let mut first = [0];
    let count = socket.peek(&mut first).await?;
    entry.set_spoken();
    if count == 1 && first[0].is_ascii_uppercase() {
        write_refusal(socket, &ApiError::PlainHttp).await;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "plain HTTP"));
    }
    acceptor.accept(BufReader::with_capacity(READ_BUFFER_BYTES, socket)).await
}

/// Lets the kernel find out that the other side is gone without having said so: an upload may rest
/// for long, and nobody else would notice.
fn notice_death(socket: &TcpStream) -> io::Result<()> {
    set_socket_keepalive(socket, true)?;
    set_tcp_keepidle(socket, KEEPALIVE_IDLE)?;
    set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL)?;
    set_tcp_keepcnt(socket, KEEPALIVE_PROBES)?;
    Ok(())
}

/// Writes a refusal outside of hyper, and closes the connection so that the client can read it.
async fn write_refusal(
    mut stream: impl AsyncWrite + tokio::io::AsyncRead + Unpin,
    refusal: &ApiError,
) {
    let (status, _) = refusal.status();
    let document = refusal.document();
    let mut head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        document.len()
    );
    for (name, value) in OF_EVERY_REPLY {
        head += &format!("{name}: {value}\r\n");
    }
    head += "connection: close\r\n\r\n";
    let talk = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&document).await?;
        stream.shutdown().await?;
        // Unread bytes would turn the close into a reset that overtakes the refusal.
        let mut dropped = [0; 4096];
        while stream.read(&mut dropped).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    let _ = tokio::time::timeout(ENDING_TIME, talk).await;
}

/// The service of one connection.
struct Answer {
    app: Arc<App>,
    entry: Arc<Entry>,
    table: Arc<Table>,
}

impl Service<Request<Incoming>> for Answer {
    type Response = Response<Tracked>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.entry.enter(ConnectionPhase::Busy);
        let (app, entry) = (Arc::clone(&self.app), Arc::clone(&self.entry));
        let table = Arc::clone(&self.table);
        Box::pin(async move {
            let logged_in = |user: &UserName| {
                table.set_owner(&entry, &Owner::User(user.clone()), &app.limits);
            };
            let body_rest = Arc::clone(&entry.rest);
            let answer = app.answer(request, entry.peer, body_rest, &logged_in).await;
            let api::Answer { mut reply, rest, is_held_back } = answer;
            let mut leftover = rest.map(|body| Leftover::new(body, &app, &entry, is_held_back));
            if !is_held_back {
                leftover.take().into_iter().for_each(Leftover::begin_to_drop);
            }
            if table.is_wanted(&entry) {
                reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(reply.map(|body| Tracked { body, leftover, entry }))
        })
    }
}

/// What is left of the body of a request that was answered before all of it came.
struct Leftover {
    body: RequestBody,
    bytes: u64,
    time: Duration,
    entry: Arc<Entry>,
}

impl Leftover {
    fn new(body: RequestBody, app: &App, entry: &Arc<Entry>, is_held_back: bool) -> Self {
        let Limits { refused_body_bytes: bytes, refused_body_time, .. } = *app.limits;
        // Who waits for leave to send it will not, or gives up as soon as the answer is there.
        let time = if is_held_back { ENDING_TIME } else { refused_body_time };
        entry.set_draining(true);
        Self { body, bytes, time, entry: Arc::clone(entry) }
    }

    /// Reads it and drops it, while the client reads the answer.
    fn begin_to_drop(self) {
        // None where the process ends, and with it the connection.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            self.body.drop_rest(self.bytes, self.time).await;
            self.entry.set_draining(false);
        });
    }
}

/// The body of a reply, which tells the table when hyper is done with it.
struct Tracked {
    body: ReplyBody,
    /// What the client holds back until the reply is there.
    leftover: Option<Leftover>,
    entry: Arc<Entry>,
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StorageError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.entry.enter(ConnectionPhase::Flushing);
        self.leftover.take().into_iter().for_each(Leftover::begin_to_drop);
    }
}

/// Bytes read from a socket at once.
const READ_BUFFER_BYTES: usize = 32 * 1024;
/// How long nothing comes before the kernel asks whether the other side is still there, how often
/// it asks, and how often in vain.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_PROBES: u32 = 6;
