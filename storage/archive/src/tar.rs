//! Reading tar: ustar, GNU's long names and PAX headers, for what is read as well as for what is
//! skipped over.
//!
//! Nothing is unpacked, and nothing is guessed: an archive that two readers could take for two
//! different ones is refused. Those are the flaws that libraries had one after the other, such as
//! CVE-2026-33055: the size in the header and the one in the extended header were not the same,
//! and what one reader took for content was entries to another.

use std::io::{self, ErrorKind, Read};

use crate::path::EntryPath;

mod error;
mod extended;
mod header;

pub use error::TarError;

use extended::Extended;
use header::Header;

/// Where the bytes of an archive come from.
pub(crate) trait Input: Read {
    /// Goes on behind so many bytes.
    fn skip(&mut self, bytes: u64) -> io::Result<()>;

    /// Whether so many bytes are left, as far as one can say without reading them.
    fn may_have(&self, bytes: u64) -> bool;
}

/// An archive that is read from its beginning to its end.
pub(crate) struct Tar<I> {
    input: I,
    /// Where in the archive the next byte stands.
    at: u64,
    /// Bytes of the entry's content that were not read yet.
    content_bytes: u64,
    /// Bytes behind the content, up to the next header.
    padding_bytes: u64,
    headers: u64,
    is_over: bool,
}

/// One entry, its names resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: EntryPath,
    pub(crate) kind: EntryKind,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A file, whose content begins there in the archive.
    File { size: u64, offset: u64 },
    /// Another name of an entry; the target is none if it lies outside.
    Link { target: Option<EntryPath>, said: String },
    /// A directory, or something that only a file system has.
    Other,
}

impl<I: Input> Tar<I> {
    pub(crate) fn new(input: I) -> Self {
        Self { input, at: 0, content_bytes: 0, padding_bytes: 0, headers: 0, is_over: false }
    }

