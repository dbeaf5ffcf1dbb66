//! A blob on its way out, a piece after the other.
//!
//! What the page cache holds is read where the reply is made, which costs less than asking another
//! thread for it. What it lacks is read by a thread that may wait; it asks the disk for what
//! follows, so that most of the next pieces are in memory when they are wanted.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use oci::Digest;
use storage::{BlobReader, StorageError, Store};
use tracing::error;

use super::multipart::Parts;
use crate::advice::told;
use crate::api::App;
use crate::api::list::LongList;
use crate::api::range::ByteSpan;
use crate::blocking::{Blocking, OnDisk, RunningWork};
use crate::limits::Limits;
use crate::share::HeldShare;

/// Where a long reply comes from.
#[derive(Clone)]
pub(in crate::api) enum Source {
    /// The file of a blob.
    Blob(Arc<OnDisk<BlobReader>>),
    /// The row of a manifest.
    Manifest(Arc<Store>, Digest),
    /// A list, which is made anew for each piece.
    List(Arc<LongList>),
}

impl Source {
    /// Whether a piece costs as much as all that lies before it, so that few are better than small
    /// ones.
    fn is_slow(&self) -> bool {
        !matches!(self, Self::Blob(_))
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, StorageError> {
        match self {
            Self::Blob(reader) => reader.read_at(offset, length),
            Self::Manifest(store, digest) => store.read_manifest(digest, offset, length),
            Self::List(list) => list.read_at(offset, length),
        }
    }
}

/// A blob, a long manifest or a long list on its way out, or parts of it. Two pieces are in memory
/// at most.
pub struct BlobBody {
    source: Source,
    blocking: Blocking,
    /// What is left of the part that is being sent.
    part: Option<ByteSpan>,
    /// The parts after it, each with a head of its own, if there are several.
    parts: Option<Parts>,
    next: Option<RunningWork<Result<Bytes, StorageError>>>,
    /// The piece before, whose memory serves for the next one when it is sent.
    before: Option<Bytes>,
    /// Bytes that were read here since others had their turn on this thread.
    in_a_row: usize,
    limits: Arc<Limits>,
    // The thread that reads a piece has it too: it may go on when the client is gone.
    sending: Arc<Sending>,
    left: u64,
    /// The room that a long list of parts has.
    _room: Option<HeldShare>,
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

/// One stretch of a reply.
enum Segment {
    /// What stands between two parts.
    Text(String),
    /// A part of the blob, or a piece of it.
    Part(ByteSpan),
}

impl BlobBody {
    /// Sends one part of a blob, or all of it.
    pub(in crate::api) fn one(app: &App, source: Source, part: ByteSpan) -> Self {
        let left = part.length;
        Self { part: (left > 0).then_some(part), left, ..Self::nothing(app, source) }
    }

    /// Sends several parts of a blob, whose list has this room, if it is long.
    pub(in crate::api) fn many(
        app: &App,
        source: Source,
        parts: Parts,
        room: Option<HeldShare>,
    ) -> Self {
        let left = parts.length();
        Self { parts: Some(parts), left, _room: room, ..Self::nothing(app, source) }
    }

    fn nothing(app: &App, source: Source) -> Self {
        Self {
            source,
            blocking: app.blocking.clone(),
            part: None,
            parts: None,
            next: None,
            before: None,
            in_a_row: 0,
            limits: Arc::clone(&app.limits),
            sending: Arc::new(Sending::begin(&app.sending)),
            left: 0,
            _room: None,
        }
    }

    /// How many bytes are still to be sent.
    pub(in crate::api) fn left(&self) -> u64 {
        self.left
    }

