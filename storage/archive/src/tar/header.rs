//! The header of an entry: one block, its fields, and the sum that says it is whole.

use super::{BLOCK_BYTES, TarError};

/// A header whose sum is right.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    /// The size as it stands here, in bytes.
    pub(super) size: u64,
    /// The type of the entry.
    pub(super) flag: u8,
}

impl Header {
    /// Reads a block at this place of the archive.
    ///
    /// # Errors
    /// [`TarError::NoHeader`], [`TarError::Checksum`], [`TarError::Number`].
    pub(super) fn read(block: &[u8; BLOCK_BYTES], at: u64) -> Result<Self, TarError> {
        // "ustar" and a NUL by POSIX, "ustar" and two spaces from GNU tar.
        let is_posix = match &block[MAGIC..MAGIC + 8] {
            b"ustar  \0" => false,
            magic if magic.starts_with(b"ustar\0") => true,
            _ => return Err(TarError::NoHeader { at }),
        };
        let said = number(&block[SUM..SUM + 8]);
        let said = said.ok_or(TarError::Number { at, field: "sum" })?;
        if said != sum(block) {
            return Err(TarError::Checksum { at });
        }
        let size = number(&block[SIZE..SIZE + 12]);
        let size = size.filter(|&size| size <= MOST_BYTES);
        let mut path = Vec::new();
        if is_posix {
            let prefix = text(&block[PREFIX..PREFIX + 155]);
            path.extend_from_slice(prefix);
            path.extend((!prefix.is_empty()).then_some(b'/'));
        }
        path.extend_from_slice(text(&block[..100]));
        Ok(Self {
            path,
            link: text(&block[LINK..LINK + 100]).to_owned(),
            size: size.ok_or(TarError::Number { at, field: "size" })?,
            flag: block[FLAG],
        })
    }
}

/// The sum of a header, in which its own field counts as spaces.
fn sum(block: &[u8; BLOCK_BYTES]) -> u64 {
    let all = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    all(&block[..SUM]) + 8 * u64::from(b' ') + all(&block[SUM + 8..])
}

/// A field up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A number: octal digits, or the bits themselves behind a first byte of 0x80, as GNU tar has them
/// for what is larger.
fn number(field: &[u8]) -> Option<u64> {
    if let Some((0x80, rest)) = field.split_first() {
        return rest
            .iter()
            .try_fold(0_u64, |value, &byte| value.checked_mul(256)?.checked_add(u64::from(byte)));
    }
    let is_end = |byte: &u8| matches!(byte, 0 | b' ');
    let start = field.iter().position(|byte| *byte != b' ')?;
    let rest = &field[start..];
    let (digits, end) = rest.split_at(rest.iter().position(is_end).unwrap_or(rest.len()));
    // What stands behind the end would be another number to another reader.
    if !end.iter().all(is_end) {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// The largest size: what a file can have at most.
pub(super) const MOST_BYTES: u64 = i64::MAX.cast_unsigned();
/// The largest size that fits as octal digits: one byte less than 8 GiB.
pub(super) const MOST_OCTAL_BYTES: u64 = 0o777_7777_7777;

/// Where the fields begin, by POSIX (pax, "ustar Interchange Format"), in bytes.
const SIZE: usize = 124;
const SUM: usize = 148;
const FLAG: usize = 156;
const LINK: usize = 157;
const MAGIC: usize = 257;
const PREFIX: usize = 345;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_bits() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   1 \0\0\0", Some(1)),
            (b"77777777777\0", Some(MOST_OCTAL_BYTES)),
            (b"\x80\0\0\0\0\0\0\x02\0\0\0\0", Some(2 << 32)),
            (b"\0\0\0\0", Some(0)),
            (b"12345678", None),
            (b"00001\x002", None),
            (b"-0000001", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"    ", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }
}
