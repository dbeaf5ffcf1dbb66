//! What some sources hold together: images by name, what is there of them, and what is not.

use std::collections::{BTreeMap, BTreeSet};

use oci::{Digest, ManifestError, RepoName, Tag};
use thiserror::Error;

use crate::damage::Damage;
use crate::graph::Graph;

pub use crate::graph::Parts;

/// What the sources of an inventory come to.
#[derive(Debug)]
pub struct Contents {
    pub(crate) sources: Vec<SourceReport>,
    pub(crate) images: Vec<NamedImage>,
    pub(crate) blobs: BTreeMap<Digest, u64>,
    pub(crate) missing: Vec<Missing>,
    pub(crate) absent_revisions: Vec<AbsentRevision>,
    pub(crate) unusable: Vec<UnusableManifest>,
    pub(crate) ambiguous: Vec<AmbiguousName>,
    pub(crate) superseded: Vec<NamedImage>,
    pub(crate) graph: Graph,
}

impl Contents {
    /// What is to be said of each source, in the order in which they were scanned.
    pub fn sources(&self) -> &[SourceReport] {
        &self.sources
    }

    /// The images, in the order in which the sources name them. Each name stands here once.
    pub fn images(&self) -> &[NamedImage] {
        &self.images
    }

    /// Every blob and manifest that a source holds, with its size in bytes. Nothing was hashed yet
    /// but the manifests.
    pub fn blobs(&self) -> &BTreeMap<Digest, u64> {
        &self.blobs
    }

    /// What images need and no source holds: a segment or a base is missing, or it was cut out.
    /// What a sparse index leaves away is not here.
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// Revisions that a registry's tree names and no source holds. They lie in an older archive, or
    /// were left away by somebody who wanted some platforms only: nothing is broken by them alone.
    pub fn absent_revisions(&self) -> &[AbsentRevision] {
        &self.absent_revisions
    }

    /// What is named as a manifest, is there, and is none that a registry takes.
    pub fn unusable(&self) -> &[UnusableManifest] {
        &self.unusable
    }

    /// Names that stand for two images. None of them is among the images.
    pub fn ambiguous(&self) -> &[AmbiguousName] {
        &self.ambiguous
    }

    /// What a name stood for in an older archive of oc-mirror, where a newer one moved it on.
    pub fn superseded(&self) -> &[NamedImage] {
        &self.superseded
    }

    /// Whether everything is there that an image needs, so that it can be imported.
    pub fn is_whole(&self, image: &Digest) -> bool {
        self.graph.is_whole(image)
    }

    /// What an image consists of, in the order in which it can be pushed: blobs, then manifests,
    /// each behind those that it lists. Of an image that is not whole, what is there.
    pub fn parts(&self, image: &Digest) -> Parts {
        self.new_parts(image, &|_| false)
    }

    /// The same without the manifests that are known, and without what only these lead to: whoever
    /// goes through many images that list one another meets each once.
    pub fn new_parts(&self, image: &Digest, is_known: &dyn Fn(&Digest) -> bool) -> Parts {
        self.graph.parts(image, is_known)
    }
}

/// An image and what a source calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedImage {
    /// The source, by its number in [`Contents::sources`].
    pub source: usize,
    /// The repository without a host, if the source says one.
    pub repository: Option<RepoName>,
    /// The repository that the source's file gives its name to, if it can: for images that the
    /// source itself says no repository of.
    pub stem: Option<RepoName>,
    /// The tag, if the image has one.
    pub tag: Option<Tag>,
    /// The digest of its manifest.
    pub digest: Digest,
}

/// What is to be said of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceReport {
    /// The formats that were found in it, mostly one.
    pub formats: BTreeSet<Format>,
    /// What oc-mirror left of itself, if it wrote the archive.
    pub oc_mirror: Option<OcMirror>,
    /// The description of a bundle of ours and its signature, as they stand there; none if anything
    /// else in the source could name images.
    pub bundle: Option<Bundle>,
    /// What is wrong with it, though it could be read. Ends after [`SourceReport::MOST_DAMAGE`].
    pub damage: Vec<Damage>,
}

impl SourceReport {
    /// The most that is said of one source.
    pub const MOST_DAMAGE: usize = 1000;
}

/// The formats that are known, by what is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// An OCI layout, or several in one tree, as zot and olareg keep them.
    Layout,
    /// A bundle that `registry export` wrote: a layout with a signed description.
    Bundle,
    /// An archive of oc-mirror v2, or a segment of one.
    OcMirror,
    /// The tree of docker-registry: `docker/registry/v2`.
    Distribution,
    /// What `oc adm release mirror --to-dir` and `oc image mirror --dir` write.
    OcDirectory,
    /// The store of the Quay that is written in Go: `storage/sha256`, and a database beside it.
    Quay,
}

/// What oc-mirror wrote about itself into an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OcMirror {
    /// Its version; none in archives of versions that did not write it, and in what a run left that
    /// failed.
    pub version: Option<String>,
    /// When it ran, as the name of its configuration says: the last thing that it writes.
    pub time: Option<String>,
    /// Whether the configuration gives catalogs another name on the mirror (`targetCatalog`,
    /// `targetTag`), which only oc-mirror itself does.
    pub renames_catalogs: bool,
}

/// The description of a bundle of ours. Whoever trusts it checks the signature first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// The bytes of `registry-bundle.json`.
    pub description: Vec<u8>,
    /// The bytes of `registry-bundle.sig`, if it is there.
    pub signature: Option<Vec<u8>>,
    /// The SHA-256 digest of the index that names the images. The description must have it.
    pub index: Option<Digest>,
}

/// Something that images need and no source holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is missing.
    pub digest: Digest,
    /// Whether it is a manifest.
    pub is_manifest: bool,
    /// The images that it hurts, by their numbers in [`Contents::images`].
    pub images: Vec<usize>,
}

/// A revision that a registry's tree names and no source holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsentRevision {
    /// The repository that names it.
    pub repository: RepoName,
    /// The revision.
    pub digest: Digest,
    /// The images that list it, by their numbers in [`Contents::images`].
    pub images: Vec<usize>,
}

/// Something that is named as a manifest, and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableManifest {
    /// What is named.
    pub digest: Digest,
    /// Why it is no manifest.
    pub fault: ManifestFault,
    /// The images that it hurts, by their numbers in [`Contents::images`].
    pub images: Vec<usize>,
}

/// Why a blob is no manifest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ManifestFault {
    /// Its bytes are others than its digest says.
    #[error("its bytes are not those of its digest: the source is damaged")]
    Digest,
    /// It is no JSON object, or longer than manifests are.
    #[error("it is no manifest, or has more than {limit} bytes")]
    NotOne {
        /// The most bytes of a manifest.
        limit: u64,
    },
    /// The registry does not take it.
    #[error(transparent)]
    Refused(#[from] ManifestError),
}

/// A name that stands for more than one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmbiguousName {
    /// The repository, if the source says one.
    pub repository: Option<RepoName>,
    /// The repository that the source's file gives its name to.
    pub stem: Option<RepoName>,
    /// The tag.
    pub tag: Tag,
    /// The images, or some of them.
    pub digests: BTreeSet<Digest>,
}
