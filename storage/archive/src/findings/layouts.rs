//! Layouts within a source, and their documents.

use std::collections::BTreeMap;

use oci::{Algorithm, Digest};

use super::Findings;
use crate::contents::{Bundle, Format};
use crate::damage::Damage;
use crate::documents::{Index, IndexEntry};
use crate::error::ScanError;
use crate::path::EntryPath;
use crate::role::LayoutDocument;

/// A layout within a source.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub(crate) has_blobs: bool,
    /// Whether an index is there, though it may be none that can be read.
    pub(super) has_index: bool,
    pub(crate) index: Option<Vec<IndexEntry>>,
    pub(crate) bundle: Option<Bundle>,
    signature: Option<Vec<u8>>,
    /// Indexes that cannot be read, and why.
    faults: Vec<(String, String)>,
    is_marked: bool,
    has_whole_index: bool,
    /// The digests of its documents, each of which may be there once.
    documents: BTreeMap<LayoutDocument, Digest>,
}

impl Findings {
    /// Takes a document of a layout.
    ///
    /// # Errors
    /// [`ScanError::Twice`], [`ScanError::TooMany`].
    pub(super) fn layout_document(
        &mut self,
        path: &EntryPath,
        layout: String,
        document: LayoutDocument,
        bytes: &[u8],
    ) -> Result<(), ScanError> {
        let is_whole = document == LayoutDocument::HaulerIndex;
        let index = (is_whole || document == LayoutDocument::Index).then(|| Index::read(bytes));
        for _ in index.iter().flatten().flatten() {
            self.keep(0)?;
        }
        let layout = self.layout(layout)?;
        let digest = Digest::of(Algorithm::Sha256, bytes);
        match layout.documents.insert(document, digest) {
            Some(other) if other == digest => return Ok(()),
            Some(_) => return Err(ScanError::Twice { path: path.as_str().to_owned() }),
            None => {}
        }
        match document {
            LayoutDocument::Mark => layout.is_marked = true,
            LayoutDocument::Index | LayoutDocument::HaulerIndex => match index {
                Some(Ok(entries)) if is_whole || !layout.has_whole_index => {
                    layout.has_whole_index = is_whole;
                    layout.index = Some(entries);
                }
                Some(Err(fault)) => layout.faults.push((path.as_str().to_owned(), fault)),
                _ => {}
            },
            LayoutDocument::Description => {
                let description = bytes.to_vec();
                layout.bundle = Some(Bundle { description, ..Bundle::default() });
            }
            LayoutDocument::Signature => layout.signature = Some(bytes.to_vec()),
        }
        Ok(())
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
        let (mut is_any, mut damage) = (false, Vec::new());
        for (path, layout) in &mut self.layouts {
            if layout.index.is_none() && !layout.has_index {
                damage.push(Damage::NoIndex { layout: path.clone() });
            }
            let faults = std::mem::take(&mut layout.faults).into_iter();
            damage.extend(faults.map(|(path, fault)| Damage::Document { path, fault }));
            is_any |= layout.index.is_some() || layout.is_marked;
            let format = if layout.bundle.is_some() { Format::Bundle } else { Format::Layout };
            self.formats.insert(format);
            let (signature, index) = (
                layout.signature.take(),
                match layout.has_whole_index {
                    true => LayoutDocument::HaulerIndex,
                    false => LayoutDocument::Index,
                },
            );
            if let Some(bundle) = &mut layout.bundle {
                bundle.signature = signature;
                bundle.index = layout.documents.get(&index).copied();
            }
        }
        damage.into_iter().for_each(|damage| self.damaged(damage));
        is_any
    }
}

/// The longest index of a layout, and the longest description of a bundle, in bytes.
pub(super) const INDEX_BYTES: u64 = 64 << 20;
