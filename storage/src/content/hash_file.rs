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

#[cfg(test)]
mod tests {
    use std::fs;

    use oci::Digest;

    use super::*;

    #[test]
    fn each_piece_is_told_once_and_hashed_once() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(2 * PIECE_BYTES + 7).collect();
        fs::write(&path, &bytes).unwrap();
        let file = File::open(&path).unwrap();
        let whole = Digest::of(Algorithm::Sha256, &bytes);
        let (mut told, most) = (Vec::new(), u64::MAX);
        let read = hash_while_reading(&file, Algorithm::Sha256, most, |offset, piece| {
            assert_eq!(offset, told.len() as u64);
            told.extend_from_slice(piece);
            ControlFlow::<()>::Continue(())
        });
        let ControlFlow::Continue(hashed) = read.unwrap() else { panic!("nobody stopped it") };
        assert_eq!((hashed.length, hashed.hasher.finish()), (bytes.len() as u64, whole));
        assert_eq!(told, bytes);
        let stopped =
            hash_while_reading(&file, Algorithm::Sha256, most, |offset, _| match offset {
                0 => ControlFlow::Continue(()),
                offset => ControlFlow::Break(offset),
            });
        assert!(matches!(stopped, Ok(ControlFlow::Break(at)) if at == PIECE_BYTES as u64));
    }

    #[test]
    fn a_file_that_ends_early_has_no_hash() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        fs::write(&path, "four").unwrap();
        let file = File::open(&path).unwrap();
        let hash = |length| hash_all(&file, &path, Algorithm::Sha256, length);
        assert_eq!(hash(3).unwrap().finish(), Digest::of(Algorithm::Sha256, b"fou"));
        assert_eq!(hash(5).unwrap_err().kind, ErrorKind::UnexpectedEof);
    }
}
