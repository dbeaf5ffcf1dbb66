//! Making an upload a blob: the order of file and rows, and what each failure leaves.

use oci::{Digest, RepoName};

use super::Store;
use crate::content::upload::{CheckedUpload, UploadWriter};
use crate::content::{SizedDigest, Unpublished, UploadRemains};
use crate::db::Transaction;
use crate::error::StorageError;
use crate::in_memory::claims::Turn;

mod batch;
mod group;

pub(crate) use group::Groups;

impl Store {
    /// Makes the bytes of a session a blob of its repository. Durable on return.
    ///
    /// Whatever file the blob had before, it has these bytes afterwards: a push brings right bytes
    /// back also where nobody has noticed yet that they are not. If the last answer was lost, the
    /// same can be asked again, see [`Store::open_upload_to_finish`].
    ///
    /// # Errors
    /// [`StorageError::DigestMismatch`] if the bytes are others, which ends the session: it can
    /// only grow. After trouble that leaves the bytes as they were, a full disk for one, it goes
    /// on.
    pub fn commit_upload(
        &self,
        upload: &UploadWriter,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        let session = upload.session();
        let checked = upload.check_digest(digest);
        let outcome = checked.and_then(|checked| self.commit_checked(checked));
        if session.is_over() {
            self.sessions.forget(session.id);
        }
        outcome.map_err(|error| self.space.explained(error))
    }

    /// Publishes a checked upload and ends its session, unless something failed that left the
    /// upload as it was.
    fn commit_checked(&self, upload: CheckedUpload<'_>) -> Result<(), StorageError> {
        let (name, blob) = (&upload.session().repository, upload.blob());
        // Remembered first and linked then: a link that is there and young stays as old as it is,
        // and collection must not take it in between.
        self.told.tell(name.as_str(), &blob.digest);
        let published = self.publish(&upload);
        if published.is_err() {
            self.forget_unless_held(name, &blob.digest);
        }
        self.sessions.conclude(upload, &published);
        published.map_err(|unpublished| unpublished.error)
    }

    /// Publishes checked bytes, or relies on somebody who publishes the same meanwhile.
    fn publish(&self, upload: &CheckedUpload<'_>) -> Result<(), Unpublished> {
        let (name, blob) = (&upload.session().repository, upload.blob());
        loop {
            match self.claims.claim_to_publish(&blob.digest) {
                Turn::Publish(publication) => {
                    self.publish_alone(upload)?;
                    publication.succeeded();
                    return Ok(());
                }
                // Without the claim, so that many of these share one commit. The row is looked for
                // in the transaction that links it, so collection cannot take it in between.
                Turn::Rely if self.link_stored(name, blob)? == Some(true) => return Ok(()),
                // It is gone already, or was found bad.
                Turn::Rely => {}
            }
        }
    }

    /// Publishes checked bytes. The caller holds the claim: collection takes no file away between
    /// the look at the row and the file that it needs, and what is put back after a failure is not
    /// what somebody else's row stands for.
    fn publish_alone(&self, upload: &CheckedUpload<'_>) -> Result<(), Unpublished> {
        let (name, blob) = (&upload.session().repository, upload.blob());
        let digest = blob.digest;
        let row = self.database.read_afresh(|reader| reader.stored_blob(&digest))?;
        let Some(row) = row else {
            let syncing = self.groups.begin(blob.size);
            let synced = upload.sync()?;
            self.put_back_before(blob)?;
            let named = synced.name()?;
            // Others go on in step with this one, and each fails alone: what is left of an upload
            // is what its own name, directory and row came to.
            let member = syncing.join(&self.database);
            let placed = named.sync()?;
            let added = self.database.prepare(add_blob(name, blob)).and_then(|(add, outcome)| {
                member.write(add);
                outcome.wait()
            });
            return added.map_err(|error| placed.put_back(error));
        };
        let synced = upload.sync()?;
        // The link comes first, since what follows takes the bytes from the session for good.
        //
        // Crash argument: until the rename the session has its bytes and the repository a link to
        // what others hold already; after it the repository holds what the session was to become,
        // which answers for it. Where the row says that the blob is lost, the link shows nothing
        // before the last step, and the finished session knows where its bytes are.
        //
        // A blob is sound where both the disk, which the row was read from afresh, and the writing
        // connection, which may remember another row, say so.
        let is_sound = self.link_stored(name, blob)? == Some(true) && row.size == blob.size;
        synced.replace()?;
        if is_sound {
            return Ok(());
        }
        self.add_blob(name, blob)
            .map_err(|error| Unpublished { error, left: UploadRemains::Placed })
    }

    fn link_stored(
        &self,
        name: &RepoName,
        SizedDigest { digest, size }: SizedDigest,
    ) -> Result<Option<bool>, StorageError> {
        let name = name.clone();
        let link =
            move |transaction: &Transaction<'_>| transaction.link_stored(&name, &digest, size);
        self.database.write(link)
    }

    /// Writes the row of a blob whose file is in place and synced.
    pub(super) fn add_blob(&self, name: &RepoName, blob: SizedDigest) -> Result<(), StorageError> {
        self.database.write(add_blob(name, blob))
    }
}

fn add_blob(
    name: &RepoName,
    SizedDigest { digest, size }: SizedDigest,
) -> impl FnOnce(&Transaction<'_>) -> Result<(), StorageError> + Send + 'static {
    let name = name.clone();
    move |transaction| transaction.add_blob(&name, &digest, size)
}

#[cfg(test)]
mod tests;
