//! A tree of files out of a text, which a fuzzer changes more easily than a tar: each line that
//! begins with `=` is the path of a file, and what follows it up to the next one is the content.
//! `=PATH -> TARGET` is a link.
//!
//! `{3}` stands for the SHA-256 sum of the content of the fourth file in hexadecimal, `{3.}` the
//! first two characters, and `{3:}` for its length in bytes. A path may name its own content, and a
//! content those before it: so manifests have the digests of what they name, whatever changes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use oci::{Algorithm, Digest};

use super::both_ways;

/// Reads a tree as a tar, in both ways, and as a directory. How many images that comes to.
pub fn read(text: &[u8]) -> usize {
    let entries = entries(text);
    let place = tempfile::tempdir().expect("a directory");
    let directory = place.path().join("some");
    fs::create_dir(&directory).expect("a directory");
    entries.iter().for_each(|entry| lay(&directory, entry));
    both_ways::read(&packed(&entries)) + both_ways::read_directory(&directory)
}

struct Entry {
    path: Vec<u8>,
    kind: Kind,
}

enum Kind {
    File(Vec<u8>),
    Link(Vec<u8>),
}

fn entries(text: &[u8]) -> Vec<Entry> {
    let (mut entries, mut known) = (Vec::new(), Vec::new());
    let mut rest = text.strip_prefix(b"=").unwrap_or(text);
    while !rest.is_empty() && entries.len() < MOST_ENTRIES {
        let (entry, behind) = split(rest, b"\n=").unwrap_or((rest, b""));
        rest = behind;
        let (line, content) = split(entry, b"\n").unwrap_or((entry, b""));
        if let Some((path, target)) = split(line, b" -> ") {
            let (path, target) = (expanded(path, &known), expanded(target, &known));
            entries.push(Entry { path, kind: Kind::Link(target) });
            continue;
        }
        let content = expanded(content, &known);
        let digest = Digest::of(Algorithm::Sha256, &content);
        known.push((digest.hex().to_owned(), content.len()));
        entries.push(Entry { path: expanded(line, &known), kind: Kind::File(content) });
    }
    entries
}

fn split<'a>(bytes: &'a [u8], by: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(by.len()).position(|some| some == by)?;
    Some((&bytes[..at], &bytes[at + by.len()..]))
}

/// A text in which sums and lengths of files stand.
fn expanded(text: &[u8], known: &[(String, usize)]) -> Vec<u8> {
    let (mut whole, mut rest) = (Vec::new(), text);
    while let Some((&first, behind)) = rest.split_first() {
        let named = split(rest, b"}").filter(|_| first == b'{');
        match named.and_then(|(name, after)| Some((value(&name[1..], known)?, after))) {
            Some((value, after)) => {
                whole.extend(value.into_bytes());
                rest = after;
            }
            None => {
                whole.push(first);
                rest = behind;
            }
        }
    }
    whole
}

/// What stands for a name in braces.
fn value(name: &[u8], known: &[(String, usize)]) -> Option<String> {
    let (&last, all_but_last) = name.split_last()?;
    let number = if last.is_ascii_digit() { name } else { all_but_last };
    let number: usize = str::from_utf8(number).ok()?.parse().ok()?;
    let (hex, length) = known.get(number)?;
    match last {
        b':' => Some(length.to_string()),
        b'.' => Some(hex[..2].to_owned()),
        b'0'..=b'9' => Some(hex.clone()),
        _ => None,
    }
}

/// The tree as a tar with GNU's long names.
fn packed(entries: &[Entry]) -> Vec<u8> {
    let mut tar = Vec::new();
    for Entry { path, kind } in entries {
        let (flag, link, content) = match kind {
            Kind::File(content) => (b'0', &b""[..], &content[..]),
            Kind::Link(target) => (b'2', &target[..], &b""[..]),
        };
        for (flag, name) in [(b'L', path), (b'K', &link.to_vec())] {
            if name.len() > SHORT_BYTES {
                add(&mut tar, b"long", flag, b"", &[&name[..], b"\0"].concat());
            }
        }
        add(&mut tar, path, flag, link, content);
    }
    tar.extend([0; 1024]);
    tar
}

fn add(tar: &mut Vec<u8>, path: &[u8], flag: u8, link: &[u8], content: &[u8]) {
    let mut header = [0; 512];
    let short = |name: &[u8]| name[..name.len().min(SHORT_BYTES)].to_vec();
    let size = format!("{:011o}\0", content.len());
    for (at, field) in [
        (0, &short(path)[..]),
        (100, b"0000644\0"),
        (124, size.as_bytes()),
        (148, b"        "),
        (156, &[flag]),
        (157, &short(link)),
        (257, b"ustar\x0000"),
    ] {
        header[at..at + field.len()].copy_from_slice(field);
    }
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend(header);
    tar.extend(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

/// Lays one entry into a directory, unless it cannot lie inside.
fn lay(directory: &Path, entry: &Entry) {
    let Ok(path) = str::from_utf8(&entry.path) else { return };
    let is_inside = path.split('/').all(|part| !["", ".", ".."].contains(&part));
    if !is_inside || path.contains('\0') || path.len() > MOST_PATH_BYTES {
        return;
    }
    let path = directory.join(path);
    // A link may lie where a directory should be.
    let parents = path.ancestors().skip(1).take_while(|it| it.starts_with(directory));
    if parents.clone().any(Path::is_symlink) || path.is_symlink() {
        return;
    }
    let Some(parent) = path.parent() else { return };
    // One path may be a file to one entry and a directory to another.
    let _ = fs::create_dir_all(parent).and_then(|()| match &entry.kind {
        Kind::File(content) => fs::write(&path, content),
        Kind::Link(target) => symlink(String::from_utf8_lossy(target).as_ref(), &path),
    });
}

/// The most entries of a tree.
const MOST_ENTRIES: usize = 64;
/// The longest name that a header has room for.
const SHORT_BYTES: usize = 100;
/// The longest path that is laid into a directory.
const MOST_PATH_BYTES: usize = 1000;
