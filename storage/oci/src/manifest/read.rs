//! Reading a manifest's JSON.
//!
//! Everything is read once and in place, but for the levels, which are counted by themselves: a
//! manifest of 4 MiB has tens of thousands of descriptors. What is not known is skipped without
//! recursion, however deep it is.

use std::cell::RefCell;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::document::{Document, DocumentDescriptor};
use super::keys::{KeyedObject, Keys, bounded, short};
use super::{ManifestError, MediaType, Platform};

pub(super) mod value;

use value::{Nullable, Text, Urls, misplaced_text, number, text};

/// What is asked of a document besides that it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    /// That every reader reads the same: for what is pushed.
    Push,
    /// Nothing: what was taken under older rules stays what it is.
    Stored,
}

impl<'a> Document<'a> {
    /// Reads a document in one pass, without recursion and without a copy of its texts.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub(super) fn read(bytes: &'a [u8], rules: Rules) -> Result<Self, ManifestError> {
        if rules == Rules::Push {
            if std::str::from_utf8(bytes).is_err() {
                return Err(ManifestError::NotUtf8);
            }
            // First: what is no manifest at all is told that. Nothing is kept of it, so this costs
            // little; reading would pass over what no reader takes, such as a tab within a text.
            let json = serde_json::from_slice::<IgnoredAny>(bytes);
            json.map_err(|error| ManifestError::NotJson(told(&error)))?;
            check_depth(bytes)?;
        }
        let reading = Reading { rules, refusal: RefCell::new(None) };
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let read = DocumentSeed(&reading).deserialize(&mut deserializer);
        let read = read.and_then(|document| deserializer.end().map(|()| document));
        read.map_err(|error| {
            let refusal = reading.refusal.take();
            refusal.unwrap_or_else(|| ManifestError::Unfit(told(&error)))
        })
    }
}

/// What serde says of a document, and where, without more of the document than a sentence has
/// room for.
fn told(error: &serde_json::Error) -> String {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let said = bounded(error);
    let said = said.strip_suffix(&place).unwrap_or(&said);
    format!("{said}{place}")
}

/// Reads the operating system, the architecture and the variant of a platform; none if it has none
/// of them.
pub(super) fn platform(value: &RawValue) -> Option<Platform> {
    let reading = Reading { rules: Rules::Stored, refusal: RefCell::new(None) };
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    let read = PlatformSeed(&reading).deserialize(&mut deserializer).ok()?;
    (read != Platform::default()).then_some(read)
}

