//! What can be wrong with what is read here, and with what is to be written.

use durable::IoError;
use oci::Digest;
use thiserror::Error;

/// Why a text is no document of a bundle that this program understands.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DocumentError {
    /// It has more bytes than any that is written here.
    #[error("registry-bundle.json has more than {most_bytes} bytes")]
    TooLarge {
        /// The most that is read.
        most_bytes: usize,
    },
    /// It would name more images than whoever takes the bundle reads.
    #[error("index.json would have more than {most_bytes} bytes")]
    IndexTooLarge {
        /// The most that is read.
        most_bytes: usize,
    },
    /// It is of a format that came later.
    #[error(
        "registry-bundle.json is of format {0}, and this program knows format 1: a newer registry \
         reads it"
    )]
    Format(u64),
    /// It is not what such a document is.
    #[error("registry-bundle.json does not say what a bundle's does: {0}")]
    Malformed(String),
    /// Its number among the volumes makes no sense.
    #[error("registry-bundle.json says that it is volume {volume} of {volumes}")]
    Volume {
        /// Which it says it is.
        volume: u32,
        /// How many it says there are.
        volumes: u32,
    },
    /// It relies on more receipts than any that is written here.
    #[error("registry-bundle.json relies on more than {most} receipts")]
    Bases {
        /// The most that are read.
        most: usize,
    },
}

/// Why a text is no receipt that this program understands.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReceiptError {
    /// It has more bytes than any that is written here.
    #[error("the receipt has more than {most_bytes} bytes")]
    TooLarge {
        /// The most that is read.
        most_bytes: usize,
    },
    /// It does not begin as one.
    #[error("this is no receipt: `registry receipt FILE` on the other side writes one")]
    NoReceipt,
    /// It is of a format that came later.
    #[error(
        "the receipt is of format {0}, and this program knows format 1: a newer registry reads it"
    )]
    Format(String),
    /// It was changed or cut off since it was written.
    #[error(
        "the receipt is not as it was written: its last line does not fit what is before it; copy \
         it again"
    )]
    Checksum,
    /// A line is none that a receipt has there.
    #[error("line {line} of the receipt is none that a receipt has there")]
    Line {
        /// Which, counted from 1.
        line: usize,
    },
}

/// Why a bundle cannot be split into volumes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SplitError {
    /// A blob and what is said of it do not fit into a volume.
    #[error("{digest} does not fit into a volume: that takes {needed_bytes} bytes")]
    TooSmall {
        /// The blob.
        digest: Digest,
        /// The smallest volume that takes it, in bytes.
        needed_bytes: u64,
    },
    /// There would be more volumes than anybody keeps apart.
    #[error("there would be more than {most} volumes")]
    TooMany {
        /// The most.
        most: usize,
    },
}

/// What can be wrong with a blob that is to be copied.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BlobFault {
    /// It is not there.
    #[error("it is gone")]
    Gone,
    /// Its bytes are not those that its digest names.
    #[error("its bytes are not what they were")]
    Wrong,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
}

/// Why a volume is not written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// What it is to hold is not what it should be.
    #[error("{digest}: {fault}")]
    Blob {
        /// The blob.
        digest: Digest,
        /// What is wrong with it.
        fault: BlobFault,
    },
    /// Where it is to be written takes it not.
    #[error(transparent)]
    Io(#[from] IoError),
}
