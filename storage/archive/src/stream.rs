//! A pipe or a compressed file, which is read once: blobs come in its order, and what images they
//! make is known at its end.

use std::io::{self, Read};

use oci::{Digest, RepoName};

use crate::error::ScanError;
use crate::findings::{Findings, Want, may_be_manifest};
use crate::inventory::Inventory;
use crate::packing::Unpacked;
use crate::tar::{EntryKind, Tar, TarError};

/// An archive that is read from its beginning to its end.
pub struct Stream<'i, R: Read> {
    tar: Tar<Unpacked<R>>,
    findings: Findings,
    inventory: &'i mut Inventory,
    /// The blob that was given last. It counts once all of it came.
    last: Option<Pending>,
    is_over: bool,
    ignored_bytes: u64,
}

struct Pending {
    digest: Digest,
    size: u64,
    /// What was read to see what it is.
    beginning: Vec<u8>,
}

impl<'i, R: Read> Stream<'i, R> {
    /// Begins to read. `stem` is the repository of images that the archive says none of.
    ///
    /// # Errors
    /// [`ScanError::Compressed`], and failures to read.
    pub fn new(
        reader: R,
        stem: Option<RepoName>,
        inventory: &'i mut Inventory,
    ) -> Result<Self, ScanError> {
        let unpacked = Unpacked::new(reader);
        let unpacked = unpacked.map_err(|error| TarError::of_reading(&error, 0))?;
        Ok(Self {
            tar: Tar::new(unpacked.map_err(ScanError::Compressed)?),
            findings: Findings::new(stem),
            inventory,
            last: None,
            is_over: false,
            ignored_bytes: 0,
        })
    }

    /// The next blob or manifest, each once; none at the end. What was not read of the one before
    /// is skipped. One that does not come whole does not count, and its reader fails.
    ///
    /// # Errors
    /// Every [`ScanError`]; then nothing that came counts.
    pub fn next_blob(&mut self) -> Result<Option<StreamBlob<'_, R>>, ScanError> {
        while !self.is_over {
            let next = match self.settle() {
                Ok(()) => self.find(),
                Err(error) => Err(error),
            };
            match next {
                Ok(false) => {}
                Ok(true) => break,
                Err(ScanError::Tar(error)) => {
                    self.findings.ended(error)?;
                    self.is_over = true;
                }
                Err(error) => return Err(error),
            }
        }
        let Self { tar, last, .. } = self;
        Ok(last.as_ref().map(|last| StreamBlob {
            digest: last.digest,
            size: last.size,
            beginning: &last.beginning,
            tar,
        }))
    }

    /// Reads what is left, and adds what was there to the inventory.
    ///
    /// # Errors
    /// Every [`ScanError`]; nothing is added then.
    pub fn finish(mut self) -> Result<(), ScanError> {
        while self.next_blob()?.is_some() {}
        self.findings.finish()?;
        self.inventory.add(self.findings);
        Ok(())
    }

    /// Ends with the blob before: now all of it came.
    fn settle(&mut self) -> Result<(), ScanError> {
        let last = self.last.take();
        self.tar.skip_content()?;
        match last {
            Some(it) => self.findings.add_blob(it.digest, it.size, &it.beginning),
            None => Ok(()),
        }
    }

    /// Looks at the next entry; whether it is a blob.
    fn find(&mut self) -> Result<bool, ScanError> {
        let Some(entry) = self.tar.next_entry()? else {
            self.is_over = true;
            return Ok(false);
        };
        let wanted = self.findings.look(&entry)?;
        let EntryKind::File { size, .. } = entry.kind else { return Ok(false) };
        let (digest, beginning) = match wanted {
            Want::Known => return Ok(false),
            Want::Nothing => {
                self.ignored_bytes = self.ignored_bytes.saturating_add(size);
                return match self.ignored_bytes > IGNORED_BYTES {
                    true => Err(ScanError::TooMuchElse { limit_bytes: IGNORED_BYTES }),
                    false => Ok(false),
                };
            }
            Want::Document(role) => {
                let bytes = self.tar.read_whole()?;
                match self.findings.document(&entry.path, role, &bytes)? {
                    Some(digest) => (digest, bytes),
                    None => return Ok(false),
                }
            }
            Want::Blob(digest) => {
                (digest, self.tar.read_beginning(|some| may_be_manifest(size, some))?)
            }
        };
        self.last = Some(Pending { digest, size, beginning });
        Ok(true)
    }
}

/// A blob or a manifest of a stream. Nobody has hashed it.
pub struct StreamBlob<'s, R: Read> {
    digest: Digest,
    size: u64,
    beginning: &'s [u8],
    tar: &'s mut Tar<Unpacked<R>>,
}

impl<R: Read> StreamBlob<'_, R> {
    /// What it is called.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// All its bytes, whatever was read.
    pub fn len(&self) -> u64 {
        self.size
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }
}

impl<R: Read> Read for StreamBlob<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.beginning.is_empty() {
            return self.beginning.read(buffer);
        }
        self.tar.read_content(buffer)
    }
}

/// The most bytes that a stream may have of what belongs to no image: working directories and logs
/// have some hundred MB, and a few bytes of zstd unpack to any number.
const IGNORED_BYTES: u64 = 16 << 30;
