//! What extended headers say of the entry behind them: PAX records, and GNU's long names.

use std::borrow::Cow;

use super::header::{Header, MOST_BYTES, MOST_OCTAL_BYTES};
use super::{SAID_BYTES, TarError};
use crate::path::EntryPath;

/// What was said of the next entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Extended {
    has_pax: bool,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    is_sparse: bool,
}

impl Extended {
    /// Adds the records of a PAX header.
    ///
    /// # Errors
    /// [`TarError::ExtendedHeader`], [`TarError::Number`], [`TarError::TwoNames`].
    pub(super) fn add_pax(&mut self, content: &[u8], at: u64) -> Result<(), TarError> {
        if std::mem::replace(&mut self.has_pax, true) {
            return Err(TarError::ExtendedHeader { at });
        }
        for record in Records(content) {
            let (key, value) = record.ok_or(TarError::ExtendedHeader { at })?;
            match key {
                b"path" => name(&mut self.path, value, at)?,
                b"linkpath" => name(&mut self.link, value, at)?,
                b"size" => {
                    let size = decimal(value).ok_or(TarError::Number { at, field: "size" })?;
                    if self.size.replace(size).is_some_and(|other| other != size) {
                        return Err(TarError::ExtendedHeader { at });
                    }
                }
                key => self.is_sparse |= is_sparse_key(key),
            }
        }
        Ok(())
    }

    /// Adds a long name of GNU's.
    ///
    /// # Errors
    /// [`TarError::TwoNames`].
    pub(super) fn add_long_name(&mut self, content: &[u8], at: u64) -> Result<(), TarError> {
        name(&mut self.path, until_nul(content), at)
    }

    /// Adds a long target of GNU's.
    ///
    /// # Errors
    /// [`TarError::TwoNames`].
    pub(super) fn add_long_link(&mut self, content: &[u8], at: u64) -> Result<(), TarError> {
        name(&mut self.link, until_nul(content), at)
    }

    /// The entry's name.
    pub(super) fn path<'a>(&'a self, header: &'a Header) -> Cow<'a, [u8]> {
        Cow::Borrowed(self.path.as_deref().unwrap_or(&header.path))
    }

    /// The entry's target.
    pub(super) fn link<'a>(&'a self, header: &'a Header) -> Cow<'a, [u8]> {
        Cow::Borrowed(self.link.as_deref().unwrap_or(&header.link))
    }

    /// The entry's size. A PAX header may say another one than the header only where the header
    /// has no room for it; writers then put nothing there, or as much as fits.
    ///
    /// # Errors
    /// [`TarError::TwoSizes`].
    pub(super) fn size(&self, header: &Header, path: &EntryPath) -> Result<u64, TarError> {
        let Some(size) = self.size else { return Ok(header.size) };
        let has_no_room = size > MOST_OCTAL_BYTES && [0, MOST_OCTAL_BYTES].contains(&header.size);
        match size == header.size || has_no_room {
            true => Ok(size),
            false => Err(TarError::TwoSizes {
                path: path.as_str().to_owned(),
                header: header.size,
                extended: size,
            }),
        }
    }

    /// Whether the content has holes that are not in the archive.
    pub(super) fn is_sparse(&self) -> bool {
        self.is_sparse
    }
}

/// Looks at a header that is for all entries: most say when it was packed, or which commit it is.
///
/// # Errors
/// [`TarError::Global`], [`TarError::ExtendedHeader`].
pub(super) fn check_global(content: &[u8], at: u64) -> Result<(), TarError> {
    for record in Records(content) {
        let (key, _) = record.ok_or(TarError::ExtendedHeader { at })?;
        if matches!(key, b"path" | b"linkpath" | b"size") || is_sparse_key(key) {
            let key = &key[..key.len().min(SAID_BYTES)];
            return Err(TarError::Global { at, key: String::from_utf8_lossy(key).into_owned() });
        }
    }
    Ok(())
}

/// The records of a PAX header, `LENGTH KEY=VALUE` and the end of a line each; none in place of one
/// that is not whole.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Option<(&'a [u8], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let content = std::mem::take(&mut self.0);
        let record = split_record(content);
        self.0 = record.map_or(&[][..], |(_, rest)| rest);
        Some(record.map(|(record, _)| record))
    }
}

type Record<'a> = (&'a [u8], &'a [u8]);

fn split_record(content: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = content.iter().position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&content[..space])?).ok()?;
    let (record, rest) = content.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    Some(((&record[..equals], &record[equals + 1..]), rest))
}

/// Keeps a name, which may come once; twice if it is the same.
fn name(kept: &mut Option<Vec<u8>>, value: &[u8], at: u64) -> Result<(), TarError> {
    match kept {
        Some(other) if other != value => Err(TarError::TwoNames { at }),
        _ if value.is_empty() => Err(TarError::ExtendedHeader { at }),
        _ => {
            *kept = Some(value.to_owned());
            Ok(())
        }
    }
}

fn is_sparse_key(key: &[u8]) -> bool {
    key.starts_with(b"GNU.sparse.") || key == b"SCHILY.realsize"
}

fn until_nul(content: &[u8]) -> &[u8] {
    content.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let value = digits.iter().try_fold(0_u64, |value, &byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    });
    value.filter(|&value| !digits.is_empty() && value <= MOST_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(size: u64) -> Header {
        Header { path: b"a".to_vec(), link: Vec::new(), size, flag: b'0' }
    }

    #[test]
    fn records_say_what_a_header_has_no_room_for() {
        let mut extended = Extended::default();
        extended.add_pax(b"12 path=a/b\n16 linkpath=c=d\n20 size=10000000000\n", 0).unwrap();
        assert_eq!(&*extended.path(&header(0)), b"a/b");
        assert_eq!(&*extended.link(&header(0)), b"c=d");
        let path = EntryPath::parse(b"a/b").unwrap();
        for kept in [0, MOST_OCTAL_BYTES, 10_000_000_000] {
            assert_eq!(extended.size(&header(kept), &path), Ok(10_000_000_000));
        }
        let two = TarError::TwoSizes { path: "a/b".into(), header: 512, extended: 10_000_000_000 };
        assert_eq!(extended.size(&header(512), &path), Err(two));
        let mut small = Extended::default();
        small.add_pax(b"8 size=9\n", 0).unwrap_err();
        small = Extended::default();
        small.add_pax(b"9 size=9\n", 0).unwrap();
        let two = TarError::TwoSizes { path: "a/b".into(), header: 0, extended: 9 };
        assert_eq!(small.size(&header(0), &path), Err(two));
    }

    #[test]
    fn records_that_are_not_whole_are_refused() {
        for content in [
            "x",
            "5",
            "99 path=a\n",
            "0 \n",
            "3 a\n",
            "9 path=ab",
            "8 path=\n",
            "9999999999999 a=b\n",
        ] {
            let added = Extended::default().add_pax(content.as_bytes(), 7);
            assert_eq!(added, Err(TarError::ExtendedHeader { at: 7 }), "{content}");
        }
        let twice = Extended::default().add_pax(b"10 path=a\n10 path=b\n", 7);
        assert_eq!(twice, Err(TarError::TwoNames { at: 7 }));
        let mut sparse = Extended::default();
        sparse.add_pax(b"22 GNU.sparse.major=1\n", 0).unwrap();
        assert!(sparse.is_sparse());
        assert_eq!(check_global(b"13 comment=a\n", 0), Ok(()));
        let global = TarError::Global { at: 3, key: "size".into() };
        assert_eq!(check_global(b"9 size=1\n", 3), Err(global));
    }
}
