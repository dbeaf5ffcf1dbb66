//! Bodies: reading a request's within bounds, and sending a reply's, blobs in particular.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use storage::StorageError;
use tokio::time::Instant;

use super::resting::Rest;
use crate::error::ApiError;
use crate::share::HeldShare;

mod blob;
mod multipart;

pub use blob::BlobBody;
pub(super) use blob::Source;
pub(super) use multipart::Parts;

/// The body of every reply.
pub enum ReplyBody {
    /// Bytes that are in memory already; none for an empty body. And the room that they have, if
    /// they are many.
    Full(Option<Bytes>, Option<HeldShare>),
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
    pub fn roomy(bytes: Bytes, room: Option<HeldShare>) -> Self {
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
            Self::Blob(blob) => blob.left() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Full(bytes, _) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Self::Blob(blob) => blob.left(),
        })
    }
}

/// The body of a request, read with a bound on the time between two pieces.
pub struct RequestBody {
    incoming: Incoming,
    idle: Duration,
    rest: Arc<Rest>,
    is_begun: bool,
    is_done: bool,
    is_lost: bool,
}

impl RequestBody {
    /// Reads from `incoming`, waiting at most `idle` for each piece, unless the body may rest for
    /// longer. `rest` says while it is waited for.
    pub fn new(incoming: Incoming, idle: Duration, rest: Arc<Rest>) -> Self {
        let is_done = incoming.is_end_stream();
        rest.begin_anew();
        Self { incoming, idle, rest, is_begun: false, is_done, is_lost: false }
    }

    /// Whether reading began, which is when a client that asked for "100 Continue" gets it.
    pub fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// Whether the end was reached.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Whether what is left of it is known to be no more than `most` bytes, which the client is
    /// still sending.
    pub fn is_nearly_done(&self, most: u64) -> bool {
        !self.is_lost && self.incoming.size_hint().upper().is_some_and(|left| left <= most)
    }

    /// The next piece, or `None` at the end.
    ///
    /// # Errors
    /// [`ApiError::BodyTimeout`] or [`ApiError::BodyBroken`].
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ApiError> {
        let rest = Arc::clone(&self.rest);
        let _resting = rest.begin();
        match tokio::time::timeout(self.idle, self.next()).await {
            Ok(next) => next,
            Err(_) => Err(self.lost(self.idle)),
        }
    }

    /// The next piece, or `None` at the end, of a body for which the caller holds nothing while it
    /// does not come: it may rest for `most`. Now and then `is_wanted` is asked whether anybody
    /// still waits for it.
    ///
    /// # Errors
    /// [`ApiError::BodyTimeout`], [`ApiError::BodyBroken`], and what `is_wanted` says.
    pub async fn rested(
        &mut self,
        most: Duration,
        is_wanted: impl Fn() -> Result<(), StorageError>,
    ) -> Result<Option<Bytes>, ApiError> {
        let rest = Arc::clone(&self.rest);
        let _resting = rest.begin();
        let until = Instant::now() + most;
        loop {
            let look = until.min(Instant::now() + self.idle);
            if let Ok(next) = tokio::time::timeout_at(look, self.next()).await {
                return next;
            }
            if look == until {
                return Err(self.lost(most));
            }
            is_wanted().inspect_err(|_| self.is_lost = true)?;
        }
    }

    /// The pieces from `first` on: about `bytes` together, or what came within `time`. Those
    /// gathered before a failure come with it, so that an upload keeps all that arrived. At the
    /// end they may be followed by none.
    pub async fn batch(
        &mut self,
        first: Bytes,
        bytes: usize,
        time: Duration,
    ) -> (Vec<Bytes>, Result<(), ApiError>) {
        let mut gathered = first.len();
        let mut pieces = vec![first];
        let until = Instant::now() + time;
        while gathered < bytes {
            match tokio::time::timeout_at(until, self.next()).await {
                Ok(Ok(Some(piece))) => {
                    gathered += piece.len();
                    pieces.push(piece);
                }
                Ok(Err(error)) => return (pieces, Err(error)),
                Ok(Ok(None)) | Err(_) => break,
            }
        }
        (pieces, Ok(()))
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

    /// The next piece, however long it takes.
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        self.is_begun = true;
        loop {
            let frame = match self.incoming.frame().await {
                None => {
                    self.is_done = true;
                    return Ok(None);
                }
                Some(Err(_)) => {
                    self.is_lost = true;
                    return Err(ApiError::BodyBroken);
                }
                Some(Ok(frame)) => frame,
            };
            // Trailers carry nothing that we use.
            if let Ok(data) = frame.into_data() {
                self.rest.came(data.len());
                return Ok(Some(data));
            }
        }
    }

    fn lost(&mut self, waited: Duration) -> ApiError {
        self.is_lost = true;
        ApiError::BodyTimeout { seconds: waited.as_secs() }
    }
}

/// Bytes in memory that are sent at once: the connection copies them and keeps the room.
const FRAME_BYTES: usize = 256 * 1024;
