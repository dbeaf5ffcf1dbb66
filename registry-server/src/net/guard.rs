//! The stream under hyper: it tells the table of connections what is going on, and keeps hyper's
//! own refusals off the wire.
//!
//! When a head does not parse or is too long, hyper answers by itself, without a body. Every error
//! of this server has one, so what hyper writes while no request is being answered is dropped, and
//! the connection's task writes the refusal instead.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::buffers::Buffers;
use super::table::{ConnectionPhase, Entry};
use crate::share::HeldShare;

/// A stream that reports to its entry of the table.
pub(super) struct Guard<S> {
    stream: S,
    entry: Arc<Entry>,
    buffers: Arc<Buffers>,
    /// Bytes that came and went so far.
    moved: usize,
    /// Leave for the buffers of its socket to grow.
    growing: Option<HeldShare>,
}

/// A stream over a connection of TCP.
pub(super) trait OverTcp {
    /// The connection.
    fn socket(&self) -> &TcpStream;
}

impl<S: OverTcp> Guard<S> {
    pub(super) fn new(stream: S, entry: Arc<Entry>, buffers: Arc<Buffers>) -> Self {
        Self { stream, entry, buffers, moved: 0, growing: None }
    }

    /// Notes that so many bytes came or are about to go. With the first that are more than a few
    /// requests have, the buffers of the socket are chosen, and whoever has logged in by then is
    /// whose they are.
    fn moves(&mut self, bytes: usize) {
        let before = self.moved;
        self.moved = before.saturating_add(bytes);
        if before <= FEW_BYTES && self.moved > FEW_BYTES {
            self.growing = self.buffers.choose(&self.entry.owner(), self.stream.socket());
        }
    }
}

impl<S> Guard<S> {
    /// The stream without the guard.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    /// Whether a request is being answered, so that what is written is ours.
    fn is_answering(&self) -> bool {
        matches!(self.entry.phase(), ConnectionPhase::Busy | ConnectionPhase::Flushing)
    }
}

impl<S: AsyncRead + OverTcp + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        let is_next = self.entry.phase() == ConnectionPhase::Idle && !self.entry.is_draining();
        let came = buffer.filled().len() - before;
        if came > 0 && is_next {
            self.entry.enter(ConnectionPhase::Head);
        }
        self.moves(came);
        outcome
    }
}

impl<S> Guard<S> {
    fn noted(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Pending => self.entry.set_blocked(),
            Poll::Ready(Ok(bytes)) => self.entry.took(bytes),
            Poll::Ready(Err(_)) => {}
        }
        outcome
    }
}

impl<S: AsyncWrite + OverTcp + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.is_answering() {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.moves(bytes.len());
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.noted(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.is_answering() {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        self.moves(slices.iter().map(|slice| slice.len()).sum());
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.noted(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        match outcome {
            Poll::Pending => self.entry.set_blocked(),
            Poll::Ready(_) => self.entry.set_drained(),
        }
        if matches!(outcome, Poll::Ready(Ok(()))) && self.entry.phase() == ConnectionPhase::Flushing
        {
            self.entry.enter(ConnectionPhase::Idle);
        }
        outcome
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's task does it, since a refusal may still be to be written.
        Poll::Ready(Ok(()))
    }
}

/// Bytes that a connection moves before the buffers of its socket are chosen: some requests and
/// their answers, which fit into small ones.
const FEW_BYTES: usize = 64 * 1024;
