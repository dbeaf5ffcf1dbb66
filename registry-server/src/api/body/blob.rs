//! A blob on its way out: a piece is read while the one before is sent.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
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
            self.next = self.begin_next();
        }
        let Some(read) = &mut self.next else { return Poll::Ready(None) };
        let piece = ready!(Pin::new(read).poll(context));
        self.next = None;
        if let Ok(piece) = &piece {
            self.left = self.left.saturating_sub(piece.len() as u64);
            if !self.source.is_slow() {
                self.next = self.begin_next();
            }
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
        let read = move || {
            let _sending = sending;
            read(&source, &segments, bytes)
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
        let rest = part.length - length as u64;
        self.part =
            (rest > 0).then(|| ByteSpan { start: part.start + length as u64, length: rest });
        Some((Segment::Part(ByteSpan { length: length as u64, ..part }), length))
    }
}

/// Reads what a piece of a reply consists of, which is so many bytes in all.
fn read(source: &Source, segments: &[Segment], bytes: usize) -> Result<Bytes, StorageError> {
    // Most replies have one part, which need not be copied.
    if let [Segment::Part(part)] = segments {
        return source.read_at(part.start, bytes).map(Bytes::from);
    }
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
