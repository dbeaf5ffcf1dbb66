//! Packing tars by hand, also such as no tool packs.

use std::ops::Range;

use oci::{Algorithm, Digest};

/// A tar that is being packed.
#[derive(Clone, Default)]
pub(crate) struct Packed(Vec<u8>);

impl Packed {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    pub(crate) fn file(self, path: &str, content: &[u8]) -> Self {
        self.entry(path, b'0', "", content.len() as u64, content)
    }

    /// Adds a blob of a layout.
    pub(crate) fn blob(self, content: &[u8]) -> Self {
        self.file(&blob_path(content), content)
    }

    /// Adds a link: `1` for a hard one, `2` for a symbolic one.
    pub(crate) fn link(self, path: &str, flag: u8, target: &str) -> Self {
        self.entry(path, flag, target, 0, b"")
    }

    /// Adds the records of a PAX header, each with its length, for what comes next.
    pub(crate) fn pax(self, records: &[(&str, &str)]) -> Self {
        self.records(b'x', records)
    }

    /// Adds a PAX header, of either kind.
    pub(crate) fn records(self, flag: u8, records: &[(&str, &str)]) -> Self {
        let content: String = records.iter().map(|(key, value)| record(key, value)).collect();
        self.entry("PaxHeaders/x", flag, "", content.len() as u64, content.as_bytes())
    }

    /// Adds any entry, whatever its size is said to be.
    pub(crate) fn entry(
        mut self,
        path: &str,
        flag: u8,
        link: &str,
        size: u64,
        content: &[u8],
    ) -> Self {
        let mut header = [0; 512];
        let field = |header: &mut [u8; 512], at: usize, value: &[u8]| {
            header[at..at + value.len()].copy_from_slice(value);
        };
        field(&mut header, 0, path.as_bytes());
        field(&mut header, 100, b"0000644\0");
        if size > 0o777_7777_7777 {
            field(&mut header, 124, &[0x80, 0, 0, 0]);
            field(&mut header, 128, &size.to_be_bytes());
        } else {
            field(&mut header, 124, format!("{size:011o}\0").as_bytes());
        }
        header[156] = flag;
        field(&mut header, 157, link.as_bytes());
        field(&mut header, 257, b"ustar\x0000");
        self.0.extend_from_slice(&with_sum(header));
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Adds bytes as they are.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The bytes so far, without an end.
    pub(crate) fn open_end(self) -> Vec<u8> {
        self.0
    }

    /// The bytes, with the two blocks that end an archive.
    pub(crate) fn end(self) -> Vec<u8> {
        self.raw(&[0; 1024]).0
    }
}

/// The header with its sum.
pub(crate) fn with_sum(mut header: [u8; 512]) -> [u8; 512] {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// Where a layout has a blob.
pub(crate) fn blob_path(content: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(Algorithm::Sha256, content).hex())
}

/// The entries of a tar of a tool: the path of each, and all its bytes with the headers before it.
pub(crate) fn entries(tar: &[u8]) -> Vec<(String, Range<usize>)> {
    let (mut entries, mut at, mut begun, mut long) = (Vec::new(), 0, 0, None);
    while let Some(header) = tar.get(at..at + 512).filter(|header| header[0] != 0) {
        let text = |field: &[u8]| {
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            String::from_utf8(field[..end].to_vec()).unwrap()
        };
        let size = u64::from_str_radix(text(&header[124..135]).trim(), 8).unwrap();
        let content = at + 512..at + 512 + usize::try_from(size).unwrap();
        let end = content.end.next_multiple_of(512);
        if header[156] == b'x' {
            let records = text(&tar[content]);
            let path = records.lines().find_map(|line| line.split_once(" path="));
            long = path.map(|(_, path)| path.to_owned());
        } else if header[156] == b'L' {
            long = Some(text(&tar[content]));
        } else {
            let is_posix = &header[257..263] == b"ustar\0";
            let prefix = if is_posix { text(&header[345..500]) } else { String::new() };
            let name = text(&header[..100]);
            let short = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            entries.push((long.take().unwrap_or(short), begun..end));
            begun = end;
        }
        at = end;
    }
    entries
}

fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let length = (rest.len()..).find(|length| length.to_string().len() + rest.len() == *length);
    format!("{}{rest}", length.unwrap())
}
