//! What images are called and made of: digests, names, references, media types and manifests.
//!
//! Each is parsed once, at the edge, into a type with a private field, and travels as that type
//! from there on; `serde` runs the same parsers. There is no I/O here.

mod cosign;
mod digest;
mod manifest;
mod name;
mod text;

pub use cosign::{SIGNATURE_TAG_PREFIX, signature_tags};
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use manifest::{
    Descriptor, Edge, EdgeKind, KeyedObject, Manifest, ManifestError, MediaType, MediaTypeError,
    Platform, StatedSize, WrongSize, WrongSizes, folds_onto,
};
pub use name::{
    ImageName, ImagePattern, NameError, PastedImage, PastedPattern, Reference, RepoName, Tag,
    TagPattern,
};
