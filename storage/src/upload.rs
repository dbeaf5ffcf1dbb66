//! Upload sessions: bytes that have no digest yet.
//!
//! A session is two files in `uploads/`: its bytes, and whose it is. Its offset is the length of
//! the first file, so what was acknowledged with 202 survives the death of the process. The hash
//! of the bytes so far lives in memory and is rebuilt by reading after a restart. Nothing here is
//! synced until the commit: a power cut may cost an unfinished upload, and if it tears one, the
//! digest at the end does not match, so wrong bytes never become a blob.
//!
//! One request writes to a session at a time. A later request takes the session over, because the
//! earlier one may belong to a connection that is dead without anyone having noticed.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::blob::{Unpublished, hash_file};
use crate::clock::Clock;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::durable::create_private;
use crate::error::{IoContext, StorageError};
use crate::layout::Layout;
use crate::name::{RepoName, UploadId, UserName};
use crate::space::Space;

mod used;

/// One open session, as this process knows it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: UploadId,
    pub(crate) repository: RepoName,
    pub(crate) user: UserName,
    algorithm: Algorithm,
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
    /// Which writer the session belongs to; a later writer has a higher number.
    writer: u64,
}

#[derive(Debug)]
struct Progress {
    offset: u64,
    /// Set when the session is committed, cancelled or broken.
    is_over: bool,
    last_used: Instant,
    /// The tick that stands in its file.
    noted_tick: i64,
}

/// What stands in the `.meta` file of a session.
#[derive(Serialize, Deserialize)]
struct Meta {
    repository: String,
    user: String,
    algorithm: String,
    /// When somebody used it, as [`used`] notes it.
    #[serde(default)]
    used_tick: Option<i64>,
}

impl Session {
    /// Begins a session: makes its two files.
    pub(crate) fn create(
        layout: &Layout,
        repository: &RepoName,
        user: &UserName,
        algorithm: Algorithm,
        clock: &Arc<Clock>,
    ) -> Result<Self, StorageError> {
        let uploads = layout.uploads();
        let id = UploadId::random()
            .map_err(|error| StorageError::io("name an upload in", &uploads, &error.into()))?;
        let noted_tick = clock.now();
        let meta = Meta {
            repository: repository.to_string(),
            user: user.to_string(),
            algorithm: algorithm.to_string(),
            used_tick: Some(noted_tick),
        };
        let meta = serde_json::to_vec(&meta).map_err(|e| StorageError::Database(e.to_string()))?;
        let meta_path = layout.upload_meta(id);
        let file = create_private(&meta_path)?;
        let made = file
            .write_all_at(&meta, 0)
            .at("write", &meta_path)
            .and_then(|()| create_private(&layout.upload(id)));
        if let Err(error) = made {
            let _ = fs::remove_file(&meta_path);
            return Err(error);
        }
        let hasher = Some(Hasher::new(algorithm));
        let last_used = Instant::now();
        let progress = Progress { offset: 0, is_over: false, last_used, noted_tick };
        Ok(Self {
            id,
            repository: repository.clone(),
            user: user.clone(),
            algorithm,
            clock: Arc::clone(clock),
            state: Mutex::new(State { hasher, writer: 0 }),
            progress: Mutex::new(progress),
        })
    }

