//! Upload sessions: bytes that have no digest yet.
//!
//! A session is two files in `uploads/`: its bytes, and whose it is. Its offset is the length of
//! the first file, so what was acknowledged with 202 survives the death of the process. The hash
//! of the bytes so far lives in memory and is rebuilt by reading after a restart. Nothing here is
//! synced until the commit: a power cut may cost an unfinished upload, and if it tears one, the
//! digest at the end does not match, so wrong bytes never become a blob.
//!
//! The commit takes the first file away. The second one says then which blob it became, and stays
//! for a while: whoever did not hear the answer may ask again. If the process dies amid the commit,
//! it tells where the bytes are.
//!
//! One request writes to a session at a time. A later request takes the session over, because the
//! earlier one may belong to a connection that is dead without anyone having noticed.

use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use durable::{IoError, create_private};
use oci::{Algorithm, Hasher, RepoName};

use crate::account::Account;
use crate::clock::Clock;
use crate::error::StorageError;
use crate::layout::Layout;

mod id;
mod meta;
mod writer;

pub use id::{UploadId, UploadIdError};
pub(crate) use meta::Becoming;
use meta::Meta;
pub use writer::UploadWriter;

mod used;

/// One open session, as this process knows it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: UploadId,
    pub(crate) repository: RepoName,
    pub(crate) user: Account,
    algorithm: Algorithm,
    /// The length of the first line of its `.meta` file.
    meta_bytes: u64,
    clock: Arc<Clock>,
    /// Locked while the disk works for the session.
    state: Mutex<State>,
    /// Apart from the state, and changed only with it locked: whoever asks waits for no disk.
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct State {
    /// `None` until the bytes that an earlier process received were read.
    hasher: Option<Hasher>,
}

#[derive(Debug)]
struct Progress {
    offset: u64,
    /// Set when the session is committed, cancelled or broken.
    is_over: bool,
    /// Which writer the session belongs to; a later writer has a higher number.
    writer: u64,
    last_used: Instant,
    /// The tick that stands in its file.
    noted_tick: i64,
}

/// What an earlier process left of a session.
#[derive(Debug)]
pub(crate) enum Recovered {
    /// It is open.
    Open(Arc<Session>),
    /// Its bytes became a blob, or the process died when they were about to.
    Finished(Finished),
}

/// A session whose bytes are no longer its own.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    pub(crate) repository: RepoName,
    pub(crate) user: Account,
    /// The blob that it became, or was about to become.
    pub(crate) blob: Becoming,
    /// Whether it did: its repository got the blob. If not, nobody has heard so.
    pub(crate) is_published: bool,
    /// When it ended, or was first met by this process.
    pub(crate) since: Instant,
    /// When an earlier process noted its end, by the clock on the wall; none if this one did.
    pub(crate) noted: Option<SystemTime>,
}

impl Session {
    /// Begins a session: makes its two files.
    pub(crate) fn create(
        layout: &Layout,
        repository: &RepoName,
        user: &Account,
        algorithm: Algorithm,
        clock: &Arc<Clock>,
    ) -> Result<Self, StorageError> {
        let uploads = layout.uploads();
        let id = UploadId::random()
            .map_err(|error| IoError::new("name an upload in", &uploads, &error.into()))?;
        let noted_tick = clock.now();
        let meta_path = layout.upload_meta(id);
        let file = create_private(&meta_path)?;
        let made = Meta::write(&file, &meta_path, repository, user, algorithm, noted_tick)
            .and_then(|written| {
                create_private(&layout.upload(id)).map(|_| written).map_err(Into::into)
            });
        let meta_bytes = made.inspect_err(|_| drop(fs::remove_file(&meta_path)))?;
        let hasher = Some(Hasher::new(algorithm));
        let last_used = Instant::now();
        let progress = Progress { offset: 0, is_over: false, writer: 0, last_used, noted_tick };
        Ok(Self {
            id,
            repository: repository.clone(),
            user: user.clone(),
            algorithm,
            meta_bytes,
            clock: Arc::clone(clock),
            state: Mutex::new(State { hasher }),
            progress: Mutex::new(progress),
        })
    }

    /// Finds a session that an earlier process began; `None` if what is left of its files says
    /// nothing, which is what a crash may leave.
    pub(crate) fn recover(layout: &Layout, id: UploadId, clock: &Arc<Clock>) -> Option<Recovered> {
        let meta_path = layout.upload_meta(id);
        let meta = Meta::read(&meta_path)?;
        let used::Before { last_used, noted_tick, meta_bytes } =
            used::before(&meta_path, &meta, clock);
        let Ok(bytes) = fs::metadata(layout.upload(id)) else {
            let Meta { repository, user, becoming, is_published, .. } = meta;
            let noted = fs::metadata(meta_path).and_then(|meta| meta.modified());
            let noted = Some(noted.unwrap_or(SystemTime::UNIX_EPOCH));
            let (blob, since) = (becoming?, last_used);
            let finished = Finished { repository, user, blob, is_published, since, noted };
            return Some(Recovered::Finished(finished));
        };
        let (offset, is_over, writer) = (bytes.len(), false, 0);
        let progress = Progress { offset, is_over, writer, last_used, noted_tick };
        Some(Recovered::Open(Arc::new(Self {
            id,
            repository: meta.repository,
            user: meta.user,
            algorithm: meta.algorithm,
            meta_bytes,
            clock: Arc::clone(clock),
            state: Mutex::new(State { hasher: None }),
            progress: Mutex::new(progress),
        })))
    }

    /// The number of bytes received. Counts as a use of the session.
    pub(crate) fn offset(&self) -> Result<u64, StorageError> {
        let mut progress = self.progress();
        progress.last_used = Instant::now();
        if progress.is_over { Err(StorageError::UploadUnknown) } else { Ok(progress.offset) }
    }

    /// When the session was last used.
    pub(crate) fn last_used(&self) -> Instant {
        self.progress().last_used
    }

    /// Whether the session was committed, cancelled or broken.
    pub(crate) fn is_over(&self) -> bool {
        self.progress().is_over
    }

    /// Ends the session and removes its files; false if it was over already.
    pub(crate) fn cancel(&self, layout: &Layout) -> bool {
        let _state = self.lock();
        let was_open = !self.is_over();
        if was_open {
            remove_files(layout, self.id);
            self.progress().is_over = true;
        }
        was_open
    }

    /// What it is once its bytes have become this blob, or have its name alone.
    pub(crate) fn finished(&self, blob: Becoming, is_published: bool) -> Finished {
        let (repository, user) = (self.repository.clone(), self.user.clone());
        Finished { repository, user, blob, is_published, since: Instant::now(), noted: None }
    }

    /// Keeps the session as busy as a working disk does.
    #[cfg(test)]
    pub(crate) fn lock_for_test(&self) -> impl Sized + '_ {
        self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes of a session without bytes that it has become its blob. If the disk refuses that, the blob
/// is given to its repository once more when the client asks again.
pub(crate) fn note_published(layout: &Layout, id: UploadId) {
    let path = layout.upload_meta(id);
    if let Some(Meta { becoming: Some(blob), first_bytes, .. }) = Meta::read(&path) {
        let _ = meta::note_published(&path, first_bytes, blob);
    }
}

/// Removes what is left of a session. What cannot be removed is reclaimed when it has expired.
pub(crate) fn remove_files(layout: &Layout, id: UploadId) {
    let _ = fs::remove_file(layout.upload(id));
    let _ = fs::remove_file(layout.upload_meta(id));
}
