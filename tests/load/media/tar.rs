//! Writing an archive as Go does: ustar headers, files alone, no directories.

use std::io::{self, Write};

/// Writes the header of a file. Fails for a path that a header has no room for.
pub(super) fn write_header(out: &mut impl Write, path: &str, bytes: u64) -> io::Result<()> {
    let (prefix, name) = split(path).ok_or_else(|| io::Error::other(format!("{path} is long")))?;
    let mut block = [0; BLOCK_BYTES];
    let mut put =
        |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{bytes:011o}"));
    put(136, "00000000000");
    // The sum is over the header with spaces in its place.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    put(345, prefix);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.write_all(&block)
}

/// Fills up the last block of a file of so many bytes.
pub(super) fn fill_up(out: &mut impl Write, bytes: u64) -> io::Result<()> {
    let rest = (bytes % BLOCK_BYTES as u64) as usize;
    let missing = if rest == 0 { 0 } else { BLOCK_BYTES - rest };
    out.write_all(&[0; BLOCK_BYTES][..missing])
}

/// Writes the end of the archive.
pub(super) fn write_end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK_BYTES])
}

/// Parts a path at a slash, so that both parts fit into a header.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= NAME_BYTES {
        return Some(("", path));
    }
    let mut slashes = path.match_indices('/').map(|(at, _)| at);
    let at = slashes.find(|at| path.len() - at - 1 <= NAME_BYTES)?;
    (at <= PREFIX_BYTES).then(|| (&path[..at], &path[at + 1..]))
}

const BLOCK_BYTES: usize = 512;
const NAME_BYTES: usize = 100;
const PREFIX_BYTES: usize = 155;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_parted_where_both_parts_fit() {
        assert_eq!(split("a/b"), Some(("", "a/b")));
        let (long, longer) = ("d".repeat(90), "e".repeat(90));
        let path = format!("{long}/{longer}/name");
        assert_eq!(split(&path), Some((long.as_str(), format!("{longer}/name").as_str())));
        assert_eq!(split(&"x".repeat(101)), None);
        let mut header = Vec::new();
        write_header(&mut header, "a/b", 0o17).unwrap();
        assert_eq!(header.len(), BLOCK_BYTES);
        assert_eq!(&header[124..136], b"00000000017\0");
    }
}
