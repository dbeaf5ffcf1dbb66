//! What comes through a pipe, or out of a compressed file, and cannot be read twice: it goes into
//! the import's directory as it comes, unless the registry has it, and what it belongs to is known
//! at the end.

use std::collections::HashSet;
use std::io::{ErrorKind, Read};

use oci::Digest;

use super::site::Site;
use super::sources::ComingBlob;
use crate::backup::{Event, Listener, OwnerThread};

/// What came so far.
pub(super) struct Streamed<'a> {
    owner: &'a OwnerThread<Site>,
    listener: &'a Listener,
    /// Blobs and manifests that lie in the import's directory, and are right.
    pub(super) staged: HashSet<Digest>,
    /// Those of which no copy came whole with the bytes that its digest says.
    pub(super) bad: HashSet<Digest>,
}

impl<'a> Streamed<'a> {
    /// Nothing so far.
    pub(super) fn new(owner: &'a OwnerThread<Site>, listener: &'a Listener) -> Self {
        Self { owner, listener, staged: HashSet::new(), bad: HashSet::new() }
    }

    /// Takes a blob, unless the registry has it, or it came already: another copy of it is no
    /// better, and may be worse.
    ///
    /// # Errors
    /// Trouble with the disk, and on the way to the owner of the store.
    pub(super) fn take(&mut self, blob: &mut ComingBlob<'_>) -> anyhow::Result<()> {
        let (digest, size) = (*blob.digest(), blob.len());
        if self.staged.contains(&digest) {
            return Ok(());
        }
        if self.owner.ask(move |site| site.lacking(&[digest]))??.is_empty() {
            return Ok(());
        }
        self.owner.ask(move |site| site.begin_blob(&digest, size))??;
        let is_read = loop {
            let mut piece = vec![0; PIECE_BYTES];
            match blob.read(&mut piece) {
                Ok(0) => break true,
                Ok(count) => {
                    piece.truncate(count);
                    self.owner.ask(move |site| site.add_to_blob(&piece))??;
                    (self.listener)(Event::Copied(count as u64));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The stream itself says at its end that it is damaged.
                Err(_) => break false,
            }
        };
        match self.owner.ask(move |site| site.end_blob(is_read))?? {
            true => {
                self.bad.remove(&digest);
                self.staged.insert(digest)
            }
            false => self.bad.insert(digest),
        };
        Ok(())
    }
}

/// How much of a blob is in memory.
const PIECE_BYTES: usize = 1024 * 1024;
