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

use durable::At;
use oci::Digest;

use super::Content;
use crate::error::StorageError;

mod checked;
pub(crate) mod id;
mod meta;
mod session;
mod used;
mod writer;

pub(crate) use checked::CheckedUpload;
pub use id::{UploadId, UploadIdError};
pub(crate) use session::{Finished, Recovered, Session};
pub use writer::UploadWriter;

use meta::Meta;

impl Content {
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
