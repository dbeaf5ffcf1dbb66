//! Adding bytes to a session, and checking them when all are there.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use bytes::Bytes;
use durable::IoError;
use oci::Digest;

use super::checked::CheckedUpload;
use super::session::{Session, State};
use crate::content::SizedDigest;
use crate::content::hash_file::hash_all;
use crate::content::write_back::begin_write_back;
use crate::error::StorageError;
use crate::layout::Layout;
use crate::space::Space;

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
            Err(error) => return Err(IoError::new("open", &path, &error).into()),
        };
        if state.hasher.is_none() {
            state.hasher = Some(hash_all(&file, &path, session.algorithm, offset)?);
        }
        let mut progress = session.progress();
        progress.writer += 1;
        let number = progress.writer;
        drop(progress);
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

    /// Whether the session is still this writer's. Waits for no disk.
    ///
    /// # Errors
    /// [`StorageError::UploadUnknown`] when the session ended, [`StorageError::UploadTaken`] when
    /// another request took over.
    pub fn check(&self) -> Result<(), StorageError> {
        let progress = self.session.progress();
        if progress.is_over {
            return Err(StorageError::UploadUnknown);
        }
        if progress.writer != self.number {
            return Err(StorageError::UploadTaken);
        }
        Ok(())
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
                let error = StorageError::from(IoError::new("write", &path, &error));
                let is_undone = self.file.set_len(start).is_ok();
                if error != StorageError::Full || !is_undone {
                    self.abandon();
                }
                return Err(self.space.explained(error));
            }
            end += piece.len() as u64;
        }
        begin_write_back(&self.file, start, end);
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

    /// Checks the bytes against the digest. Until what it returns is dropped, nobody adds bytes to
    /// the session, takes it over or ends it.
    ///
    /// # Errors
    /// [`StorageError::DigestMismatch`], which ends the session; trouble with the disk.
    pub(crate) fn check_digest(&self, digest: &Digest) -> Result<CheckedUpload<'_>, StorageError> {
        let state = self.state()?;
        let path = self.layout.upload(self.session.id);
        let size = self.session.offset()?;
        let running = match &state.hasher {
            Some(hasher) if hasher.algorithm() == digest.algorithm() => hasher.clone(),
            _ => hash_all(&self.file, &path, digest.algorithm(), size)
                .inspect_err(|_| self.abandon())?,
        };
        let actual = running.finish();
        if actual != *digest {
            // Bytes can only be added, so this can never become what the client wants.
            self.abandon();
            return Err(StorageError::DigestMismatch { expected: *digest, actual });
        }
        let blob = SizedDigest { digest: *digest, size };
        CheckedUpload::new(&self.session, &self.layout, &self.file, state, blob)
    }

    /// Ends the session. The caller has its state locked.
    fn abandon(&self) {
        self.session.abandon(&self.layout);
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, StorageError> {
        let state = self.session.lock();
        self.check()?;
        Ok(state)
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }
}
