//! The keys of a manifest's objects: which ones readers know, and which ones two readers would not
//! take for the same.
//!
//! Programs in Go, which most clients are, take a key for a known one whatever its letter case, and
//! of two that are the same the later one, field by field. Others compare bytes, and refuse or take
//! the first. So a key that is known but for its case, and a key that stands twice, are refused.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::hash::{BuildHasher, RandomState};

use super::ManifestError;

/// An object whose keys readers know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyedObject {
    /// The manifest itself.
    Manifest,
    /// One of its descriptors.
    Descriptor,
    /// The platform of a descriptor.
    Platform,
}

impl KeyedObject {
    /// The keys that some reader gives a meaning (OCI image specification: manifest.md,
    /// image-index.md, descriptor.md; Docker's schemas 1 and 2; the artifact manifest).
    fn known(self) -> &'static [&'static str] {
        match self {
            Self::Manifest => &[
                "schemaVersion",
                "mediaType",
                "config",
                "layers",
                "manifests",
                "subject",
                "artifactType",
                "annotations",
                "blobs",
                "fsLayers",
                "history",
            ],
            Self::Descriptor => &[
                "mediaType",
                "digest",
                "size",
                "platform",
                "annotations",
                "urls",
                "data",
                "artifactType",
            ],
            Self::Platform => {
                &["architecture", "os", "os.version", "os.features", "variant", "features"]
            }
        }
    }
}

impl fmt::Display for KeyedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manifest => "the manifest",
            Self::Descriptor => "a descriptor of the manifest",
            Self::Platform => "the platform of a descriptor",
        })
    }
}

/// The keys of one object, in the order in which they come.
pub(super) struct Keys {
    place: KeyedObject,
    /// A bit for each known key that came.
    known: u16,
    unknown: Option<Unknown>,
}

impl Keys {
    /// Of an object that has had no key.
    pub(super) fn of(place: KeyedObject) -> Self {
        Self { place, known: 0, unknown: None }
    }

    /// Takes the next key, and says which known one it is, if any.
    ///
    /// # Errors
    /// [`ManifestError::KeyFolds`], [`ManifestError::KeyTwice`].
    pub(super) fn take(&mut self, key: &str) -> Result<Option<&'static str>, ManifestError> {
        let known = self.place.known();
        if let Some(position) = known.iter().position(|name| *name == key) {
            let bit = 1 << position;
            let is_new = self.known & bit == 0;
            self.known |= bit;
            return if is_new { Ok(Some(known[position])) } else { Err(self.twice(key)) };
        }
        if let Some(known) = known.iter().find(|name| folds_onto(key, name)) {
            return Err(ManifestError::KeyFolds { place: self.place, key: short(key), known });
        }
        match self.unknown.get_or_insert_with(Unknown::default).insert(key) {
            true => Ok(None),
            false => Err(self.twice(key)),
        }
    }

    /// What a reader makes of the next key that minds neither case nor repetition.
    pub(super) fn known(&self, key: &str) -> Option<&'static str> {
        self.place.known().iter().copied().find(|name| *name == key)
    }

    fn twice(&self, key: &str) -> ManifestError {
        ManifestError::KeyTwice { place: self.place, key: short(key) }
    }
}

/// Keys that nobody knows. A manifest may have hundreds of thousands, so of each only a hash under
/// a key of this process is kept: of a million, two are taken for the same once in ten million
/// manifests.
#[derive(Default)]
struct Unknown {
    state: RandomState,
    hashes: HashSet<u64>,
}

impl Unknown {
    fn insert(&mut self, key: &str) -> bool {
        self.hashes.insert(self.state.hash_one(key))
    }
}

/// Whether Go's encoding/json takes `key` for `name`, which is ASCII: by simple case folding, which
/// besides the other case knows two more characters that fold onto ASCII.
pub fn folds_onto(key: &str, name: &str) -> bool {
    let fold = |c: char| match c {
        '\u{017f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(name.chars().map(fold))
}

/// A text of the document, for a sentence about it.
pub(super) fn short(text: &str) -> String {
    text.chars().take(TEXT_CHARS).collect()
}

/// The same of what is said of the document. Whatever is beyond it is not even put together.
pub(super) fn bounded(said: impl fmt::Display) -> String {
    let mut start = Start { text: String::new(), room: TEXT_CHARS };
    // It ends with an error where there is no more room.
    let _ = write!(start, "{said}");
    start.text
}

/// The start of a text.
struct Start {
    text: String,
    /// How many characters more it may have.
    room: usize,
}

impl fmt::Write for Start {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let before = self.text.len();
        self.text.extend(more.chars().take(self.room));
        let taken = &self.text[before..];
        self.room -= taken.chars().count();
        if taken.len() == more.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Characters of the document that a sentence repeats, at most: a key could have 4 MiB.
const TEXT_CHARS: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(place: KeyedObject, keys: &[&str]) -> Result<(), ManifestError> {
        let mut of = Keys::of(place);
        keys.iter().try_for_each(|key| of.take(key).map(drop))
    }

    #[test]
    fn keys_that_readers_take_differently_are_refused() {
        for (place, key, known) in [
            (KeyedObject::Manifest, "Layers", "layers"),
            (KeyedObject::Manifest, "layer\u{017f}", "layers"),
            (KeyedObject::Manifest, "SCHEMAVER\u{017f}ION", "schemaVersion"),
            (KeyedObject::Manifest, "FSLayers", "fsLayers"),
            (KeyedObject::Descriptor, "\u{017f}IZE", "size"),
            (KeyedObject::Descriptor, "mediatype", "mediaType"),
            (KeyedObject::Platform, "OS.Version", "os.version"),
        ] {
            let folds = ManifestError::KeyFolds { place, key: key.to_owned(), known };
            // Alone, before the known one, and after it.
            for keys in [&[key][..], &[key, known], &[known, key]] {
                assert_eq!(taken(place, keys), Err(folds.clone()), "{keys:?}");
            }
        }
        for (place, key) in [
            (KeyedObject::Manifest, "config"),
            (KeyedObject::Manifest, "org.example"),
            (KeyedObject::Descriptor, "urls"),
            (KeyedObject::Platform, "variant"),
        ] {
            let twice = ManifestError::KeyTwice { place, key: key.to_owned() };
            assert_eq!(taken(place, &[key, "x", key]), Err(twice));
        }
    }

    #[test]
    fn keys_that_nobody_knows_may_be_anything_once() {
        let keys = ["a", "A", "\u{017f}", "s", "", "layers ", "layer", "\u{ff4c}ayers", "Size"];
        assert_eq!(taken(KeyedObject::Manifest, &keys), Ok(()));
        assert_eq!(taken(KeyedObject::Platform, &["Digest", "digest", "mediatype"]), Ok(()));
    }
}
