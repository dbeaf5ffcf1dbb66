//! What is wrong with a source of which the rest counts.

use oci::{Digest, RepoName, Tag};
use thiserror::Error;

use crate::tar::TarError;

/// What is wrong with a source that could be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Damage {
    /// It ends in its middle.
    #[error("it ends at byte {at}, in its middle: it was not written or copied whole")]
    Truncated {
        /// The last place that is known, in bytes from the beginning.
        at: u64,
    },
    /// It cannot be read any further.
    #[error("it cannot be read from byte {at} on: {fault}")]
    Unreadable {
        /// The place, in bytes from the beginning.
        at: u64,
        /// What the system or the decoder says.
        fault: String,
    },
    /// A header in its middle is damaged. Where the next one is, nothing says.
    #[error("{0}; nothing behind it counts")]
    Header(TarError),
    /// It has an end, and something behind that.
    #[error(
        "it says at byte {at} that it ends, and goes on, which does not count: it was not copied \
         whole, or another archive was put behind it, which is to be given by itself"
    )]
    GoesOn {
        /// The place, in bytes from the beginning.
        at: u64,
    },
    /// Two files of a directory that should be the same. The longer one counts.
    #[error(
        "{path} has {size} bytes, and another file of the same digest {other}: the shorter one was \
         not copied whole"
    )]
    Size {
        /// The path of the second one.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The size of the first one, in bytes.
        other: u64,
    },
    /// A document, a blob or a directory cannot be read, or says nonsense.
    #[error("{path} cannot be read: {fault}")]
    Document {
        /// Its path.
        path: String,
        /// What is wrong with it.
        fault: String,
    },
    /// A link leads out, or to something else than it is called.
    #[error("the link {path} leads to {target:?}, where nothing of that name can lie")]
    Link {
        /// Its path.
        path: String,
        /// Where it leads to.
        target: String,
    },
    /// An image has a name that none can have.
    #[error(
        "{digest} is called {name:?}, which is no name of an image: copy it under another \
         one, with skopeo for example"
    )]
    Name {
        /// The name.
        name: String,
        /// The image.
        digest: Digest,
    },
    /// A layout without its index.
    #[error("{layout:?} has blobs of a layout and no index.json, so nothing says which images")]
    NoIndex {
        /// The directory of the layout.
        layout: String,
    },
    /// A tag names a revision that was deleted.
    #[error("{repository}:{tag} names {digest}, which that registry had deleted")]
    DeletedRevision {
        /// The repository.
        repository: RepoName,
        /// The tag.
        tag: Tag,
        /// The revision.
        digest: Digest,
    },
    /// An archive of oc-mirror without what it writes last.
    #[error(
        "oc-mirror did not finish it, or its last segment is missing: give all segments, or run \
         oc-mirror again and look at how it ends"
    )]
    Unfinished,
    /// A tag as oc-mirror gives it to a filtered catalog, without the file that says of which.
    #[error(
        "{repository}:{tag} looks like a catalog that oc-mirror filtered, and what says which tag \
         it gets is not here: give all segments of the archive"
    )]
    FilterAlone {
        /// The repository.
        repository: RepoName,
        /// The tag.
        tag: Tag,
    },
}
