//! Hashing a file while it is read, once, from its beginning: to go on with an upload, to verify a
//! blob, to copy one.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use durable::{At, IoError};
use oci::{Algorithm, Hasher};

/// What was read of a file.
pub(super) struct Hashed {
    /// Its bytes so far; more may be added.
    pub(super) hasher: Hasher,
    /// How many they were.
    pub(super) length: u64,
}

/// Reads `most_bytes` of a file, or fewer if it ends before, and hashes them. `on_piece` gets each
/// piece, with the place where it begins, and may break off.
///
/// # Errors
/// What the disk says when it does not give a piece back.
pub(super) fn hash_while_reading<B>(
    file: &File,
    algorithm: Algorithm,
    most_bytes: u64,
    mut on_piece: impl FnMut(u64, &[u8]) -> ControlFlow<B>,
) -> io::Result<ControlFlow<B, Hashed>> {
    let mut hasher = Hasher::new(algorithm);
    let mut piece = vec![0; PIECE_BYTES];
    let mut length = 0;
    while length < most_bytes {
        let wanted = usize::try_from(most_bytes - length).unwrap_or(usize::MAX).min(piece.len());
        let read = match file.read_at(&mut piece[..wanted], length) {
            Ok(0) => break,
            Ok(read) => &piece[..read],
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(read);
        if let ControlFlow::Break(reason) = on_piece(length, read) {
            return Ok(ControlFlow::Break(reason));
        }
        length += read.len() as u64;
    }
    Ok(ControlFlow::Continue(Hashed { hasher, length }))
}

/// Hashes the first `length` bytes of the file at `path`, which has that many.
pub(super) fn hash_all(
    file: &File,
    path: &Path,
    algorithm: Algorithm,
    length: u64,
) -> Result<Hasher, IoError> {
    let go_on = |_, _: &[u8]| ControlFlow::<std::convert::Infallible>::Continue(());
    match hash_while_reading(file, algorithm, length, go_on).at("read", path)? {
        ControlFlow::Continue(hashed) if hashed.length == length => Ok(hashed.hasher),
        ControlFlow::Continue(_) => {
            Err(IoError::new("read", path, &ErrorKind::UnexpectedEof.into()))
        }
    }
}

/// How much of a file is in memory.
const PIECE_BYTES: usize = 256 * 1024;
