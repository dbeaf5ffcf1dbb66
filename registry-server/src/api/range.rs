//! Which parts of a blob a request asks for: `Range` and `If-Range`, RFC 9110 sections 13 and 14.

use hyper::header::{HeaderMap, HeaderValue, IF_RANGE, RANGE};
use oci::Digest;

/// A part of a blob: its first byte and its length, which is at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteSpan {
    /// The position of the first byte.
    pub start: u64,
    /// The number of bytes.
    pub length: u64,
}

impl ByteSpan {
    /// Where it is in a blob of this size, as `Content-Range` tells it.
    pub(super) fn content_range(self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.start, self.end() - 1)
    }

    /// What is left of it without so many bytes at its beginning; none if that is nothing.
    pub(super) fn without(self, bytes: usize) -> Option<Self> {
        let length = self.length.checked_sub(bytes as u64).filter(|&length| length > 0)?;
        Some(Self { start: self.start + bytes as u64, length })
    }

    /// The position behind its last byte.
    fn end(self) -> u64 {
        self.start + self.length
    }
}

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RangeChoice {
    /// All of it: no range, or a unit or form that is not known.
    Whole,
    /// Some parts, in the order in which they were asked for; what lies beyond the end is left out.
    Parts(Vec<ByteSpan>),
    /// Only parts that do not exist.
    Nothing,
}

/// The memory that the parts take which the headers ask for, with what sorting them takes, in
/// bytes.
pub(super) fn list_bytes(headers: &HeaderMap) -> usize {
    let parts = |value: &HeaderValue| value.as_bytes().split(|byte| *byte == b',').count();
    let most = headers.get_all(RANGE).iter().map(parts).max().unwrap_or_default();
    most * (3 * size_of::<ByteSpan>() + 2 * size_of::<usize>())
}

/// Reads what the headers of a request for a blob of `size` bytes say. Up to `apart` parts are
/// answered one by one.
pub(super) fn wanted(headers: &HeaderMap, digest: &Digest, size: u64, apart: usize) -> RangeChoice {
    let is_other = |known: &[u8]| known != format!("\"{digest}\"").as_bytes();
    if headers.get(IF_RANGE).is_some_and(|known| is_other(known.as_bytes())) {
        return RangeChoice::Whole;
    }
    let mut values = headers.get_all(RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return RangeChoice::Whole };
    let header = value.to_str().ok().and_then(|text| text.trim().split_once('='));
    let (unit, ranges) = header.unwrap_or_default();
    if !unit.trim_end().eq_ignore_ascii_case("bytes") {
        return RangeChoice::Whole;
    }
    let (mut parts, mut is_empty) = (Vec::new(), true);
    // Elements without anything in them count for nothing (section 5.6.1).
    for range in ranges.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        is_empty = false;
        match span(range, size) {
            Ok(span) => parts.extend(span),
            Err(Malformed::Syntax) => return RangeChoice::Whole,
            Err(Malformed::Backwards) => return RangeChoice::Nothing,
        }
    }
    match (is_empty, parts.is_empty()) {
        (true, _) => RangeChoice::Whole,
        (false, true) => RangeChoice::Nothing,
        (false, false) => RangeChoice::Parts(joined(&parts, apart)),
    }
}

/// Joins parts that overlap, and, where there are more than `apart`, those too between which lies
/// less than the head of a part takes: so the reply is never much larger than the blob, and the
/// list never longer than the head of the request.
///
/// No more than that is joined: containers/image takes a reply whose parts are not exactly those
/// that it asked for as broken, and asks for two that are 8 bytes apart (the table of contents of a
/// zstd:chunked layer and the one of its tar, `handle206Response` and `readZstdChunkedManifest`).
fn joined(parts: &[ByteSpan], apart: usize) -> Vec<ByteSpan> {
    // Whether a part that begins there goes with those that end at `end`.
    let joins = |start: u64, end: u64| match parts.len() > apart {
        true => start <= end.saturating_add(PART_HEAD_BYTES),
        false => start < end,
    };
    let mut by_place: Vec<(usize, ByteSpan)> = parts.iter().copied().enumerate().collect();
    by_place.sort_by_key(|(_, part)| part.start);
    let mut joined: Vec<(usize, ByteSpan)> = Vec::with_capacity(by_place.len());
    for (number, part) in by_place {
        match joined.last_mut() {
            Some((first, last)) if joins(part.start, last.end()) => {
                *first = number.min(*first);
                last.length = part.end().max(last.end()) - last.start;
            }
            _ => joined.push((number, part)),
        }
    }
    // As they were asked for, since who reads one after the other relies on it.
    joined.sort_by_key(|(number, _)| *number);
    joined.into_iter().map(|(_, part)| part).collect()
}

