//! What can be wrong with a tar.

use std::io;

use thiserror::Error;

use crate::path::PathFault;

/// Why a tar is not read, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TarError {
    /// The bytes are no tar.
    #[error("byte {at}: what stands there is no header of a tar, or it was damaged: copy it again")]
    NoHeader {
        /// Where the header would be, in bytes from the beginning.
        at: u64,
    },
    /// The archive ends before its end.
    #[error("the archive ends at byte {at}, in its middle: it was not written or copied whole")]
    Truncated {
        /// The last place that is known, in bytes from the beginning.
        at: u64,
    },
    /// The bytes cannot be read.
    #[error("byte {at}: cannot read on: {message}")]
    Read {
        /// The place, in bytes from the beginning.
        at: u64,
        /// The kind of failure.
        kind: io::ErrorKind,
        /// The system's own words, or the decoder's.
        message: String,
    },
    /// The sum of a header is another one.
    #[error("byte {at}: a header is damaged, its sum is wrong: copy the archive again")]
    Checksum {
        /// The header's place, in bytes from the beginning.
        at: u64,
    },
    /// A number in a header is none.
    #[error("byte {at}: the {field} in a header is no number")]
    Number {
        /// The header's place, in bytes from the beginning.
        at: u64,
        /// The field.
        field: &'static str,
    },
    /// A name that leads out of the archive.
    #[error("the archive has an entry {path:?}, and {fault}: no tool that packs images does that")]
    Path {
        /// The name.
        path: String,
        /// What is wrong with it.
        fault: PathFault,
    },
    /// An entry with two sizes, of which readers take different ones.
    #[error(
        "the archive says two sizes of {path:?}, {header} and {extended} bytes, and readers take \
         different ones: pack it again"
    )]
    TwoSizes {
        /// The entry.
        path: String,
        /// The size in the header, in bytes.
        header: u64,
        /// The size in the extended header, in bytes.
        extended: u64,
    },
    /// An entry with two names, or two targets, of which readers take different ones.
    #[error("byte {at}: an entry has two names, and readers take different ones: pack it again")]
    TwoNames {
        /// The header's place, in bytes from the beginning.
        at: u64,
    },
    /// A link or a directory that says it has content, which some readers skip and others do not.
    #[error("the entry {path:?} is no file and has a size: pack the archive again")]
    SizeOfNoFile {
        /// The entry.
        path: String,
    },
    /// A file with holes that are not in the archive.
    #[error("{path:?} is packed with holes (sparse): pack the archive again without --sparse")]
    Sparse {
        /// The entry.
        path: String,
    },
    /// An entry of a kind that is read in different ways.
    #[error("{path:?} is an entry of the unknown type {flag}: pack the archive again")]
    Type {
        /// The entry.
        path: String,
        /// The type, as a byte.
        flag: u8,
    },
    /// An extended header that cannot be read, or belongs to nothing.
    #[error("byte {at}: an extended header is damaged: copy the archive again")]
    ExtendedHeader {
        /// The header's place, in bytes from the beginning.
        at: u64,
    },
    /// A header for all entries that changes what they are; many readers pass over it.
    #[error("byte {at}: one header sets {key:?} for all entries, which few readers heed")]
    Global {
        /// The header's place, in bytes from the beginning.
        at: u64,
        /// What it sets.
        key: String,
    },
    /// An extended header that is longer than names are.
    #[error("byte {at}: an extended header has more than {limit} bytes")]
    LongHeader {
        /// The header's place, in bytes from the beginning.
        at: u64,
        /// The bound, in bytes.
        limit: u64,
    },
    /// A name that is longer than names are.
    #[error("byte {at}: an entry has a name of more than {limit} bytes")]
    LongName {
        /// Where its content begins, in bytes from the beginning.
        at: u64,
        /// The bound, in bytes.
        limit: usize,
    },
    /// Something stands behind the mark of the end.
    #[error("byte {at}: the archive goes on behind its end, which readers take differently")]
    BehindTheEnd {
        /// The place, in bytes from the beginning.
        at: u64,
    },
    /// More follows the mark of the end than fills up a record.
    #[error("byte {at}: the archive ends, and goes on behind that")]
    GoesOn {
        /// The place, in bytes from the beginning.
        at: u64,
    },
    /// More entries than any mirror has.
    #[error("the archive has more than {limit} entries: divide it")]
    TooManyEntries {
        /// The bound.
        limit: u64,
    },
}

impl TarError {
    /// What a failure to read at this place means.
    pub(crate) fn of_reading(error: &io::Error, at: u64) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated { at },
            kind => Self::Read { at, kind, message: error.to_string() },
        }
    }
}