    pub(super) fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, StorageError>>> {
        if self.next.is_none() {
            if self.in_a_row >= ROW_BYTES {
                self.in_a_row = 0;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(piece) = self.cached_piece() {
                self.in_a_row += piece.len();
                self.left = self.left.saturating_sub(piece.len() as u64);
                return Poll::Ready(Some(Ok(piece)));
            }
            self.next = self.begin_next();
        }
        let Some(read) = &mut self.next else { return Poll::Ready(None) };
        let piece = ready!(Pin::new(read).poll(context));
        (self.next, self.in_a_row) = (None, 0);
        if let Ok(piece) = &piece {
            self.left = self.left.saturating_sub(piece.len() as u64);
            self.before = Some(piece.clone());
        }
        // The client sees a broken connection, never wrong bytes; here is the cause.
        Poll::Ready(Some(piece.inspect_err(|cause| {
            let cause = told(cause);
            match self.source {
                Source::Blob(_) => error!(%cause, "a blob could not be read"),
                Source::Manifest(..) => error!(%cause, "a manifest could not be read"),
                Source::List(_) => error!(%cause, "a list could not be read"),
            }
        })))
    }

    /// The next piece of the part that is being sent, as much of it as memory holds.
    fn cached_piece(&mut self) -> Option<Bytes> {
        let Source::Blob(reader) = &self.source else { return None };
        let part = self.part?;
        let most = self.sending.piece_bytes(&self.limits);
        let wanted = usize::try_from(part.length).unwrap_or(most).min(most);
        let mut room = room(self.before.take(), wanted);
        let count = reader.read_cached(part.start, &mut room);
        if count == 0 {
            self.before = Some(room.freeze());
            return None;
        }
        self.part = part.without(count);
        if count < wanted / 2 {
            // It would hold the memory of a whole piece until it is sent.
            let piece = Bytes::copy_from_slice(&room[..count]);
            self.before = Some(room.freeze());
            return Some(piece);
        }
        room.truncate(count);
        let piece = room.freeze();
        self.before = Some(piece.clone());
        Some(piece)
    }

    /// Begins to read the next piece: a piece of a large part, or many small ones together, since
    /// each hand-over to another thread costs more than a few bytes do.
    fn begin_next(&mut self) -> Option<RunningWork<Result<Bytes, StorageError>>> {
        let piece_bytes = match &self.parts {
            // One at a time, which each connection may have.
            None if self.source.is_slow() => self.limits.small_body_bytes,
            None => self.sending.piece_bytes(&self.limits),
            // What stands between the parts is in memory twice while they are read.
            Some(_) => self.sending.piece_bytes(&self.limits) / 2,
        };
        let (mut segments, mut bytes) = (Vec::new(), 0);
        while bytes < piece_bytes
            && let Some((segment, length)) = self.next_segment(piece_bytes - bytes)
        {
            bytes += length;
            segments.push(segment);
        }
        let (source, sending) = (self.source.clone(), Arc::clone(&self.sending));
        let (before, then) = (self.before.take(), self.part.map_or(0, |part| part.length));
        let read = move || {
            let _sending = sending;
            match segments.as_slice() {
                // Most replies have one part, which need not be copied.
                [Segment::Part(part)] => match &source {
                    Source::Blob(reader) => {
                        let mut room = room(before, bytes);
                        reader.read_into(part.start, &mut room, then).map(|()| room.freeze())
                    }
                    _ => source.read_at(part.start, bytes).map(Bytes::from),
                },
                _ => joined(&source, &segments, bytes),
            }
        };
        (bytes > 0).then(|| match self.source {
            Source::List(_) => self.blocking.begin_heavy(read),
            _ => self.blocking.begin_read(read),
        })
    }

    /// The next stretch, of `room` bytes of the blob at most, and its length.
    fn next_segment(&mut self, room: usize) -> Option<(Segment, usize)> {
        let Some(part) = self.part.take() else {
            let (text, part) = self.parts.as_mut()?.next()?;
            self.part = part;
            let length = text.len();
            return Some((Segment::Text(text), length));
        };
        let length = usize::try_from(part.length).unwrap_or(room).min(room);
        self.part = part.without(length);
        Some((Segment::Part(ByteSpan { length: length as u64, ..part }), length))
    }
}

/// Reads the stretches of which a piece of a reply consists, which has so many bytes in all.
fn joined(source: &Source, segments: &[Segment], bytes: usize) -> Result<Bytes, StorageError> {
    let mut piece = Vec::with_capacity(bytes);
    for segment in segments {
        match segment {
            Segment::Text(text) => piece.extend_from_slice(text.as_bytes()),
            Segment::Part(part) => {
                let length = usize::try_from(part.length).unwrap_or(bytes);
                piece.extend_from_slice(&source.read_at(part.start, length)?);
            }
        }
    }
    Ok(piece.into())
}

/// Memory for a piece of so many bytes: that of the piece before, if it is sent by now and is not
/// much larger, since pieces become smaller the more blobs are sent.
fn room(before: Option<Bytes>, bytes: usize) -> BytesMut {
    match before.map(Bytes::try_into_mut) {
        Some(Ok(mut room)) if room.capacity() <= 2 * bytes.max(LEAST_KEPT_BYTES) => {
            room.resize(bytes, 0);
            room
        }
        _ => BytesMut::zeroed(bytes),
    }
}

/// What is read in a row before others have their turn on the thread.
const ROW_BYTES: usize = 512 * 1024;
/// Memory of so few bytes is kept for a shorter piece.
const LEAST_KEPT_BYTES: usize = 4 * 1024;
