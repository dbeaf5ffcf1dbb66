//! One upload session: what is in memory beside its two files.

use std::fs::{self, OpenOptions};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use durable::{IoError, create_private};
use oci::{Algorithm, Hasher, RepoName};

use super::id::UploadId;
use super::last_use;
use super::meta::Meta;
use crate::account::Account;
use crate::clock::Clock;
use crate::content::SizedDigest;
use crate::error::StorageError;
use crate::layout::Layout;

/// One open session, as this process knows it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: UploadId,
    pub(crate) repository: RepoName,
    pub(crate) user: Account,
    pub(super) algorithm: Algorithm,
    /// The length of the first line of its `.meta` file.
    pub(super) meta_bytes: u64,
    pub(super) clock: Arc<Clock>,
    /// Locked while the disk works for the session.
    state: Mutex<State>,
    /// Apart from the state, and changed only with it locked: whoever asks waits for no disk.
    progress: Mutex<UploadProgress>,
}

#[derive(Debug)]
pub(super) struct State {
    /// `None` until the bytes that an earlier process received were read.
    pub(super) hasher: Option<Hasher>,
}

#[derive(Debug)]
pub(super) struct UploadProgress {
    pub(super) offset: u64,
    /// Set when the session is committed, cancelled or broken.
    pub(super) is_over: bool,
    /// Which writer the session belongs to; a later writer has a higher number.
    pub(super) writer: u64,
    pub(super) last_used: Instant,
    /// The tick that stands in its file.
    pub(super) noted_tick: i64,
}

/// What an earlier process left of a session.
#[derive(Debug)]
pub(crate) enum Recovered {
    /// It is open.
    Open(Arc<Session>),
    /// Its bytes became a blob, or the process died when they were about to.
    Finished(FinishedUpload),
}

/// A session whose bytes are no longer its own.
#[derive(Clone, Debug)]
pub(crate) struct FinishedUpload {
    pub(crate) repository: RepoName,
    pub(crate) user: Account,
    /// The blob that it became, or was about to become.
    pub(crate) blob: SizedDigest,
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
        let progress =
            UploadProgress { offset: 0, is_over: false, writer: 0, last_used, noted_tick };
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
        let last_use::Before { last_used, noted_tick, meta_bytes } =
            last_use::before(&meta_path, &meta, clock);
        let Ok(bytes) = fs::metadata(layout.upload(id)) else {
            let Meta { repository, user, becoming, is_published, .. } = meta;
            let noted = fs::metadata(meta_path).and_then(|meta| meta.modified());
            let noted = Some(noted.unwrap_or(SystemTime::UNIX_EPOCH));
            let (blob, since) = (becoming?, last_used);
            let finished = FinishedUpload { repository, user, blob, is_published, since, noted };
            return Some(Recovered::Finished(finished));
        };
        let (offset, is_over, writer) = (bytes.len(), false, 0);
        let progress = UploadProgress { offset, is_over, writer, last_used, noted_tick };
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

    /// Notes that it was used, if that was not noted within the last hour. What the disk refuses
    /// makes the session look older than it is, and harms nobody else. The caller has its state
    /// locked.
    pub(super) fn note_use(&self, layout: &Layout) {
        let now = self.clock.now();
        let mut progress = self.progress();
        if now.saturating_sub(progress.noted_tick) < last_use::NOTE_TICKS {
            return;
        }
        progress.noted_tick = now;
        drop(progress);
        let path = layout.upload_meta(self.id);
        if let Ok(file) = OpenOptions::new().write(true).open(&path) {
            let Self { repository, user, algorithm, .. } = self;
            let _ = Meta::write(&file, &path, repository, user, *algorithm, now);
        }
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
            self.abandon(layout);
        }
        was_open
    }

    /// Removes the files of the session, which ends with them. The caller has its state locked. It
    /// is over only when they are gone: what is over is forgotten, and what is not known is looked
    /// for among the files.
    pub(super) fn abandon(&self, layout: &Layout) {
        remove_files(layout, self.id);
        self.end();
    }

    /// Says that the session is over.
    pub(super) fn end(&self) {
        self.progress().is_over = true;
    }

    /// What it is once its bytes have become this blob, or have its name alone.
    pub(crate) fn finished(&self, blob: SizedDigest, is_published: bool) -> FinishedUpload {
        let (repository, user) = (self.repository.clone(), self.user.clone());
        FinishedUpload { repository, user, blob, is_published, since: Instant::now(), noted: None }
    }

    /// Keeps the session as busy as a working disk does.
    #[cfg(test)]
    pub(crate) fn lock_for_test(&self) -> impl Sized + '_ {
        self.lock()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, UploadProgress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes what is left of a session. What cannot be removed is reclaimed when it has expired.
pub(super) fn remove_files(layout: &Layout, id: UploadId) {
    let _ = fs::remove_file(layout.upload(id));
    let _ = fs::remove_file(layout.upload_meta(id));
}
