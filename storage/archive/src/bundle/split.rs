//! Which blob goes into which volume.
//!
//! They are taken in their order, so that images become whole one after the other: whoever has the
//! first volume has the first images. What the documents of a volume take is counted as well, and a
//! little more than they will.

use std::ops::Range;

use oci::Digest;

use super::error::SplitError;
use super::layout::{Blob, MAX_VOLUMES};
use super::tar::{END_BYTES, entry_bytes};

/// How volumes are written, and so what a blob takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Directories, whose disk counts in blocks.
    Directory,
    /// Tar archives.
    Tar,
}

/// An image that is to be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// The item that is its manifest: all that belongs to it comes before.
    pub item: usize,
    /// The bytes of its name and its media type.
    pub text_bytes: usize,
}

/// A volume: the items that it holds. It names the images whose manifests are among them.
pub type Split = Range<usize>;

/// Splits items into volumes of at most so many bytes; into one, if there is no such number.
///
/// # Errors
/// Every [`SplitError`].
pub fn split(
    items: &[Blob],
    images: &[Named],
    most_bytes: Option<u64>,
    form: Form,
) -> Result<Vec<Split>, SplitError> {
    let whole = 0..items.len();
    let Some(most_bytes) = most_bytes else { return Ok(vec![whole]) };
    let mut said = vec![0_u64; items.len()];
    for image in images {
        if let Some(said) = said.get_mut(image.item) {
            *said = said.saturating_add(IMAGE_BYTES + 3 * image.text_bytes as u64);
        }
    }
    let (mut volumes, mut begin, mut taken) = (Vec::new(), 0, DOCUMENTS_BYTES);
    for (at, (item, said)) in items.iter().zip(said).enumerate() {
        let needed = form.bytes(item).saturating_add(ITEM_BYTES).saturating_add(said);
        let alone = DOCUMENTS_BYTES.saturating_add(needed);
        if alone > most_bytes {
            return Err(SplitError::TooSmall { digest: item.digest, needed_bytes: alone });
        }
        if taken.saturating_add(needed) > most_bytes {
            volumes.push(begin..at);
            if volumes.len() >= MAX_VOLUMES {
                return Err(SplitError::TooMany { most: MAX_VOLUMES });
            }
            (begin, taken) = (at, DOCUMENTS_BYTES);
        }
        taken = taken.saturating_add(needed);
    }
    volumes.push(begin..items.len());
    Ok(volumes)
}

impl Form {
    /// What a blob takes.
    fn bytes(self, item: &Blob) -> u64 {
        match self {
            Self::Directory => item.size.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(u64::MAX),
            Self::Tar => entry_bytes(&item.digest, item.size),
        }
    }
}

/// What the documents of a volume take that names nothing, with their blocks, directories and the
/// bases: in bytes.
const DOCUMENTS_BYTES: u64 = 48 * 1024 + END_BYTES;
/// What the documents say of a blob: its digest, its size, and what is around them.
const ITEM_BYTES: u64 = Digest::MAX_CHARS as u64 + 64;
/// What they say of an image beside its name and its type: twice its digest, and what is around.
const IMAGE_BYTES: u64 = 2 * Digest::MAX_CHARS as u64 + 512;
/// What file systems count files in, mostly.
const BLOCK_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use oci::Algorithm;

    use super::*;

    fn item(size: u64) -> Blob {
        Blob { digest: Digest::of(Algorithm::Sha256, &size.to_le_bytes()), size }
    }

    #[test]
    fn items_stay_in_their_order_and_within_the_size() {
        let items: Vec<Blob> = (0..100).map(|at| item(1_000_000 + at)).collect();
        let images: Vec<Named> =
            (0..100).step_by(7).map(|item| Named { item, text_bytes: 200 }).collect();
        for form in [Form::Directory, Form::Tar] {
            let whole = 0..100;
            assert_eq!(split(&items, &images, None, form), Ok(vec![whole]));
            let volumes = split(&items, &images, Some(10_000_000), form).unwrap();
            assert_eq!(volumes.first().map(|it| it.start), Some(0));
            assert_eq!(volumes.last().map(|it| it.end), Some(100));
            assert!(volumes.windows(2).all(|two| two[0].end == two[1].start));
            assert!(volumes.iter().all(|it| (1..=9).contains(&it.len())), "{volumes:?}");
        }
    }

    #[test]
    fn what_fits_nowhere_is_named() {
        let items = [item(1), item(10_000_000)];
        let found = split(&items, &[], Some(10_000_000), Form::Tar);
        let Err(SplitError::TooSmall { digest, needed_bytes }) = found else { panic!("{found:?}") };
        assert_eq!(digest, items[1].digest);
        assert!(split(&items, &[], Some(needed_bytes), Form::Tar).is_ok());
        let found = split(&[item(u64::MAX)], &[], Some(u64::MAX - 1), Form::Directory);
        assert!(matches!(found, Err(SplitError::TooSmall { .. })));
        let many = vec![item(1_000_000); 3000];
        let found = split(&many, &[], Some(1_100_000), Form::Tar);
        assert_eq!(found, Err(SplitError::TooMany { most: MAX_VOLUMES }));
    }
}
