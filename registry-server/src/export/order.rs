//! What is to be exported, and where to.

use std::fs::File;
use std::path::PathBuf;

use oci::ImagePattern;

/// What is to be exported, and where to.
pub(crate) struct ExportOrder {
    /// The data directory.
    pub(crate) data: PathBuf,
    /// Which images; all, if there is no pattern.
    pub(crate) patterns: Vec<ImagePattern>,
    /// Where to.
    pub(crate) to: To,
    /// The largest volume, in bytes, if there may be several.
    pub(crate) volume_bytes: Option<u64>,
    /// The bytes of a receipt: what it names is left out.
    pub(crate) since: Option<Vec<u8>>,
}

/// Where an export is written.
pub(crate) enum To {
    /// A directory, and there as layouts.
    Directory(PathBuf),
    /// A directory, and there as archives.
    Archives(PathBuf),
    /// A pipe, as an archive.
    Pipe(File),
}
