//! The documents of one volume.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use oci::{Digest, ImageName};
use serde::Serialize;

use super::document::{BundleDocument, FileSum};
use super::error::DocumentError;
use super::layout::{Blob, CONTENTS, DOCUMENT, INDEX, LAYOUT, SIGNATURE, SIGNATURE_BYTES};

/// An image as a layout names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedManifest {
    /// What it is called.
    pub name: ImageName,
    /// The type of its manifest.
    pub media_type: String,
    /// Its manifest.
    pub manifest: Blob,
}

/// A volume that nobody has signed yet.
#[derive(Debug)]
pub struct Draft {
    document: Vec<u8>,
    files: Vec<(&'static str, Vec<u8>)>,
    blobs: Vec<Blob>,
}

/// A volume that can be written.
#[derive(Debug)]
pub struct Volume {
    files: Vec<(&'static str, Vec<u8>)>,
    blobs: Vec<Blob>,
}

impl Draft {
    /// Makes the documents of a volume, some of whose blobs are `manifests`. `about` has what all
    /// volumes have, and its number; its files and blobs are filled in here. `made` is when it was
    /// made, for people.
    ///
    /// # Errors
    /// [`DocumentError::TooLarge`], [`DocumentError::IndexTooLarge`].
    pub fn new(
        about: BundleDocument,
        made: &str,
        blobs: &[Blob],
        manifests: &HashSet<Digest>,
        images: &[NamedManifest],
    ) -> Result<Self, DocumentError> {
        let malformed = |error: serde_json::Error| DocumentError::Malformed(error.to_string());
        let index = serde_json::to_vec_pretty(&Index::of(images)).map_err(malformed)?;
        if index.len() > MAX_INDEX_BYTES {
            return Err(DocumentError::IndexTooLarge { most_bytes: MAX_INDEX_BYTES });
        }
        let contents = contents(&about, made, blobs, images).into_bytes();
        let files = vec![(LAYOUT, OCI_LAYOUT.to_vec()), (INDEX, index), (CONTENTS, contents)];
        let sums = files.iter().map(|(name, bytes)| ((*name).to_owned(), FileSum::of(bytes)));
        let sums: BTreeMap<String, FileSum> = sums.collect();
        let (mut others, mut sizes) = (BTreeMap::new(), BTreeMap::new());
        for Blob { digest, size } in blobs {
            let kind = if manifests.contains(digest) { &mut sizes } else { &mut others };
            kind.insert(*digest, *size);
        }
        let document = BundleDocument { files: sums, manifests: sizes, blobs: others, ..about };
        let document = document.to_bytes()?;
        Ok(Self { document, files, blobs: blobs.to_vec() })
    }

    /// What is to be signed.
    pub fn document(&self) -> &[u8] {
        &self.document
    }

    /// The volume with its signature.
    pub fn signed(self, signature: [u8; SIGNATURE_BYTES]) -> Volume {
        let mut files = vec![(SIGNATURE, signature.to_vec()), (DOCUMENT, self.document)];
        files.extend(self.files);
        Volume { files, blobs: self.blobs }
    }
}

impl Volume {
    /// Its small files in the order in which whoever reads a stream wants them.
    pub fn files(&self) -> &[(&'static str, Vec<u8>)] {
        &self.files
    }

    /// Its blobs, in their order.
    pub fn blobs(&self) -> &[Blob] {
        &self.blobs
    }
}

/// `index.json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u32,
    media_type: &'static str,
    manifests: Vec<IndexEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IndexEntry<'a> {
    media_type: &'a str,
    digest: Digest,
    size: u64,
    annotations: BTreeMap<&'static str, String>,
}

impl<'a> Index<'a> {
    fn of(images: &'a [NamedManifest]) -> Self {
        let entry = |image: &'a NamedManifest| IndexEntry {
            media_type: &image.media_type,
            digest: image.manifest.digest,
            size: image.manifest.size,
            annotations: BTreeMap::from([(NAME_ANNOTATION, image.name.to_string())]),
        };
        let manifests = images.iter().map(entry).collect();
        Self { schema_version: 2, media_type: INDEX_TYPE, manifests }
    }
}

/// What people read who are to let a medium in or out.
fn contents(
    about: &BundleDocument,
    made: &str,
    blobs: &[Blob],
    images: &[NamedManifest],
) -> String {
    let BundleDocument { bundle, registry, key, volume, volumes, .. } = about;
    let bytes = blobs.iter().fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
    let mut text = format!(
        "Volume {volume} of {volumes} of the bundle {bundle}\n\
         written by the registry {registry} on {made}\n\
         and signed with its key {key}\n\n\
         It is an image layout of the OCI. {DOCUMENT} has the sum of every file in it, and\n\
         {SIGNATURE} the registry's signature over that.\n\n\
         Blobs: {}\nBytes: {bytes}\n",
        blobs.len()
    );
    for base in &about.bases {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "Left out: {}, which the registry {} has by its receipt {}",
            base.left_out, base.registry, base.checksum
        );
    }
    let _ = writeln!(text, "\nImages that are whole with this volume: {}", images.len());
    for image in images {
        let NamedManifest { name, manifest, .. } = image;
        let _ = writeln!(text, "{name}  {}", manifest.digest);
    }
    text
}

/// What `oci-layout` says.
const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// The type of `index.json`.
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// What an image is called in `index.json`.
const NAME_ANNOTATION: &str = "org.opencontainers.image.ref.name";
/// The largest `index.json`, in bytes: whoever takes a bundle reads no larger one.
const MAX_INDEX_BYTES: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use oci::Algorithm;

    use super::super::number::BundleNumber;
    use super::*;

    #[test]
    fn people_and_programs_are_told_no_more_than_is_read() {
        let manifest = Blob { digest: Digest::of(Algorithm::Sha256, b"a"), size: 1 };
        let name = format!("{}:1", "a".repeat(255)).parse().unwrap();
        let image = NamedManifest { name, media_type: INDEX_TYPE.to_owned(), manifest };
        let about = BundleDocument {
            bundle: BundleNumber::of(1),
            registry: "0a".parse().unwrap(),
            key: format!("{}=", "k".repeat(43)).parse().unwrap(),
            made: 0,
            volume: 1,
            volumes: 1,
            checksum: manifest.digest,
            bases: Vec::new(),
            files: BTreeMap::new(),
            manifests: BTreeMap::new(),
            blobs: BTreeMap::new(),
        };
        let manifests = HashSet::from([manifest.digest]);
        let draft = |count| {
            let images = vec![image.clone(); count];
            Draft::new(about.clone(), "today", &[manifest], &manifests, &images)
        };
        let contents = draft(1).unwrap().files.pop().unwrap().1;
        let contents = String::from_utf8(contents).unwrap();
        assert!(contents.contains("\nBlobs: 1\nBytes: 1\n"), "{contents}");
        assert!(contents.contains("\nImages that are whole with this volume: 1\n"), "{contents}");
        let most_bytes = MAX_INDEX_BYTES;
        let found = draft(150_000).map(drop);
        assert_eq!(found, Err(DocumentError::IndexTooLarge { most_bytes }));
    }
}
