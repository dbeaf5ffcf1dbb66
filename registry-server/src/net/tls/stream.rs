//! The server's end of a TLS connection over TCP, on rustls' interface without buffers: bytes are
//! decrypted where the socket put them and copied once for whoever reads, and as many records as
//! there are bytes to send go to the socket at once.
//!
//! Its own buffers follow what goes on. An idle connection has a short one for the next head, a
//! request or a reply what a few records take, and one that was made wide takes large steps.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::room::Room;
use super::seal::{encode, seal};

#[cfg(test)]
mod tests;

/// An open connection.
pub(in crate::net) struct ServerStream {
    socket: TcpStream,
    session: UnbufferedServerConnection,
    /// What came and was not decrypted yet.
    received: Room,
    /// Whether the last read left no room, so that there is more.
    is_flooded: bool,
    /// What was decrypted and did not fit where it was wanted.
    plain: BytesMut,
    /// What is encrypted and was not sent yet.
    outgoing: Room,
    is_wide: bool,
    reading: Half,
    /// Whether the other side was told that nothing more comes.
    is_closed: bool,
    /// What went wrong with it for good.
    failure: Option<rustls::Error>,
}

/// How it stands about what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Open,
    /// The other side said that this was all.
    Closed,
    /// It went without saying so.
    Cut,
}

/// What became of the records that are there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// One had bytes for whoever reads.
    Read,
    /// None of them is complete.
    Blocked,
}

impl ServerStream {
    /// Shakes hands with whoever connected.
    ///
    /// # Errors
    /// Fails when the other side does not speak TLS as it should, when it goes, and when nothing
    /// that it offers is taken; it is told why.
    pub(in crate::net) async fn accept(
        config: Arc<ServerConfig>,
        socket: TcpStream,
    ) -> io::Result<Self> {
        let mut stream = Self {
            socket,
            session: UnbufferedServerConnection::new(config).map_err(invalid)?,
            received: Room::default(),
            is_flooded: false,
            plain: BytesMut::new(),
            outgoing: Room::default(),
            is_wide: false,
            reading: Half::Open,
            is_closed: false,
            failure: None,
        };
        std::future::poll_fn(|context| stream.poll_handshake(context)).await?;
        Ok(stream)
    }

    /// The connection below.
    pub(in crate::net) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Lets it take large steps from now on, or no longer.
    pub(in crate::net) fn set_wide(&mut self, is_wide: bool) {
        self.is_wide = is_wide;
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.advance(context, &mut ReadBuf::new(&mut []))?;
            let is_shaken = !self.session.is_handshaking();
            // What it waits for may be something that was not sent yet.
            let drained = self.poll_drain(context)?;
            if is_shaken {
                return drained.map(Ok);
            }
            if self.reading != Half::Open {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            ready!(self.poll_receive(context))?;
        }
    }

