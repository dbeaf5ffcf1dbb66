//! The JSON shape of manifests, and the rules that tell one kind from another.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::read::value::Text;
use super::{Digest, Edge, EdgeKind, ManifestError, MediaType, StatedSize};

/// The fields that any manifest may have. A field that is `null` is one that is absent.
#[derive(Default)]
pub(super) struct Document<'a> {
    pub(super) schema_version: Option<i64>,
    pub(super) media_type: Option<Cow<'a, str>>,
    pub(super) artifact_type: Option<Cow<'a, str>>,
    pub(super) config: Option<DocumentDescriptor<'a>>,
    pub(super) layers: Option<Vec<DocumentDescriptor<'a>>>,
    pub(super) blobs: Option<Vec<DocumentDescriptor<'a>>>,
    pub(super) manifests: Option<Vec<DocumentDescriptor<'a>>>,
    pub(super) subject: Option<DocumentDescriptor<'a>>,
    pub(super) annotations: Option<&'a RawValue>,
    /// Whether it has what only Docker schema 1 has.
    pub(super) has_fs_layers: bool,
}

/// A descriptor (OCI image specification, descriptor.md).
pub(super) struct DocumentDescriptor<'a> {
    pub(super) media_type: Cow<'a, str>,
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Whether it says where else the content is.
    pub(super) has_urls: bool,
    /// Only lists for people show it, so it may be anything.
    pub(super) platform: Option<&'a RawValue>,
}

impl<'a> Document<'a> {
    /// Refuses a document that another reader could take for another kind of manifest.
    ///
    /// Layers and manifests may be absent, as docker-registry and containers/image have it: then
    /// there are none.
    pub(super) fn check_shape(&self, media_type: &MediaType) -> Result<(), ManifestError> {
        if !media_type.is_image() && !media_type.is_index() {
            return Ok(());
        }
        if self.schema_version != Some(2) {
            return Err(ManifestError::SchemaVersion);
        }
        let has_config = self.config.is_some();
        let forbidden: &[_] = match media_type.is_image() {
            true if !has_config => {
                let media_type = media_type.clone();
                return Err(ManifestError::MissingField { media_type, field: "config" });
            }
            true => &[("manifests", self.manifests.is_some())],
            false => &[("config", has_config), ("layers", self.layers.is_some())],
        };
        match forbidden.iter().find(|(_, is_present)| *is_present) {
            Some(&(field, _)) => {
                Err(ManifestError::ForbiddenField { media_type: media_type.clone(), field })
            }
            None => Ok(()),
        }
    }

    /// Whether a reader could take the document for something else than Docker schema 1.
    pub(super) fn could_be_other_than_schema1(&self) -> bool {
        let own = self.media_type.as_deref().filter(|own| !own.is_empty());
        let own = own.map(str::parse::<MediaType>);
        own.is_some_and(|own| !own.is_ok_and(|own| own.is_docker_schema1()))
            || self.config.is_some()
            || self.layers.is_some()
            || self.manifests.is_some()
    }

    /// Every digest the document names, sorted and each once for each kind.
    pub(super) fn edges(&self) -> Vec<Edge> {
        let mut edges: Vec<Edge> = self.descriptors().map(|(edge, _)| edge).collect();
        edges.sort_unstable();
        edges.dedup();
        edges
    }

    /// Every size the document says, sorted and each once for each digest.
    pub(super) fn sizes(&self) -> Vec<StatedSize> {
        let size = |(edge, descriptor): (Edge, &DocumentDescriptor<'_>)| StatedSize {
            child: edge.child,
            size: descriptor.size,
        };
        let mut sizes: Vec<StatedSize> = self.descriptors().map(size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Every descriptor, in the order of the fields and in each in the document's.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = (Edge, &DocumentDescriptor<'a>)> {
        let groups: [(EdgeKind, &[DocumentDescriptor<'a>]); 5] = [
            (EdgeKind::Config, self.config.as_slice()),
            (EdgeKind::Layer, self.layers.as_deref().unwrap_or_default()),
            (EdgeKind::Blob, self.blobs.as_deref().unwrap_or_default()),
            (EdgeKind::Child, self.manifests.as_deref().unwrap_or_default()),
            (EdgeKind::Subject, self.subject.as_slice()),
        ];
        groups.into_iter().flat_map(|(kind, descriptors)| {
            descriptors.iter().map(move |descriptor| (descriptor.edge(kind), descriptor))
        })
    }

    /// The annotations as pushed, if they are what the specification calls annotations: a map from
    /// text to text. Else those of them that are texts, as programs in Go read them: `null` is an
    /// empty one.
    pub(super) fn annotations(&self) -> Option<String> {
        let text = self.annotations?.get();
        if serde_json::from_str::<BTreeMap<String, String>>(text).is_ok() {
            return Some(text.to_owned());
        }
        let all = serde_json::from_str::<BTreeMap<Text<'_>, &RawValue>>(text).ok()?;
        let texts = all.iter().filter_map(|(name, value)| {
            let value = serde_json::from_str::<Option<Text<'_>>>(value.get()).ok()?;
            Some((&*name.0, value.map(|text| text.0.into_owned()).unwrap_or_default()))
        });
        let texts: BTreeMap<&str, String> = texts.collect();
        if texts.is_empty() { None } else { serde_json::to_string(&texts).ok() }
    }

    pub(super) fn artifact_type(&self) -> Option<String> {
        let own = self.artifact_type.as_ref().filter(|own| !own.is_empty());
        let config = || self.config.as_ref().map(|config| &config.media_type);
        own.or_else(config).filter(|text| !text.is_empty()).map(|text| text.clone().into_owned())
    }
}

impl DocumentDescriptor<'_> {
    fn edge(&self, kind: EdgeKind) -> Edge {
        let kind = match kind {
            EdgeKind::Layer if self.is_foreign() => EdgeKind::ForeignLayer,
            kind => kind,
        };
        Edge { kind, child: self.digest }
    }

    fn is_foreign(&self) -> bool {
        let foreign_type =
            self.media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
                || self.media_type.starts_with("application/vnd.oci.image.layer.nondistributable.");
        foreign_type && self.has_urls
    }
}