/// Refuses JSON that is nested deeper than programs in Go read.
fn check_depth(bytes: &[u8]) -> Result<(), ManifestError> {
    let (mut depth, mut is_string, mut is_escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            _ if is_string => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > MOST_LEVELS {
                    return Err(ManifestError::TooDeep { limit: MOST_LEVELS });
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// One document that is being read.
struct Reading {
    rules: Rules,
    /// Why it is refused, where serde's own words would not do.
    refusal: RefCell<Option<ManifestError>>,
}

impl Reading {
    fn refuse<E: Error>(&self, refusal: ManifestError) -> E {
        self.refusal.replace(Some(refusal));
        E::custom("refused")
    }

    /// Takes the next key of an object.
    fn key<'de, A: MapAccess<'de>>(
        &self,
        keys: &mut Keys,
        map: &mut A,
    ) -> Result<Option<Option<&'static str>>, A::Error> {
        let Some(Text(key)) = map.next_key()? else { return Ok(None) };
        match self.rules {
            Rules::Push => keys.take(&key).map(Some).map_err(|refusal| self.refuse(refusal)),
            Rules::Stored => Ok(Some(keys.known(&key))),
        }
    }
}

struct DocumentSeed<'r>(&'r Reading);

impl<'de> DeserializeSeed<'de> for DocumentSeed<'_> {
    type Value = Document<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DocumentSeed<'_> {
    type Value = Document<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest, which is an object")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(misplaced_text(&self))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (reading, mut read) = (self.0, Document::default());
        let one = |field| Nullable(DescriptorSeed { reading, field });
        let list = |field| Nullable(ListSeed(DescriptorSeed { reading, field }));
        let mut keys = Keys::of(KeyedObject::Manifest);
        while let Some(key) = reading.key(&mut keys, &mut map)? {
            match key {
                Some("schemaVersion") => read.schema_version = number(&mut map)?,
                Some("mediaType") => read.media_type = text(&mut map)?,
                Some("artifactType") => read.artifact_type = text(&mut map)?,
                Some("config") => read.config = map.next_value_seed(one("config"))?.flatten(),
                Some("layers") => read.layers = map.next_value_seed(list("layers"))?,
                Some("blobs") => read.blobs = map.next_value_seed(list("blobs"))?,
                Some("manifests") => read.manifests = map.next_value_seed(list("manifests"))?,
                Some("subject") => read.subject = map.next_value_seed(one("subject"))?.flatten(),
                Some("annotations") => read.annotations = map.next_value()?,
                Some("fsLayers") => {
                    read.has_fs_layers = map.next_value::<Option<IgnoredAny>>()?.is_some();
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(read)
    }
}

#[derive(Clone, Copy)]
struct DescriptorSeed<'r> {
    reading: &'r Reading,
    /// The field of the document that it stands in.
    field: &'static str,
}

impl<'de> DeserializeSeed<'de> for DescriptorSeed<'_> {
    type Value = Option<DocumentDescriptor<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DescriptorSeed<'_> {
    /// None of a subject that names nothing, which is how some programs in Go write that there is
    /// none.
    type Value = Option<DocumentDescriptor<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a descriptor, which is an object")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(misplaced_text(&self))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self { reading, field } = self;
        let (mut media_type, mut digest, mut size) = (None, None, None::<u64>);
        let (mut has_urls, mut platform) = (false, None);
        let mut keys = Keys::of(KeyedObject::Descriptor);
        while let Some(key) = reading.key(&mut keys, &mut map)? {
            match key {
                Some("mediaType") => media_type = text(&mut map)?,
                Some("digest") => digest = text(&mut map)?,
                Some("size") => size = number(&mut map)?,
                Some("urls") => {
                    has_urls = map.next_value_seed(Nullable(Urls))?.unwrap_or(false);
                }
                Some("platform") => platform = map.next_value::<Option<&'de RawValue>>()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        // As peers read them. A size is told like any that is not the blob's.
        let (media_type, size) = (media_type.unwrap_or_default(), size.unwrap_or(0));
        let text = match digest {
            None if field == "subject" && media_type.is_empty() => return Ok(None),
            Some(text) if text.is_empty() && field == "subject" && media_type.is_empty() => {
                return Ok(None);
            }
            digest => digest.ok_or_else(|| A::Error::missing_field("digest"))?,
        };
        let digest = text.parse().map_err(|error| {
            reading.refuse(ManifestError::Digest { field, text: short(&text), error })
        })?;
        let read = DocumentDescriptor { media_type, digest, size, has_urls, platform };
        if reading.rules == Rules::Push {
            self.check(&read).map_err(|refusal| reading.refuse(refusal))?;
        }
        Ok(Some(read))
    }
}

impl DescriptorSeed<'_> {
    /// Refuses what only some readers can read, or read so.
    fn check(&self, read: &DocumentDescriptor<'_>) -> Result<(), ManifestError> {
        let reading = self.reading;
        if let Some(known) = MediaType::known_as(&read.media_type) {
            return Err(ManifestError::LetterCase { text: short(&read.media_type), known });
        }
        // Whatever is no object has no keys.
        let Some(platform) = read.platform.filter(|platform| platform.get().starts_with('{'))
        else {
            return Ok(());
        };
        let mut deserializer = serde_json::Deserializer::from_str(platform.get());
        let keys = PlatformSeed(reading).deserialize(&mut deserializer);
        keys.map(drop).map_err(|error| {
            let refusal = reading.refusal.take();
            refusal.unwrap_or_else(|| ManifestError::Unfit(told(&error)))
        })
    }
}

/// Reads a platform, and looks at its keys.
struct PlatformSeed<'r>(&'r Reading);

impl<'de> DeserializeSeed<'de> for PlatformSeed<'_> {
    type Value = Platform;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PlatformSeed<'_> {
    type Value = Platform;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a platform, which is an object")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(misplaced_text(&self))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut read, mut keys) = (Platform::default(), Keys::of(KeyedObject::Platform));
        while let Some(key) = self.0.key(&mut keys, &mut map)? {
            let place = match key {
                Some("os") => &mut read.os,
                Some("architecture") => &mut read.architecture,
                Some("variant") => &mut read.variant,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            // Only lists for people show it, so it may be anything.
            let text = serde_json::from_str::<Text<'_>>(map.next_value::<&'de RawValue>()?.get());
            *place = text.ok().map(|text| text.0.into_owned());
        }
        Ok(read)
    }
}

/// A list of descriptors.
struct ListSeed<'r>(DescriptorSeed<'r>);

impl<'de> DeserializeSeed<'de> for ListSeed<'_> {
    type Value = Vec<DocumentDescriptor<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ListSeed<'_> {
    type Value = Vec<DocumentDescriptor<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of descriptors")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(misplaced_text(&self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::new();
        while let Some(descriptor) = list.next_element_seed(self.0)? {
            read.extend(descriptor);
        }
        Ok(read)
    }
}

/// The levels of lists and objects, one in the other, that Go's encoding/json reads at most.
const MOST_LEVELS: usize = 10_000;