    /// Finds a session that an earlier process began; `None` if its files are not both there and
    /// readable, which is what a crash may leave.
    pub(crate) fn recover(layout: &Layout, id: UploadId, clock: &Arc<Clock>) -> Option<Self> {
        let meta = fs::read(layout.upload_meta(id)).ok()?;
        let bytes = fs::metadata(layout.upload(id)).ok()?;
        let meta: Meta = serde_json::from_slice(&meta).ok()?;
        let (last_used, noted_tick) = used::before(layout, id, &meta, clock);
        let progress = Progress { offset: bytes.len(), is_over: false, last_used, noted_tick };
        Some(Self {
            id,
            repository: meta.repository.parse().ok()?,
            user: meta.user.parse().ok()?,
            algorithm: meta.algorithm.parse().ok()?,
            clock: Arc::clone(clock),
            state: Mutex::new(State { hasher: None, writer: 0 }),
            progress: Mutex::new(progress),
        })
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
        let was_open = !std::mem::replace(&mut self.progress().is_over, true);
        if was_open {
            remove_files(layout, self.id);
        }
        was_open
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

/// Removes what is left of a session. What cannot be removed is reclaimed when it has expired.
pub(crate) fn remove_files(layout: &Layout, id: UploadId) {
    let _ = fs::remove_file(layout.upload(id));
    let _ = fs::remove_file(layout.upload_meta(id));
}

/// The right of one request to add bytes to a session, until another request takes over.
#[derive(Debug)]
pub struct UploadWriter {
    session: Arc<Session>,
    layout: Layout,
    space: Arc<Space>,
    number: u64,
    file: File,
}

impl UploadWriter {
    /// Takes the session over and opens its file. Reads the bytes that an earlier process left.
    pub(crate) fn open(
        session: Arc<Session>,
        layout: Layout,
        space: Arc<Space>,
    ) -> Result<Self, StorageError> {
        let path = layout.upload(session.id);
        let mut state = session.lock();
        let offset = session.offset()?;
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                session.progress().is_over = true;
                return Err(StorageError::UploadUnknown);
            }
            Err(error) => return Err(error).at("open", &path),
        };
        if state.hasher.is_none() {
            state.hasher = Some(hash_file(&file, &path, session.algorithm, offset)?);
        }
        state.writer += 1;
        let number = state.writer;
        drop(state);
        Ok(Self { session, layout, space, number, file })
    }

    /// The number of bytes that the session holds, where the next piece goes.
    ///
    /// # Errors
    /// Fails when another request took over or the session ended.
    pub fn offset(&self) -> Result<u64, StorageError> {
        let _state = self.state()?;
        self.session.offset()
    }

    /// Adds pieces in order, and returns the number of bytes that the session then holds. They
    /// are written to the file (not synced) when this returns.
    ///
    /// # Errors
    /// [`StorageError::NoRoom`] and [`StorageError::Full`] leave the session as it was before the
    /// call. After any other trouble with the disk the session is dropped, since what the file
    /// holds is not known.
    pub fn append(&self, pieces: &[Bytes]) -> Result<u64, StorageError> {
        let path = self.layout.upload(self.session.id);
        self.space.check(pieces.iter().map(|piece| piece.len() as u64).sum())?;
        let mut state = self.state()?;
        let start = self.session.offset()?;
        let mut end = start;
        for piece in pieces {
            if let Err(error) = self.file.write_all_at(piece, end) {
                let error = StorageError::io("write", &path, &error);
                let is_undone = self.file.set_len(start).is_ok();
                if error != StorageError::Full || !is_undone {
                    self.abandon();
                }
                return Err(error);
            }
            end += piece.len() as u64;
        }
        if let Some(hasher) = &mut state.hasher {
            pieces.iter().for_each(|piece| hasher.update(piece));
        }
        let mut progress = self.session.progress();
        progress.offset = end;
        progress.last_used = Instant::now();
        drop(progress);
        self.session.note_use(&self.layout);
        Ok(end)
    }

    /// Checks the bytes against the digest and hands the file to `publish`, which makes it a
    /// blob. The session is over when this returns, unless it failed and left the upload intact.
    pub(crate) fn commit(
        &self,
        digest: &Digest,
        publish: impl FnOnce(&File, &Path, u64) -> Result<(), Unpublished>,
    ) -> Result<(), StorageError> {
        let path = self.layout.upload(self.session.id);
        let state = self.state()?;
        let size = self.session.offset()?;
        let running = match &state.hasher {
            Some(hasher) if hasher.algorithm() == digest.algorithm() => hasher.clone(),
            _ => hash_file(&self.file, &path, digest.algorithm(), size)
                .inspect_err(|_| self.abandon())?,
        };
        let actual = running.finish();
        if actual != *digest {
            return Err(StorageError::DigestMismatch { expected: *digest, actual });
        }
        match publish(&self.file, &path, size) {
            Err(Unpublished { error, is_intact: true }) => Err(error),
            Err(Unpublished { error, is_intact: false }) => {
                self.abandon();
                Err(error)
            }
            Ok(()) => {
                self.abandon();
                Ok(())
            }
        }
    }

    /// Ends the session. The caller has its state locked.
    fn abandon(&self) {
        self.session.progress().is_over = true;
        remove_files(&self.layout, self.session.id);
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, StorageError> {
        let state = self.session.lock();
        if self.session.is_over() {
            return Err(StorageError::UploadUnknown);
        }
        if state.writer != self.number {
            return Err(StorageError::UploadTaken);
        }
        Ok(state)
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }
}
