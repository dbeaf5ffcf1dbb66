//! `registry-bundle.json`: whose bundle this is, which volume of it, and the sums of what it holds.

use std::collections::BTreeMap;

use oci::{Algorithm, Digest, Hasher};
use serde::{Deserialize, Serialize};

use super::error::DocumentError;
use super::layout::MAX_VOLUMES;
use super::map::unique;
use super::number::{BundleNumber, RegistryId, SignerKey};

/// What the document of a volume says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleDocument {
    /// The number of the bundle, the same in all of its volumes.
    pub bundle: BundleNumber,
    /// The registry that wrote it.
    pub registry: RegistryId,
    /// The key that it says its signature is checked with. Anybody can write one here: it tells
    /// whose signature this is meant to be, and a trusted key whether it is.
    pub key: SignerKey,
    /// When, in seconds since 1970.
    pub made: i64,
    /// Which volume this is, counted from 1.
    pub volume: u32,
    /// How many there are.
    pub volumes: u32,
    /// What [`checksum_of`] makes of the blobs of all volumes, without the manifests: these are in
    /// every bundle, and nothing relies on an older one for them.
    pub checksum: Digest,
    /// The receipts by which blobs were left out.
    pub bases: Vec<Base>,
    /// The other files of this volume, but for the document and its signature.
    pub files: BTreeMap<String, FileSum>,
    /// The manifests of this volume with their sizes.
    pub manifests: BTreeMap<Digest, u64>,
    /// The other blobs of this volume with their sizes.
    pub blobs: BTreeMap<Digest, u64>,
}

/// A receipt that a bundle relies on: what it names is not in the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// The registry that wrote it.
    pub registry: RegistryId,
    /// When, in seconds since 1970.
    pub made: i64,
    /// The sum of the receipt, as its last line has it.
    pub checksum: Digest,
    /// How many blobs were left out for it.
    pub left_out: u64,
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSum {
    /// Its bytes.
    pub size: u64,
    /// The digest of its bytes.
    pub digest: Digest,
}

impl FileSum {
    /// The sum of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { size: bytes.len() as u64, digest: Digest::of(Algorithm::Sha256, bytes) }
    }
}

impl BundleDocument {
    /// The largest document that is read, in bytes: some 700,000 blobs.
    pub const MAX_BYTES: usize = 64 * 1024 * 1024;

    /// Reads a document. Its signature is the caller's to check, over the same bytes and before.
    ///
    /// # Errors
    /// Every [`DocumentError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(DocumentError::TooLarge { most_bytes: Self::MAX_BYTES });
        }
        let malformed = |error: serde_json::Error| DocumentError::Malformed(error.to_string());
        let Version { format } = serde_json::from_slice(bytes).map_err(malformed)?;
        if format != FORMAT {
            return Err(DocumentError::Format(format));
        }
        let written: Written = serde_json::from_slice(bytes).map_err(malformed)?;
        let Written { volume, volumes, .. } = written;
        if volume == 0 || volume > volumes || volumes as usize > MAX_VOLUMES {
            return Err(DocumentError::Volume { volume, volumes });
        }
        if written.bases.len() > MOST_BASES {
            return Err(DocumentError::Bases { most: MOST_BASES });
        }
        Ok(written.into())
    }

    /// The bytes of the document.
    ///
    /// # Errors
    /// [`DocumentError::TooLarge`]: nobody would read it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DocumentError> {
        let bytes = serde_json::to_vec_pretty(&Written::from(self.clone()));
        let mut bytes = bytes.map_err(|error| DocumentError::Malformed(error.to_string()))?;
        bytes.push(b'\n');
        match bytes.len() <= Self::MAX_BYTES {
            true => Ok(bytes),
            false => Err(DocumentError::TooLarge { most_bytes: Self::MAX_BYTES }),
        }
    }
}

/// The sum of these blobs: of the line `DIGEST SIZE` for each, in the order of the digests.
pub fn checksum_of(blobs: &BTreeMap<Digest, u64>) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    blobs.iter().for_each(|(digest, size)| hasher.update(format!("{digest} {size}\n").as_bytes()));
    hasher.finish()
}

/// What every format has.
#[derive(Deserialize)]
struct Version {
    format: u64,
}

/// The document as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u64,
    bundle: BundleNumber,
    registry: RegistryId,
    key: SignerKey,
    made: i64,
    volume: u32,
    volumes: u32,
    checksum: Digest,
    bases: Vec<Base>,
    #[serde(deserialize_with = "unique")]
    files: BTreeMap<String, FileSum>,
    #[serde(deserialize_with = "unique")]
    manifests: BTreeMap<Digest, u64>,
    #[serde(deserialize_with = "unique")]
    blobs: BTreeMap<Digest, u64>,
}

