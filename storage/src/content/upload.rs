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

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;

use durable::At;
use oci::{Algorithm, Digest, RepoName};

use super::{Content, Spool};
use crate::account::Account;
use crate::clock::Clock;
use crate::error::StorageError;
use crate::space::Space;

mod checked;
pub(crate) mod id;
mod last_use;
mod meta;
mod session;
mod writer;

pub(crate) use checked::CheckedUpload;
pub use id::{UploadId, UploadIdError};
pub(crate) use session::{FinishedUpload, Recovered, Session};
pub use writer::UploadWriter;

use meta::Meta;

impl Content {
    /// Begins a session: makes its two files.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub(crate) fn begin_upload(
        &self,
        repository: &RepoName,
        user: &Account,
        algorithm: Algorithm,
        clock: &Arc<Clock>,
    ) -> Result<Session, StorageError> {
        Session::create(&self.layout, repository, user, algorithm, clock)
    }

    /// Finds a session that an earlier process began; `None` if what is left of its files says
    /// nothing, which is what a crash may leave.
    pub(crate) fn recover_upload(&self, id: UploadId, clock: &Arc<Clock>) -> Option<Recovered> {
        Session::recover(&self.layout, id, clock)
    }

    /// Takes a session over for writing. Reads the bytes that an earlier process left.
    ///
    /// # Errors
    /// [`StorageError::UploadUnknown`] if it is over or its file is gone; trouble with the disk.
    pub(crate) fn open_upload(
        &self,
        session: Arc<Session>,
        space: &Arc<Space>,
    ) -> Result<UploadWriter, StorageError> {
        UploadWriter::open(session, self.layout.clone(), Arc::clone(space))
    }

    /// Ends a session and removes its files; false if it was over already.
    pub(crate) fn cancel_upload(&self, session: &Session) -> bool {
        session.cancel(&self.layout)
    }

    /// A file for what comes slowly and is read as a whole when it is there.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub(crate) fn spool(&self, space: &Arc<Space>) -> Result<Spool, StorageError> {
        Spool::new(&self.layout.uploads(), Arc::clone(space))
    }

    /// The sessions of which there is a file.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub(crate) fn uploads(&self) -> Result<HashSet<UploadId>, StorageError> {
        let uploads = self.layout.uploads();
        let mut listed = HashSet::new();
        for entry in fs::read_dir(&uploads).at("list", &uploads)? {
            let name = entry.at("list", &uploads)?.file_name();
            listed.extend(name.to_string_lossy().trim_end_matches(".meta").parse::<UploadId>());
        }
        Ok(listed)
    }

    /// Whether there is a file of a session.
    pub(crate) fn has_upload(&self, id: UploadId) -> bool {
        let files = [self.layout.upload(id), self.layout.upload_meta(id)];
        files.iter().any(|path| path.exists())
    }

    /// How many bytes came for a session.
    pub(crate) fn upload_bytes(&self, id: UploadId) -> u64 {
        fs::metadata(self.layout.upload(id)).map_or(0, |file| file.len())
    }

    /// Removes what is left of a session. What cannot be removed is reclaimed when it has expired.
    pub(crate) fn remove_upload(&self, id: UploadId) {
        session::remove_files(&self.layout, id);
    }

    /// Notes of a session without bytes that it has become its blob. If the disk refuses that, the
    /// blob is given to its repository once more when the client asks again.
    pub(crate) fn note_published(&self, id: UploadId) {
        let path = self.layout.upload_meta(id);
        if let Some(Meta { becoming: Some(blob), first_bytes, .. }) = Meta::read(&path) {
            let _ = meta::note_published(&path, first_bytes, blob);
        }
    }

    /// Makes the file of a blob the bytes of a session; false if there is none. No row names the
    /// file, and the caller holds the claim on the blob.
    pub(crate) fn make_upload_again(&self, digest: &Digest, id: UploadId) -> bool {
        fs::rename(self.layout.blob(digest), self.layout.upload(id)).is_ok()
    }
}
