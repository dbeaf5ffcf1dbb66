//! The formats in which images lie on media: OCI layouts, archives of oc-mirror, the tree of
//! docker-registry, what `oc` mirrors into directories, and the store of a Quay.
//!
//! Owned here: what is recognised, by content and never by name; which images a source names, and
//! what it holds of them; where the bytes of a blob lie; and, in [`bundle`], what this registry
//! writes itself. Refused: stores, HTTP, SQL, and unpacking anything. Every source may be made by
//! somebody who means harm: sizes and names are checked, what is kept in memory is bounded, and
//! what two readers could take differently is refused.
//!
//! [`open`] opens a path. [`Source::scan`] reads headers and documents of each source into one
//! [`Inventory`], and [`Inventory::contents`] says what they come to. A pipe or a compressed file
//! is a [`Stream`] instead: its blobs come in the order of the file. Hashed is only what is read as
//! a manifest; whoever takes blobs hashes them. A Quay has its names in a database, which is read
//! elsewhere: [`Source::database`] says where, and [`Source::name`] takes them.

pub mod bundle;
mod contents;
mod damage;
mod documents;
mod error;
mod findings;
mod graph;
mod inventory;
mod names;
mod packing;
mod path;
mod role;
mod source;
mod stream;
mod tar;

pub use contents::{
    AbsentRevision, AmbiguousName, Bundle, Contents, Format, ManifestFault, Missing, NamedImage,
    OcMirror, Parts, SourceReport, UnusableManifest,
};
pub use damage::Damage;
pub use error::{OpenSourceError, ScanError};
pub use inventory::Inventory;
pub use path::PathFault;
pub use source::{BlobBytes, Opened, Source, open};
pub use stream::{Stream, StreamBlob};
pub use tar::TarError;
