//! Layouts within a source, and their documents.

use std::collections::BTreeMap;

use oci::{Algorithm, Digest};

use super::Findings;
use crate::contents::{Bundle, Damage, Format};
use crate::documents::{Index, IndexEntry};
use crate::error::ScanError;
use crate::path::EntryPath;
use crate::role::LayoutDocument;

/// A layout within a source.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub(crate) has_blobs: bool,
    pub(crate) index: Option<Vec<IndexEntry>>,
    pub(crate) bundle: Option<Bundle>,
    signature: Option<Vec<u8>>,
    is_marked: bool,
    has_whole_index: bool,
    /// The digests of its documents, each of which may be there once.
    documents: BTreeMap<LayoutDocument, Digest>,
}

impl Findings {
    /// Takes a document of a layout. Within: what is wrong with it, for a sentence.
    ///
    /// # Errors
    /// [`ScanError::Twice`], [`ScanError::TooMany`].
    pub(super) fn layout_document(
        &mut self,
        path: &EntryPath,
        layout: String,
        document: LayoutDocument,
        bytes: &[u8],
    ) -> Result<Result<(), String>, ScanError> {
        self.document_bytes = self.document_bytes.saturating_add(bytes.len() as u64);
        if self.document_bytes > DOCUMENTS_BYTES {
            let limit = usize::try_from(DOCUMENTS_BYTES).unwrap_or(usize::MAX);
            return Err(ScanError::TooMany { what: "bytes of indexes", limit });
        }
        let layout = self.layout(layout)?;
        let digest = Digest::of(Algorithm::Sha256, bytes);
        if layout.documents.insert(document, digest).is_some_and(|other| other != digest) {
            return Err(ScanError::Twice { path: path.as_str().to_owned() });
        }
        let is_whole = document == LayoutDocument::HaulerIndex;
        match document {
            LayoutDocument::Mark => layout.is_marked = true,
            LayoutDocument::Index | LayoutDocument::HaulerIndex => match Index::read(bytes) {
                Ok(entries) if is_whole || !layout.has_whole_index => {
                    layout.has_whole_index = is_whole;
                    layout.index = Some(entries);
                }
                Ok(_) => {}
                Err(fault) => return Ok(Err(fault)),
            },
            LayoutDocument::Description => {
                layout.bundle = Some(Bundle { description: bytes.to_vec(), signature: None });
            }
            LayoutDocument::Signature => layout.signature = Some(bytes.to_vec()),
        }
        Ok(Ok(()))
    }

    pub(super) fn layout(&mut self, path: String) -> Result<&mut Layout, ScanError> {
        if !self.layouts.contains_key(&path) {
            self.keep(path.len())?;
        }
        Ok(self.layouts.entry(path).or_default())
    }

    /// Looks at the layouts when the source is at its end. Whether one was left.
    pub(super) fn finish_layouts(&mut self) -> bool {
        // A directory of many things may have an index.json that is none of a layout.
        self.layouts.retain(|_, layout| layout.has_blobs || layout.is_marked);
        let without = self.layouts.iter().filter(|(_, layout)| layout.index.is_none());
        let without: Vec<String> = without.map(|(path, _)| path.clone()).collect();
        without.into_iter().for_each(|layout| self.damaged(Damage::NoIndex { layout }));
        let mut is_any = false;
        for layout in self.layouts.values_mut() {
            is_any |= layout.index.is_some() || layout.is_marked;
            let format = if layout.bundle.is_some() { Format::Bundle } else { Format::Layout };
            self.formats.insert(format);
            let signature = layout.signature.take();
            if let Some(bundle) = &mut layout.bundle {
                bundle.signature = signature;
            }
        }
        is_any
    }
}

/// The longest index of a layout, and the longest description of a bundle, in bytes.
pub(super) const INDEX_BYTES: u64 = 64 << 20;
/// The most bytes of all indexes and descriptions in one tree.
const DOCUMENTS_BYTES: u64 = 2 * INDEX_BYTES;
