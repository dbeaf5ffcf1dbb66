//! Tar archives, in the format that POSIX calls ustar, with PAX where that does not suffice: a name
//! above 100 bytes, or a file above 8 GiB. The same content makes the same bytes: nothing in a
//! header tells when or by whom it was written.

use std::io::{self, Write};
use std::path::Path;

use durable::At;
use oci::{Algorithm, Digest};

use super::copy::{OpenBlob, copy_blob};
use super::error::WriteError;
use super::layout::{BLOBS, blob_directory, blob_path};
use super::volume::Volume;

/// Writes a volume as an archive. `path` is what errors call it.
///
/// # Errors
/// Every [`WriteError`]; what was written until then is no whole archive.
pub fn write_tar(
    out: &mut dyn Write,
    path: &Path,
    volume: &Volume,
    open: OpenBlob<'_>,
    on_bytes: &mut dyn FnMut(u64),
) -> Result<(), WriteError> {
    let mut tar = TarWriter::new(&mut *out);
    for (name, bytes) in volume.files() {
        tar.begin(name, bytes.len() as u64).at("write", path)?;
        tar.write_all(bytes).at("write", path)?;
        tar.end().at("write", path)?;
    }
    tar.directory(BLOBS).at("write", path)?;
    for algorithm in Algorithm::ALL {
        let is_used = volume.blobs().iter().any(|blob| blob.digest.algorithm() == algorithm);
        if is_used {
            tar.directory(&blob_directory(algorithm)).at("write", path)?;
        }
    }
    for blob in volume.blobs() {
        tar.begin(&blob_path(&blob.digest), blob.size).at("write", path)?;
        copy_blob(&blob.digest, blob.size, open, (&mut tar, path), on_bytes)?;
        tar.end().at("write", path)?;
    }
    tar.finish().at("write", path)?;
    Ok(out.flush().at("write", path)?)
}

/// Writes an archive, entry after entry. What is written between [`TarWriter::begin`] and
/// [`TarWriter::end`] is the content of an entry.
pub struct TarWriter<W> {
    out: W,
    /// What is left to be written of the entry.
    left: u64,
    /// What then fills its last block.
    padding: u64,
}

impl<W: Write> TarWriter<W> {
    /// An archive that has no entry yet.
    pub fn new(out: W) -> Self {
        Self { out, left: 0, padding: 0 }
    }

    /// Writes an empty directory.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn directory(&mut self, name: &str) -> io::Result<()> {
        self.head(&format!("{name}/"), 0, DIRECTORY)
    }

    /// Begins a file of so many bytes.
    ///
    /// # Errors
    /// Those of the writer, and a file before it that has not all of its bytes.
    pub fn begin(&mut self, name: &str, size: u64) -> io::Result<()> {
        self.head(name, size, FILE)?;
        self.left = size;
        self.padding = padding(size);
        Ok(())
    }

    /// Ends a file.
    ///
    /// # Errors
    /// Those of the writer, and a file that has not all of its bytes.
    pub fn end(&mut self) -> io::Result<()> {
        if self.left > 0 {
            return Err(io::Error::other(format!("{} bytes of the file are missing", self.left)));
        }
        let padding = std::mem::take(&mut self.padding);
        self.out.write_all(&ZEROS[..usize::try_from(padding).unwrap_or(0)])
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(mut self) -> io::Result<()> {
        self.end()?;
        self.out.write_all(&ZEROS)?;
        self.out.write_all(&ZEROS)
    }

    fn head(&mut self, name: &str, size: u64, kind: u8) -> io::Result<()> {
        self.end()?;
        let records = records(name, size);
        if !records.is_empty() {
            self.out.write_all(&header(PAX_NAME, records.len() as u64, PAX))?;
            self.out.write_all(records.as_bytes())?;
            let padding = padding(records.len() as u64);
            self.out.write_all(&ZEROS[..usize::try_from(padding).unwrap_or(0)])?;
        }
        self.out.write_all(&header(name, size, kind))
    }
}

impl<W: Write> Write for TarWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        if most == 0 && !bytes.is_empty() {
            return Err(io::Error::other("the file has more bytes than its header says"));
        }
        let count = self.out.write(&bytes[..most])?;
        self.left -= count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What a blob takes in an archive, in bytes.
pub(super) fn entry_bytes(digest: &Digest, size: u64) -> u64 {
    let records = records(&blob_path(digest), size).len() as u64;
    let in_blocks = |bytes: u64| bytes.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(u64::MAX);
    let pax = if records == 0 { 0 } else { BLOCK_BYTES + in_blocks(records) };
    in_blocks(size).saturating_add(BLOCK_BYTES).saturating_add(pax)
}

/// What a header has no room for.
fn records(name: &str, size: u64) -> String {
    let mut records = String::new();
    if name.len() > NAME_BYTES {
        records += &record("path", name);
    }
    if size > MAX_SIZE {
        records += &record("size", &size.to_string());
    }
    records
}

/// A line of PAX, which begins with its own length.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length.to_string().len() + rest.len() != length {
        length = length.to_string().len() + rest.len();
    }
    format!("{length}{rest}")
}

fn header(name: &str, size: u64, kind: u8) -> [u8; BLOCK_BYTES as usize] {
    let mut header = [0; BLOCK_BYTES as usize];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    // Of a longer one whoever knows no PAX reads the beginning.
    put(0, &name.as_bytes()[..name.len().min(NAME_BYTES)]);
    put(100, if kind == DIRECTORY { b"0000755\0" } else { b"0000644\0" });
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    // One that PAX tells has none here: whoever knows none stops at what is no header.
    put(124, format!("{:011o}\0", if size > MAX_SIZE { 0 } else { size }).as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// What fills the last block of so many bytes.
fn padding(size: u64) -> u64 {
    (BLOCK_BYTES - size % BLOCK_BYTES) % BLOCK_BYTES
}

/// What ends an archive, in bytes.
pub(super) const END_BYTES: u64 = 2 * BLOCK_BYTES;
/// What everything in an archive is counted in.
const BLOCK_BYTES: u64 = 512;
/// A block of nothing.
const ZEROS: [u8; BLOCK_BYTES as usize] = [0; BLOCK_BYTES as usize];
/// The longest name in a header.
const NAME_BYTES: usize = 100;
/// The largest size in a header: eleven octal digits.
const MAX_SIZE: u64 = 0o77_777_777_777;
/// What kind of entry it is.
const FILE: u8 = b'0';
const DIRECTORY: u8 = b'5';
const PAX: u8 = b'x';
/// What the entry with the lines of PAX is called.
const PAX_NAME: &str = "PaxHeaders/entry";

#[cfg(test)]
mod tests;
