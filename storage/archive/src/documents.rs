//! The small documents of the formats.

use std::fmt;

use oci::{Digest, folds_onto};
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The index of a layout, as far as it matters here.
#[derive(Debug)]
pub(crate) struct Index {
    manifests: Entries,
}

impl Index {
    /// Reads an index.
    ///
    /// # Errors
    /// What is wrong with it, for a sentence.
    pub(crate) fn read(bytes: &[u8]) -> Result<Vec<IndexEntry>, String> {
        let index: Self = serde_json::from_slice(bytes).map_err(|error| said(&error))?;
        Ok(index.manifests.0)
    }
}

/// What an index says of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) digest: Digest,
    pub(crate) annotations: Option<Annotations>,
}

/// The annotations that tools put names into.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Annotations {
    #[serde(rename = "org.opencontainers.image.ref.name")]
    pub(crate) ref_name: Option<String>,
    #[serde(rename = "io.containerd.image.name")]
    pub(crate) containerd_name: Option<String>,
    #[serde(rename = "hauler.dev/original-ref")]
    pub(crate) original_ref: Option<String>,
    /// What Hauler keeps something as.
    pub(crate) kind: Option<String>,
    /// What a signature that Hauler keeps belongs to.
    #[serde(rename = "hauler.dev/subject-digest")]
    pub(crate) subject: Option<Digest>,
}

/// Whether a document may be meant as a manifest: it says anything of it, as configurations do not,
/// or it cannot be read.
pub(crate) fn is_like_manifest(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marks {
        schema_version: Option<IgnoredAny>,
        media_type: Option<IgnoredAny>,
        layers: Option<IgnoredAny>,
        manifests: Option<IgnoredAny>,
    }
    let marks = serde_json::from_slice::<Marks>(bytes);
    !marks.is_ok_and(|Marks { schema_version, media_type, layers, manifests }| {
        [schema_version, media_type, layers, manifests].iter().all(Option::is_none)
    })
}

/// Whether this is the index of an archive of `docker save`.
pub(crate) fn is_docker_archive(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Image {
        #[serde(rename = "Config")]
        _config: IgnoredAny,
        #[serde(rename = "Layers")]
        _layers: IgnoredAny,
    }
    serde_json::from_slice::<Vec<Image>>(bytes).is_ok_and(|images| !images.is_empty())
}

/// The version in the file that oc-mirror writes.
///
/// # Errors
/// What is wrong with it, for a sentence.
pub(crate) fn oc_mirror_version(bytes: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        git_version: String,
    }
    let version: Version = serde_json::from_slice(bytes).map_err(|error| said(&error))?;
    Ok(version.git_version)
}

/// Whether a configuration of oc-mirror gives catalogs another name.
pub(crate) fn renames_catalogs(configuration: &[u8]) -> bool {
    let text = String::from_utf8_lossy(configuration);
    let key = |line: &str| line.trim_start_matches([' ', '-']).split(':').next().map(str::to_owned);
    text.lines().filter_map(key).any(|key| key == "targetCatalog" || key == "targetTag")
}

/// Reads what a link of docker-registry leads to, which is nothing but a digest.
///
/// # Errors
/// What is wrong with it, for a sentence.
pub(crate) fn link(bytes: &[u8]) -> Result<Digest, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    text.trim_end().parse().map_err(|error: oci::DigestError| error.to_string())
}

/// What is wrong with a document, without more of it than a sentence has room for.
fn said(error: &serde_json::Error) -> String {
    error.to_string().chars().take(FAULT_CHARS).collect()
}