enum Malformed {
    Syntax,
    Backwards,
}

fn span(range: &str, size: u64) -> Result<Option<ByteSpan>, Malformed> {
    let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
        // A number too large to count to lies beyond every blob.
        true if !text.is_empty() => Ok(text.parse::<u64>().unwrap_or(u64::MAX)),
        _ => Err(Malformed::Syntax),
    };
    let (first, last) = range.split_once('-').ok_or(Malformed::Syntax)?;
    if first.is_empty() {
        let length = number(last)?.min(size);
        return Ok((length > 0).then(|| ByteSpan { start: size - length, length }));
    }
    let start = number(first)?;
    let end = if last.is_empty() { u64::MAX } else { number(last)? };
    if end < start {
        return Err(Malformed::Backwards);
    }
    let end = end.min(size.saturating_sub(1));
    Ok((start < size).then(|| ByteSpan { start, length: end - start + 1 }))
}

/// The least that the head of a part takes in a reply.
const PART_HEAD_BYTES: u64 = 128;

#[cfg(test)]
mod tests {
    use oci::Algorithm;

    use super::*;

    fn of(headers: &[(hyper::header::HeaderName, &str)], size: u64) -> RangeChoice {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        wanted(&map, &Digest::of(Algorithm::Sha256, b""), size, 3)
    }

    fn range(text: &str, size: u64) -> RangeChoice {
        of(&[(RANGE, text)], size)
    }

    fn parts(spans: &[(u64, u64)]) -> RangeChoice {
        RangeChoice::Parts(
            spans.iter().map(|&(start, length)| ByteSpan { start, length }).collect(),
        )
    }

    #[test]
    fn ranges_follow_rfc_9110() {
        assert_eq!(range("Bytes=0-0", 10), parts(&[(0, 1)]));
        assert_eq!(range("bytes=5-", 10), parts(&[(5, 5)]));
        assert_eq!(range("bytes=-3", 10), parts(&[(7, 3)]));
        assert_eq!(range("bytes=-30", 10), parts(&[(0, 10)]));
        assert_eq!(range("bytes=8-99999999999999999999999", 10), parts(&[(8, 2)]));
        assert_eq!(range("bytes=0-1, 4-5", 10), parts(&[(0, 2), (4, 2)]));
        assert_eq!(range("bytes= ,0-1,,4-5, ", 10), parts(&[(0, 2), (4, 2)]));
        assert_eq!(range("bytes=0-1,20-", 10), parts(&[(0, 2)]));
        for nothing in ["bytes=10-", "bytes=5-0", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(range(nothing, 10), RangeChoice::Nothing, "{nothing}");
        }
        for whole in ["lines=1-2", "bytes=a-b", "bytes=", "bytes=,", "bytes=1", "bytes"] {
            assert_eq!(range(whole, 10), RangeChoice::Whole, "{whole}");
        }
        assert_eq!(range("bytes=0-", 0), RangeChoice::Nothing);
        assert_eq!(of(&[(RANGE, "bytes=0-0"), (RANGE, "bytes=1-1")], 10), RangeChoice::Whole);
    }

    #[test]
    fn what_overlaps_is_joined_and_what_touches_is_not() {
        assert_eq!(range("bytes=0-9,0-9", 10), parts(&[(0, 10)]));
        assert_eq!(range("bytes=6-8,0-4,3-6", 10), parts(&[(0, 9)]));
        assert_eq!(range("bytes=8-9,1-2,2-3", 10), parts(&[(8, 2), (1, 3)]));
        assert_eq!(range("bytes=4-5,2-3,0-1", 10), parts(&[(4, 2), (2, 2), (0, 2)]));
    }

    #[test]
    fn of_very_many_what_costs_more_apart_is_joined_as_well() {
        assert_eq!(range("bytes=0-0,1-1,2-2,3-3", 1000), parts(&[(0, 4)]));
        assert_eq!(range("bytes=500-500,0-0,128-128,3-3", 1000), parts(&[(500, 1), (0, 129)]));
        assert_eq!(range("bytes=0-0,130-130,500-500,900-", 1000), {
            parts(&[(0, 1), (130, 1), (500, 1), (900, 100)])
        });
    }

    #[test]
    fn a_range_of_something_else_is_no_range() {
        let digest = Digest::of(Algorithm::Sha256, b"");
        let known = |known: &str| of(&[(RANGE, "bytes=0-0"), (IF_RANGE, known)], 10);
        assert_eq!(known(&format!("\"{digest}\"")), parts(&[(0, 1)]));
        for other in ["\"x\"", "x", "Sat, 28 Nov 2026 10:00:00 GMT", &format!("W/\"{digest}\"")] {
            assert_eq!(known(other), RangeChoice::Whole, "{other}");
        }
    }
}
