//! Why a source is not opened, or not read.

use std::path::PathBuf;

use durable::{IoError, ReadError};
use oci::Digest;
use thiserror::Error;

use crate::role;
use crate::tar::TarError;

/// Why a path is no source.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenSourceError {
    /// Nothing is there.
    #[error("{} is not there", .0.display())]
    NotThere(PathBuf),
    /// It is neither a file nor a directory, or cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It is packed in a way that is not read.
    #[error(
        "{} is compressed with {format}, which is not read: give it through a pipe, as in \
         `{format} -dc FILE | registry import -`", .path.display()
    )]
    Compressed {
        /// The file.
        path: PathBuf,
        /// The program that unpacks it.
        format: &'static str,
    },
}

impl From<IoError> for OpenSourceError {
    fn from(error: IoError) -> Self {
        Self::Read(error.into())
    }
}

/// Why a source is refused as a whole: nothing of it counts.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScanError {
    /// It is a tar that cannot be read, or that two readers would read differently.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A file or a directory cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What comes through the pipe is packed in a way that is not read.
    #[error("the stream is compressed with {0}, which is not read: put `{0} -dc` in front")]
    Compressed(&'static str),
    /// An archive of `docker save` without an index, whose images have no digests.
    #[error(
        "this is an archive of `docker save`, whose images have no digests of their own: make a \
         layout of it with `skopeo copy docker-archive:FILE oci-archive:OTHER` and import that"
    )]
    DockerArchive,
    /// Nothing of it is known.
    #[error(
        "nothing here is known: neither an OCI layout, nor an archive of oc-mirror v2, nor \
         docker/registry/v2, nor what oc mirrors into a directory, nor the data directory of a \
         Quay; of a directory that holds archives, name each of them"
    )]
    NothingKnown,
    /// The store of a Quay, without what its database calls its images.
    #[error(
        "this is the store of a Quay, and what its images are called stands in its database, which \
         is read where it lies: stop that Quay, and give the directory in which {} and {} are, \
         unpacked",
        role::QUAY_DATABASE,
        role::QUAY_STORAGE
    )]
    NamesInDatabase,
    /// Two things of one name, of which readers take different ones.
    #[error("{path} is there twice, and not the same: pack the archive again")]
    Twice {
        /// The path.
        path: String,
    },
    /// One blob in two sizes.
    #[error("{digest} has {first} bytes in one place and {second} in another: one is damaged")]
    TwoSizes {
        /// The blob.
        digest: Digest,
        /// Its size in the first place, in bytes.
        first: u64,
        /// Its size in the second place, in bytes.
        second: u64,
    },
    /// More than any mirror has.
    #[error("it has more than {limit} {what}: divide it")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// A stream with more bytes of what belongs to no image than any tool writes.
    #[error("it has more than {limit_bytes} bytes of what belongs to no image: unpack it first")]
    TooMuchElse {
        /// The bound, in bytes.
        limit_bytes: u64,
    },
    /// Directories in each other, deeper than any format has them.
    #[error(
        "{} lies more than {limit} directories deep: give the one that is meant", .path.display()
    )]
    TooDeep {
        /// The directory.
        path: PathBuf,
        /// The bound.
        limit: usize,
    },
}

impl From<IoError> for ScanError {
    fn from(error: IoError) -> Self {
        Self::Read(error.into())
    }
}