impl<'de> Deserialize<'de> for Index {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Index;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an index, which is an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Index, A::Error> {
                let mut manifests = None;
                while let Some(key) = known_key(&mut map, &["manifests"])? {
                    match key {
                        Some(key) => once(key, &mut manifests, map.next_value()?)?,
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                let manifests = manifests.ok_or_else(|| Error::missing_field("manifests"))?;
                Ok(Index { manifests })
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl<'de> Deserialize<'de> for IndexEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = IndexEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a descriptor, which is an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<IndexEntry, A::Error> {
                let (mut digest, mut annotations) = (None, None);
                while let Some(key) = known_key(&mut map, &["digest", "annotations"])? {
                    match key {
                        Some("digest") => once("digest", &mut digest, map.next_value()?)?,
                        Some(key) => once(key, &mut annotations, map.next_value()?)?,
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                let digest = digest.ok_or_else(|| Error::missing_field("digest"))?;
                Ok(IndexEntry { digest, annotations: annotations.flatten() })
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Takes the next key of an object, and says which of the known ones it is. Programs in Go take a
/// key for a known one whatever its letter case, so such a key is refused.
fn known_key<'de, A: MapAccess<'de>>(
    map: &mut A,
    known: &[&'static str],
) -> Result<Option<Option<&'static str>>, A::Error> {
    let Some(key) = map.next_key::<String>()? else { return Ok(None) };
    match known.iter().find(|name| folds_onto(&key, name)) {
        Some(&name) if name != key => Err(Error::custom(format_args!(
            "it has the key {key:?}, which programs in Go take for {name:?}"
        ))),
        name => Ok(Some(name.copied())),
    }
}

/// Keeps the value of a key, which may stand once.
fn once<T, E: Error>(key: &'static str, kept: &mut Option<T>, value: T) -> Result<(), E> {
    match kept.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::duplicate_field(key)),
    }
}

/// A list whose length is bounded before it is read.
#[derive(Debug)]
struct Entries(Vec<IndexEntry>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MOST_IMAGES} manifests")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = list.next_element()? {
                    if entries.len() == MOST_IMAGES {
                        return Err(Error::invalid_length(MOST_IMAGES + 1, &self));
                    }
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// How much of what is wrong is told.
const FAULT_CHARS: usize = 256;
/// The most images that one layout names.
const MOST_IMAGES: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn an_index_says_names_in_annotations() {
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"digest":"{DIGEST}","size":1,"annotations":
            {{"io.containerd.image.name":"a/b:1","other":"c"}}}},{{"digest":"{DIGEST}"}}]}}"#
        );
        let read = Index::read(text.as_bytes()).unwrap();
        let name = Annotations { containerd_name: Some("a/b:1".into()), ..Annotations::default() };
        let digest: Digest = DIGEST.parse().unwrap();
        assert_eq!(
            read,
            [
                IndexEntry { digest, annotations: Some(name) },
                IndexEntry { digest, annotations: None }
            ]
        );
        for text in ["", "{}", "[]", r#"{"manifests":[{}]}"#, r#"{"manifests":[{"digest":"a"}]}"#] {
            assert!(Index::read(text.as_bytes()).is_err(), "{text}");
        }
        // Of what stands twice, some readers take the last, and Go whatever its letter case.
        for (text, key) in [
            (r#"{"manifests":[],"Manifests":[]}"#.to_owned(), "Manifests"),
            (r#"{"manifests":[],"manifests":[]}"#.to_owned(), "manifests"),
            (format!(r#"{{"manifests":[{{"digest":"{DIGEST}","DIGEST":"a"}}]}}"#), "DIGEST"),
            (format!(r#"{{"manifests":[{{"digest":"{DIGEST}","digest":"a"}}]}}"#), "digest"),
            (
                format!(r#"{{"manifests":[{{"digest":"{DIGEST}","annotationſ":1}}]}}"#),
                "annotationſ",
            ),
        ] {
            let error = Index::read(text.as_bytes()).unwrap_err();
            assert!(error.contains(key) || error.starts_with("a digest"), "{text}: {error}");
        }
        let text = format!(r#"{{"manifests":"{}"}}"#, "a".repeat(10_000));
        assert_eq!(Index::read(text.as_bytes()).unwrap_err().len(), FAULT_CHARS);
        let entry = format!(r#"{{"digest":"{DIGEST}"}}"#);
        let long = format!(r#"{{"manifests":[{}]}}"#, vec![entry; MOST_IMAGES + 1].join(","));
        assert!(Index::read(long.as_bytes()).unwrap_err().contains("at most 100000"));
    }

    #[test]
    fn other_documents_are_recognized() {
        assert!(is_docker_archive(br#"[{"Config":"a","RepoTags":null,"Layers":[]}]"#));
        assert!(is_like_manifest(br#"{"schemaVersion":1,"fsLayers":[]}"#));
        assert!(!is_like_manifest(br#"{"architecture":"a","config":{"Env":[]}}"#));
        assert!(!is_docker_archive(br#"[]"#) && !is_docker_archive(br#"{"schemaVersion":2}"#));
        assert_eq!(oc_mirror_version(br#"{"gitVersion":"v4"}"#), Ok("v4".into()));
        assert!(renames_catalogs(b"  - targetTag: v4\n") && !renames_catalogs(b"# targetTag\n"));
        assert_eq!(link(DIGEST.as_bytes()).map(|it| it.to_string()), Ok(DIGEST.into()));
        assert!(link(b"../etc").is_err());
    }
}