    /// Works off what came until there are bytes for whoever reads, or more has to come. These
    /// bytes go into `into`; what does not fit there is kept.
    fn advance(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> io::Result<Progress> {
        if let Some(failure) = &self.failure {
            return Err(invalid(failure.clone()));
        }
        loop {
            let UnbufferedStatus { mut discard, state, .. } =
                self.session.process_tls_records(self.received.filled());
            let step = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                    match traffic.next_record() {
                        Some(Ok(record)) => {
                            discard += record.discard;
                            let fits = record.payload.len().min(into.remaining());
                            into.put_slice(&record.payload[..fits]);
                            self.plain.extend_from_slice(&record.payload[fits..]);
                        }
                        Some(Err(error)) => break Err(error),
                        None => break Ok(Some(Progress::Read)),
                    }
                },
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode(data, &mut self.outgoing);
                    Ok(None)
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    // It goes before whatever is written after it.
                    data.done();
                    Ok(None)
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.reading = Half::Closed;
                    Ok(None)
                }
                Ok(_) => Ok(Some(Progress::Blocked)),
                Err(error) => Err(error),
            };
            self.received.consume(discard);
            match step {
                Ok(Some(progress)) => return Ok(progress),
                Ok(None) => {}
                Err(failure) => {
                    self.tell_failure(context);
                    self.failure = Some(failure.clone());
                    return Err(invalid(failure));
                }
            }
        }
    }

    /// Sends what the session has to say about its failure, as far as the socket takes it.
    fn tell_failure(&mut self, context: &mut Context<'_>) {
        // Asked for more than that it would fail anew.
        while self.session.wants_write()
            && let UnbufferedStatus { state: Ok(ConnectionState::EncodeTlsData(data)), .. } =
                self.session.process_tls_records(self.received.filled())
        {
            encode(data, &mut self.outgoing);
        }
        let _ = self.poll_drain(context);
    }

    /// Takes from the socket what there is and room for.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let size = match () {
            () if self.is_wide => WIDE_BYTES,
            () if self.is_flooded || !self.received.is_empty() => RECORDS_BYTES,
            () => HEAD_BYTES,
        };
        if self.received.len() > HANDSHAKE_BYTES {
            return Poll::Ready(Err(invalid("a message of the handshake is too long")));
        }
        let mut room = ReadBuf::new(self.received.space(size / 2, size));
        let received = Pin::new(&mut self.socket).poll_read(context, &mut room);
        let count = room.filled().len();
        self.is_flooded = room.remaining() == 0;
        if received.is_pending() && !self.is_wide {
            self.received.shrink(HEAD_BYTES);
            self.outgoing.shrink(HEAD_BYTES);
        }
        ready!(received)?;
        self.received.add(count);
        if count == 0 {
            self.reading = Half::Cut;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what is encrypted.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let sent = Pin::new(&mut self.socket).poll_write(context, self.outgoing.filled());
            match ready!(sent)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.outgoing.consume(count),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Works off what came, so that the session takes what is to be sent: what was decrypted
    /// meanwhile, which is no more than the socket's buffer held, waits for whoever reads.
    fn advance_to_send(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while self.advance(context, &mut ReadBuf::new(&mut []))? == Progress::Read {}
        Ok(())
    }

    /// Encrypts as much of these slices as one step takes, and returns how much that is.
    fn seal(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let step = if self.is_wide { WIDE_STEP_BYTES } else { STEP_BYTES };
        match self.session.process_tls_records(self.received.filled()).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                seal(&mut traffic, slices, step, &mut self.outgoing)
            }
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl AsyncRead for ServerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if !this.plain.is_empty() {
            let count = this.plain.len().min(buffer.remaining());
            buffer.put_slice(&this.plain[..count]);
            this.plain.advance(count);
            if this.plain.is_empty() {
                this.plain = BytesMut::new();
            }
        }
        while buffer.remaining() > 0 {
            let has_some = buffer.filled().len() > before;
            match this.advance(context, buffer) {
                Ok(Progress::Read) => continue,
                Ok(Progress::Blocked) => {}
                // It fails again when it is asked for what comes after these.
                Err(_) if has_some => break,
                Err(error) => return Poll::Ready(Err(error)),
            }
            match this.reading {
                Half::Open if has_some && !this.is_flooded => break,
                Half::Open => {}
                Half::Closed => break,
                Half::Cut if has_some => break,
                Half::Cut => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            }
            match this.poll_receive(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Pending if has_some => break,
                outcome => return outcome,
            }
        }
        // What the other side wanted to hear, such as that its new keys are known.
        let _ = this.poll_drain(context);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(context))?;
        self.advance_to_send(context)?;
        let taken = self.seal(slices)?;
        // What it does not take now goes with the next write, or when all of it is flushed.
        let _ = self.poll_drain(context)?;
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_drain(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_closed {
            self.is_closed = true;
            self.advance_to_send(context)?;
            let this = &mut *self;
            if let UnbufferedStatus {
                state: Ok(ConnectionState::WriteTraffic(mut traffic)), ..
            } = this.session.process_tls_records(this.received.filled())
            {
                let room = this.outgoing.space(HEAD_BYTES, 0);
                let count = traffic.queue_close_notify(room).map_err(io::Error::other)?;
                this.outgoing.add(count);
            }
        }
        ready!(self.poll_drain(context))?;
        match ready!(Pin::new(&mut self.socket).poll_shutdown(context)) {
            // Whoever is gone needs no end.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            outcome => Poll::Ready(outcome),
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// What an idle connection has for what comes next; most heads are shorter.
const HEAD_BYTES: usize = 4 * 1024;
/// What a connection has for what comes: a record at least, whatever its cipher adds to it.
const RECORDS_BYTES: usize = 36 * 1024;
/// The longest message of a handshake that is waited for.
const HANDSHAKE_BYTES: usize = 64 * 1024;
/// What a wide connection takes from the socket at once.
const WIDE_BYTES: usize = 128 * 1024;
/// What is encrypted and sent at once, and of a wide connection.
const STEP_BYTES: usize = 64 * 1024;
const WIDE_STEP_BYTES: usize = 256 * 1024;
