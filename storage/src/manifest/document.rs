//! The JSON shape of manifests, and the rules that tell one kind from another.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{Digest, Edge, EdgeKind, ManifestError, MediaType};

/// The fields that any manifest may have. Unknown fields are the client's business.
///
/// A field that appears twice is an error of the reader, so no two readers can disagree on it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    pub(super) schema_version: Option<i64>,
    pub(super) media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<DocumentDescriptor>,
    layers: Option<Vec<DocumentDescriptor>>,
    blobs: Option<Vec<DocumentDescriptor>>,
    manifests: Option<Vec<DocumentDescriptor>>,
    subject: Option<DocumentDescriptor>,
    annotations: Option<Box<RawValue>>,
    /// Only Docker schema 1 has it.
    fs_layers: Option<IgnoredAny>,
}

/// A descriptor (OCI image specification, descriptor.md).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DocumentDescriptor {
    pub(super) media_type: String,
    digest: String,
    /// A negative or fractional size is refused.
    pub(super) size: u64,
    #[serde(default)]
    urls: Option<Vec<String>>,
    /// Only lists for people show it, so it may be anything.
    #[serde(default)]
    pub(super) platform: Option<Box<RawValue>>,
}

impl Document {
    /// Refuses a document that another reader could take for another kind of manifest.
    pub(super) fn check_shape(&self, media_type: &MediaType) -> Result<(), ManifestError> {
        if self.fs_layers.is_some() {
            return Err(ManifestError::Schema1);
        }
        if !media_type.is_image() && !media_type.is_index() {
            return Ok(());
        }
        if self.schema_version != Some(2) {
            return Err(ManifestError::SchemaVersion);
        }
        let image_fields = [("config", self.config.is_some()), ("layers", self.layers.is_some())];
        let index_fields = [("manifests", self.manifests.is_some())];
        let (required, forbidden): (&[_], &[_]) = if media_type.is_image() {
            (&image_fields, &index_fields)
        } else {
            (&index_fields, &image_fields)
        };
        if let Some(&(field, _)) = required.iter().find(|(_, present)| !present) {
            return Err(ManifestError::MissingField { media_type: media_type.clone(), field });
        }
        if let Some(&(field, _)) = forbidden.iter().find(|(_, present)| *present) {
            return Err(ManifestError::ForbiddenField { media_type: media_type.clone(), field });
        }
        Ok(())
    }

    /// Every digest the document names, sorted and each once for each kind.
    pub(super) fn edges(&self) -> Result<Vec<Edge>, ManifestError> {
        let mut edges = Vec::new();
        self.each(|edge, _| edges.push(edge))?;
        edges.sort_unstable();
        edges.dedup();
        Ok(edges)
    }

    /// Hands over every descriptor in the document's order, with what it says.
    pub(super) fn each(
        &self,
        mut take: impl FnMut(Edge, &DocumentDescriptor),
    ) -> Result<(), ManifestError> {
        let groups: [(&'static str, EdgeKind, &[DocumentDescriptor]); 5] = [
            ("config", EdgeKind::Config, self.config.as_slice()),
            ("layers", EdgeKind::Layer, self.layers.as_deref().unwrap_or_default()),
            ("blobs", EdgeKind::Blob, self.blobs.as_deref().unwrap_or_default()),
            ("manifests", EdgeKind::Child, self.manifests.as_deref().unwrap_or_default()),
            ("subject", EdgeKind::Subject, self.subject.as_slice()),
        ];
        for (field, kind, descriptors) in groups {
            for descriptor in descriptors {
                take(descriptor.edge(field, kind)?, descriptor);
            }
        }
        Ok(())
    }

    /// The annotations as pushed, if they are what the specification calls annotations: a map from
    /// text to text.
    pub(super) fn annotations(&self) -> Option<String> {
        let text = self.annotations.as_ref()?.get();
        serde_json::from_str::<BTreeMap<String, String>>(text).is_ok().then(|| text.to_owned())
    }

    pub(super) fn artifact_type(&self) -> Option<String> {
        let own = self.artifact_type.clone().filter(|own| !own.is_empty());
        own.or_else(|| self.config.as_ref().map(|config| config.media_type.clone()))
    }
}

impl DocumentDescriptor {
    fn edge(&self, field: &'static str, kind: EdgeKind) -> Result<Edge, ManifestError> {
        let child: Digest = self.digest.parse().map_err(|error| ManifestError::Digest {
            field,
            text: self.digest.chars().take(Digest::MAX_CHARS).collect(),
            error,
        })?;
        let kind = match kind {
            EdgeKind::Layer if self.is_foreign() => EdgeKind::ForeignLayer,
            kind => kind,
        };
        Ok(Edge { kind, child })
    }

    fn is_foreign(&self) -> bool {
        let foreign_type =
            self.media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
                || self.media_type.starts_with("application/vnd.oci.image.layer.nondistributable.");
        foreign_type && self.urls.as_ref().is_some_and(|urls| !urls.is_empty())
    }
}
