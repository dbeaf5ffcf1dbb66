//! Bodies: reading a request's within bounds, and sending a reply's, blobs in particular.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use storage::{BlobReader, StorageError};
use tokio::time::Instant;
use tracing::error;

use super::App;
use super::error::ApiError;
use super::header::Span;
use crate::blocking::{Begun, Blocking, OnDisk};
use crate::limits::Limits;
use crate::share::Held;

/// The body of every reply.
pub enum ReplyBody {
    /// Bytes that are in memory already; none for an empty body. And the room that they have, if
    /// they are many.
    Full(Option<Bytes>, Option<Held>),
    /// Parts of a blob, read while they are sent.
    Blob(Box<BlobBody>),
}

impl ReplyBody {
    /// No body.
    pub fn empty() -> Self {
        Self::Full(None, None)
    }

    /// These bytes.
    pub fn full(bytes: Bytes) -> Self {
        Self::roomy(bytes, None)
    }

    /// These bytes, which have this room.
    pub fn roomy(bytes: Bytes, room: Option<Held>) -> Self {
        Self::Full((!bytes.is_empty()).then_some(bytes), room)
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StorageError>>> {
        match self.get_mut() {
            Self::Full(bytes, _) => Poll::Ready(bytes.take().map(|mut left| {
                let frame = left.split_to(left.len().min(FRAME_BYTES));
                *bytes = (!left.is_empty()).then_some(left);
                Ok(Frame::data(frame))
            })),
            Self::Blob(blob) => {
                blob.poll_piece(context).map(|piece| piece.map(|p| p.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes, _) => bytes.is_none(),
            Self::Blob(blob) => blob.left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Full(bytes, _) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Self::Blob(blob) => blob.left,
        })
    }
}

/// One stretch of a blob's reply.
#[derive(Debug)]
pub(super) enum Segment {
    /// Bytes between the parts of a multipart reply.
    Text(Bytes),
    /// A part of the blob.
    Part(Span),
}

/// The next piece of a reply.
enum Next {
    /// It is in memory.
    Text(Bytes),
    /// It is being read, or will be when it is asked for.
    Read(Begun<Result<Bytes, StorageError>>),
}

/// A blob on its way out. While one piece is sent the next is read.
pub struct BlobBody {
    reader: Arc<OnDisk<BlobReader>>,
    blocking: Blocking,
    segments: std::vec::IntoIter<Segment>,
    part: Option<Span>,
    next: Option<Next>,
    limits: Arc<Limits>,
    sending: Sending,
    left: u64,
}

/// One of the blobs that are being sent; they share the memory for pieces.
struct Sending(Arc<AtomicUsize>);

impl Sending {
    fn begin(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(all))
    }

    fn piece_bytes(&self, limits: &Limits) -> usize {
        let share = limits.download_memory_bytes / (2 * self.0.load(Ordering::Relaxed)).max(1);
        share.clamp(limits.download_piece_min_bytes, limits.download_piece_bytes)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl BlobBody {
    /// Sends the segments in order.
    pub(super) fn new(app: &App, reader: Arc<OnDisk<BlobReader>>, segments: Vec<Segment>) -> Self {
        let length = |segment: &Segment| match segment {
            Segment::Text(text) => text.len() as u64,
            Segment::Part(span) => span.length,
        };
        let left = segments.iter().map(length).sum();
        let segments = segments.into_iter();
        let (limits, sending) = (Arc::clone(&app.limits), Sending::begin(&app.sending));
        let (blocking, part, next) = (app.blocking.clone(), None, None);
        Self { reader, blocking, segments, part, next, limits, sending, left }
    }

    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, StorageError>>> {
        if self.next.is_none() {
            self.next = self.begin_next();
        }
        let piece = match &mut self.next {
            None => return Poll::Ready(None),
            Some(Next::Text(text)) => Ok(std::mem::take(text)),
            Some(Next::Read(read)) => ready!(Pin::new(read).poll(context)),
        };
        self.next = None;
        if let Ok(piece) = &piece {
            self.left = self.left.saturating_sub(piece.len() as u64);
            self.next = self.begin_next();
        }
        // The client sees a broken connection, never wrong bytes; here is the cause.
        Poll::Ready(Some(piece.inspect_err(|cause| error!(%cause, "a blob could not be read"))))
    }

    fn begin_next(&mut self) -> Option<Next> {
        let span = match self.part.take() {
            Some(span) => span,
            None => match self.segments.next()? {
                Segment::Text(text) => return Some(Next::Text(text)),
                Segment::Part(span) => span,
            },
        };
        let piece_bytes = self.sending.piece_bytes(&self.limits);
        let length = span.length.min(piece_bytes as u64);
        if length < span.length {
            self.part = Some(Span { start: span.start + length, length: span.length - length });
        }
        let reader = Arc::clone(&self.reader);
        let length = usize::try_from(length).unwrap_or(piece_bytes);
        let read = move || reader.read_at(span.start, length).map(Bytes::from);
        Some(Next::Read(self.blocking.begin_read(read)))
    }
}

/// The body of a request, read with a bound on the time between two pieces.
pub struct RequestBody {
    incoming: Incoming,
    idle: Duration,
    is_begun: bool,
    is_done: bool,
}

impl RequestBody {
    /// Reads from `incoming`, waiting at most `idle` for each piece.
    pub fn new(incoming: Incoming, idle: Duration) -> Self {
        let is_done = incoming.is_end_stream();
        Self { incoming, idle, is_begun: false, is_done }
    }

    /// Whether reading began, which is when a client that asked for "100 Continue" gets it.
    pub fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// Whether the end was reached.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// The next piece, or `None` at the end.
    ///
    /// # Errors
    /// [`ApiError::BodyTimeout`] or [`ApiError::BodyBroken`].
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ApiError> {
        self.is_begun = true;
        loop {
            let frame = match tokio::time::timeout(self.idle, self.incoming.frame()).await {
                Err(_) => return Err(ApiError::BodyTimeout { seconds: self.idle.as_secs() }),
                Ok(None) => {
                    self.is_done = true;
                    return Ok(None);
                }
                Ok(Some(Err(_))) => return Err(ApiError::BodyBroken),
                Ok(Some(Ok(frame))) => frame,
            };
            // Trailers carry nothing that we use.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// The next batch of pieces: of about `bytes` together, or what came within `time` of the
    /// first; empty at the end. The pieces gathered before a failure come with it, so that an
    /// upload keeps all that arrived.
    pub async fn batch(
        &mut self,
        bytes: usize,
        time: Duration,
    ) -> (Vec<Bytes>, Result<(), ApiError>) {
        let (mut pieces, mut gathered) = (Vec::new(), 0);
        let mut next = self.piece().await;
        let until = Instant::now() + time;
        loop {
            match next {
                Ok(Some(piece)) => {
                    gathered += piece.len();
                    pieces.push(piece);
                }
                Ok(None) => return (pieces, Ok(())),
                Err(error) => return (pieces, Err(error)),
            }
            if gathered >= bytes {
                return (pieces, Ok(()));
            }
            next = match tokio::time::timeout_at(until, self.piece()).await {
                Ok(next) => next,
                Err(_) => return (pieces, Ok(())),
            };
        }
    }

    /// The whole body, which is expected to have `length` bytes; `None` as soon as it is longer
    /// than `most` bytes.
    ///
    /// # Errors
    /// [`ApiError::BodyTimeout`] or [`ApiError::BodyBroken`].
    pub async fn whole(&mut self, length: usize, most: usize) -> Result<Option<Bytes>, ApiError> {
        let mut whole = BytesMut::with_capacity(length.min(most));
        while let Some(piece) = self.piece().await? {
            if whole.len() + piece.len() > most {
                return Ok(None);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Some(whole.freeze()))
    }

    /// Reads and drops what still comes, within the bounds, so that the client is free to read
    /// the refusal that was sent meanwhile instead of meeting a reset.
    pub async fn drop_rest(mut self, bytes: u64, time: Duration) {
        let mut dropped = 0;
        let reading = async {
            while dropped < bytes {
                let Ok(Some(piece)) = self.piece().await else { break };
                dropped += piece.len() as u64;
            }
        };
        // Past the bound the connection is closed, which is what dropping the body does.
        let _ = tokio::time::timeout(time, reading).await;
    }
}

/// Bytes in memory that are sent at once: the connection copies them and keeps the room.
const FRAME_BYTES: usize = 256 * 1024;
