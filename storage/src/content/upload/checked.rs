//! An upload whose bytes are those that its digest names, on its way to becoming that blob.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::MutexGuard;

use super::meta;
use super::session::{FinishedUpload, Session, State};
use crate::content::SizedDigest;
use crate::content::publication::{Synced, Unpublished};
use crate::error::StorageError;
use crate::layout::Layout;

/// A checked upload. The store publishes it, and then says here what became of it. While it lives,
/// nobody adds bytes to the session, takes it over or ends it.
///
/// Crash argument: which blob the session becomes is noted before its file is renamed or removed,
/// so a killed process leaves the bytes here or a note where they are. That it has become the blob
/// is noted behind the row and before the answer, so whoever heard of it is never taken for one who
/// waits. A power cut may leave the notes without the bytes or the bytes without the notes; no
/// answer relied on either.
pub(crate) struct CheckedUpload<'a> {
    session: &'a Session,
    layout: &'a Layout,
    file: &'a File,
    path: PathBuf,
    blob: SizedDigest,
    _state: MutexGuard<'a, State>,
}

impl<'a> CheckedUpload<'a> {
    /// Notes which blob the session becomes: the first step of the crash argument.
    pub(super) fn new(
        session: &'a Session,
        layout: &'a Layout,
        file: &'a File,
        state: MutexGuard<'a, State>,
        blob: SizedDigest,
    ) -> Result<Self, StorageError> {
        meta::note(&layout.upload_meta(session.id), session.meta_bytes, blob)?;
        Ok(Self { session, layout, file, path: layout.upload(session.id), blob, _state: state })
    }

    /// The blob that it is to become.
    pub(crate) fn blob(&self) -> SizedDigest {
        self.blob
    }

    /// Syncs its bytes, which then get the name of the blob by [`Synced::name`] or
    /// [`Synced::replace`].
    pub(crate) fn sync(&self) -> Result<Synced<'_>, Unpublished> {
        Synced::new(self.layout, self.file, &self.path, &self.blob.digest)
    }

    /// The session that the bytes came for.
    pub(crate) fn session(&self) -> &Session {
        self.session
    }

    /// Takes from the session the bytes that have the name of the blob by now, and notes whether
    /// the blob has its row too: the last step of the crash argument. Returns what the session is
    /// from then on; it is over with [`CheckedUpload::end`].
    pub(crate) fn finish(&self, is_published: bool) -> FinishedUpload {
        let session = self.session;
        if is_published {
            let meta_path = self.layout.upload_meta(session.id);
            let _ = meta::note_published(&meta_path, session.meta_bytes, self.blob);
        }
        // It is still there if somebody else's publication served.
        let _ = fs::remove_file(&self.path);
        session.finished(self.blob, is_published)
    }

    /// Ends the session, whose bytes are no longer its own. Who looks for it must find what
    /// [`CheckedUpload::finish`] returned before that.
    pub(crate) fn end(self) {
        self.session.end();
    }

    /// Throws the bytes away and ends the session.
    pub(crate) fn abandon(self) {
        self.session.abandon(self.layout);
    }
}