impl From<Written> for BundleDocument {
    fn from(written: Written) -> Self {
        let Written { bundle, registry, key, made, volume, volumes, .. } = written;
        let Written { checksum, bases, files, manifests, blobs, .. } = written;
        Self {
            bundle,
            registry,
            key,
            made,
            volume,
            volumes,
            checksum,
            bases,
            files,
            manifests,
            blobs,
        }
    }
}

impl From<BundleDocument> for Written {
    fn from(document: BundleDocument) -> Self {
        let BundleDocument { bundle, registry, key, made, volume, volumes, .. } = document;
        let BundleDocument { checksum, bases, files, manifests, blobs, .. } = document;
        Self {
            format: FORMAT,
            bundle,
            registry,
            key,
            made,
            volume,
            volumes,
            checksum,
            bases,
            files,
            manifests,
            blobs,
        }
    }
}

/// The format that is written and read here.
const FORMAT: u64 = 1;
/// The most receipts that a bundle relies on: one is written, and each is told with the images that
/// lack something.
const MOST_BASES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> BundleDocument {
        let blobs = BTreeMap::from([(Digest::of(Algorithm::Sha512, b"a"), 1)]);
        BundleDocument {
            bundle: BundleNumber::of(7),
            registry: "0a".parse().unwrap(),
            key: format!("{}=", "k".repeat(43)).parse().unwrap(),
            made: 1_769_847_300,
            volume: 2,
            volumes: 3,
            checksum: checksum_of(&blobs),
            bases: vec![Base {
                registry: "0b".parse().unwrap(),
                made: 1,
                checksum: Digest::of(Algorithm::Sha256, b""),
                left_out: 4,
            }],
            files: BTreeMap::from([("index.json".to_owned(), FileSum::of(b"{}"))]),
            manifests: BTreeMap::from([(Digest::of(Algorithm::Sha256, b"b"), 2)]),
            blobs,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = document().to_bytes().unwrap();
        assert_eq!(BundleDocument::parse(&bytes), Ok(document()));
    }

    #[test]
    fn what_two_readers_could_take_for_two_things_is_refused() {
        let text = String::from_utf8(document().to_bytes().unwrap()).unwrap();
        let parse = |text: &str| BundleDocument::parse(text.as_bytes());
        let later = text.replacen("\"format\": 1", "\"format\": 2", 1);
        assert_eq!(parse(&later), Err(DocumentError::Format(2)));
        for volume in ["0", "4"] {
            let wrong = text.replacen("\"volume\": 2", &format!("\"volume\": {volume}"), 1);
            let volume = volume.parse().unwrap();
            assert_eq!(parse(&wrong), Err(DocumentError::Volume { volume, volumes: 3 }));
        }
        let many = text.replacen("\"volumes\": 3", "\"volumes\": 4294967295", 1);
        assert_eq!(parse(&many), Err(DocumentError::Volume { volume: 2, volumes: u32::MAX }));
        let twice = "\"blobs\": {\n    \"sha256:E\": 1,\n    \"sha256:E\": 2,";
        let empty = Digest::of(Algorithm::Sha256, b"").hex();
        let twice = text.replacen("\"blobs\": {", &twice.replace('E', &empty), 1);
        let more = text.replacen("\"made\"", "\"more\": 1, \"made\"", 1);
        for bad in [twice.as_str(), &more, "", "[]", "{\"format\": 1}", &text[..text.len() / 2]] {
            assert!(matches!(parse(bad), Err(DocumentError::Malformed(_))), "{bad}");
        }
        let base = document().bases.remove(0);
        let relying = |bases: usize| {
            let document = BundleDocument { bases: vec![base.clone(); bases], ..document() };
            BundleDocument::parse(&document.to_bytes().unwrap()).map(drop)
        };
        assert_eq!(relying(MOST_BASES), Ok(()));
        assert_eq!(relying(MOST_BASES + 1), Err(DocumentError::Bases { most: MOST_BASES }));
        let most_bytes = BundleDocument::MAX_BYTES;
        let large = vec![b' '; most_bytes + 1];
        assert_eq!(BundleDocument::parse(&large), Err(DocumentError::TooLarge { most_bytes }));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\{\"format\": ?1)?.{0,99}") {
            let _ = BundleDocument::parse(text.as_bytes());
        }
    }
}