    /// The next entry; none at the end. What was not read of the one before is skipped.
    ///
    /// # Errors
    /// Every [`TarError`]; nothing more can be read after one.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        if self.is_over {
            return Ok(None);
        }
        self.skip_content()?;
        let padding = std::mem::take(&mut self.padding_bytes);
        self.skip(padding)?;
        let mut extended = Extended::default();
        loop {
            let at = self.at;
            let mut block = [0; BLOCK_BYTES];
            self.read_block(&mut block)?;
            if block == [0; BLOCK_BYTES] {
                if extended != Extended::default() {
                    return Err(TarError::ExtendedHeader { at });
                }
                self.is_over = true;
                return self.check_end().map(|()| None);
            }
            self.headers += 1;
            if self.headers > MOST_HEADERS {
                return Err(TarError::TooManyEntries { limit: MOST_HEADERS });
            }
            let header = Header::read(&block, at)?;
            match header.flag {
                b'x' => extended.add_pax(&self.read_small(&header)?, at)?,
                b'g' => extended::check_global(&self.read_small(&header)?, at)?,
                b'L' => extended.add_long_name(&self.read_small(&header)?, at)?,
                b'K' => extended.add_long_link(&self.read_small(&header)?, at)?,
                _ => return self.entry(&header, &extended).map(Some),
            }
        }
    }

    /// Goes on behind the content of the entry that came last, whatever was read of it.
    ///
    /// # Errors
    /// [`TarError::Truncated`], [`TarError::Read`].
    pub(crate) fn skip_content(&mut self) -> Result<(), TarError> {
        let rest = std::mem::take(&mut self.content_bytes);
        self.skip(rest)
    }

    /// Reads of the content of the entry that came last.
    pub(crate) fn read_content(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.content_bytes).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.content_bytes = self.content_bytes.saturating_sub(count as u64);
        self.at = self.at.saturating_add(count as u64);
        Ok(count)
    }

    /// The beginning of the content of the entry that came last; all of it if it may be a manifest.
    pub(crate) fn read_beginning(
        &mut self,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, TarError> {
        let most = self.content_bytes.min(BEGINNING_BYTES);
        let mut content = self.read_some(most)?;
        if is_wanted(&content) {
            content.extend(self.read_whole()?);
        }
        Ok(content)
    }

    /// The whole content of the entry that came last, which the caller knows to be short.
    pub(crate) fn read_whole(&mut self) -> Result<Vec<u8>, TarError> {
        self.read_some(self.content_bytes)
    }

    fn read_some(&mut self, bytes: u64) -> Result<Vec<u8>, TarError> {
        let mut content = vec![0; usize::try_from(bytes).unwrap_or(0)];
        let mut filled = 0;
        while filled < content.len() {
            match self.read_content(&mut content[filled..]) {
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::of_reading(&error, self.at)),
            }
        }
        Ok(content)
    }

    fn entry(&mut self, header: &Header, extended: &Extended) -> Result<Entry, TarError> {
        let at = self.at;
        let raw_path = extended.path(header);
        if raw_path.len() > NAME_BYTES {
            return Err(TarError::LongName { at, limit: NAME_BYTES });
        }
        let path = EntryPath::parse(&raw_path);
        let path = path.map_err(|fault| TarError::Path { path: lossy(&raw_path), fault })?;
        let size = extended.size(header, &path)?;
        if extended.is_sparse() || header.flag == b'S' {
            return Err(TarError::Sparse { path: path.as_str().to_owned() });
        }
        // The form before ustar has directories as files with a slash at the end.
        let is_file = matches!(header.flag, b'0' | 0 | b'7') && !raw_path.ends_with(b"/");
        if !is_file && size > 0 {
            return Err(TarError::SizeOfNoFile { path: path.as_str().to_owned() });
        }
        let kind = match header.flag {
            _ if is_file => EntryKind::File { size, offset: at },
            b'1' => {
                let said = extended.link(header);
                EntryKind::Link { target: EntryPath::parse(&said).ok(), said: lossy(&said) }
            }
            b'2' => {
                let said = lossy(&extended.link(header));
                EntryKind::Link { target: path.follow(&said), said }
            }
            b'0' | 0 | b'3'..=b'7' | b'V' => EntryKind::Other,
            flag => return Err(TarError::Type { path: path.as_str().to_owned(), flag }),
        };
        self.content_bytes = size;
        self.padding_bytes = padding(size);
        if !self.input.may_have(size) {
            return Err(TarError::Truncated { at });
        }
        Ok(Entry { path, kind })
    }

    /// The content of an extended header.
    fn read_small(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        if header.size > EXTENDED_BYTES {
            return Err(TarError::LongHeader { at: self.at, limit: EXTENDED_BYTES });
        }
        // A few bytes of zstd unpack to many such headers, so their blocks count as well.
        self.headers += header.size / BLOCK_BYTES as u64;
        self.content_bytes = header.size;
        let content = self.read_whole()?;
        self.skip(padding(header.size))?;
        Ok(content)
    }

    /// A second block of zeros ends an archive. Some writers leave it away; some readers go on
    /// behind the first one, so nothing may stand there. Behind both are no more zeros than fill up
    /// a record: of a copy that broke off, some file systems keep the length.
    fn check_end(&mut self) -> Result<(), TarError> {
        let (at, mut block) = (self.at, [0; BLOCK_BYTES]);
        while self.at.saturating_sub(at) < RECORD_BYTES {
            match self.read_block(&mut block) {
                Ok(()) if block == [0; BLOCK_BYTES] => {}
                Ok(()) if self.at == at + BLOCK_BYTES as u64 => {
                    return Err(TarError::BehindTheEnd { at });
                }
                Ok(()) => break,
                Err(TarError::Truncated { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Err(TarError::GoesOn { at })
    }

    fn read_block(&mut self, block: &mut [u8; BLOCK_BYTES]) -> Result<(), TarError> {
        let read = self.input.read_exact(block);
        read.map_err(|error| TarError::of_reading(&error, self.at))?;
        self.at = self.at.saturating_add(BLOCK_BYTES as u64);
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), TarError> {
        self.input.skip(bytes).map_err(|error| TarError::of_reading(&error, self.at))?;
        self.at = self.at.saturating_add(bytes);
        Ok(())
    }
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK_BYTES as u64
}

/// A name for a sentence, no longer than one has room for.
fn lossy(raw: &[u8]) -> String {
    String::from_utf8_lossy(&raw[..raw.len().min(SAID_BYTES)]).into_owned()
}

/// What headers and contents are filled up to.
const BLOCK_BYTES: usize = 512;
/// The most headers of an archive, in blocks: a mirror of five thousand images has some hundred
/// thousand, and what is packed could have any number.
const MOST_HEADERS: u64 = 4 << 20;
/// The longest record that a program fills up, which is where tapes end.
const RECORD_BYTES: u64 = 1 << 20;
/// The longest name of an entry, as long as Linux has them.
const NAME_BYTES: usize = 4096;
/// The longest content of an extended header, which holds names and, from some writers, attributes.
const EXTENDED_BYTES: u64 = 1 << 20;
/// How much of a content is read to see what it is.
const BEGINNING_BYTES: u64 = 64;
/// How much of a name is told.
const SAID_BYTES: usize = 512;
