//! Values of a manifest that are no objects.
//!
//! What is none of them is refused in a sentence that repeats no text of the document.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Error, Expected, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// That a text stands where something else belongs. Serde's own sentence repeats the text, which
/// can have millions of characters.
pub(super) fn misplaced_text<E: Error>(expected: &dyn Expected) -> E {
    E::invalid_type(Unexpected::Other("string"), expected)
}

/// A list of texts, of which it counts only whether there are any.
pub(super) struct Urls;

impl<'de> DeserializeSeed<'de> for Urls {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Urls {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of URLs")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<bool, E> {
        Err(misplaced_text(&self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let mut is_any = false;
        while list.next_element::<Text<'de>>()?.is_some() {
            is_any = true;
        }
        Ok(is_any)
    }
}

/// What may be `null`, which is the same as absent.
pub(super) struct Nullable<S>(pub(super) S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Nullable<S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Nullable<S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("something or null")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.0.deserialize(deserializer).map(Some)
    }
}

/// A whole number. Whatever else it is, each reader refuses, or this one does.
pub(super) struct Number<T>(pub(super) T);

impl<'de, T: TryFrom<i64> + TryFrom<u64>> Deserialize<'de> for Number<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor(PhantomData))
    }
}

struct NumberVisitor<T>(PhantomData<T>);

impl<T: TryFrom<i64> + TryFrom<u64>> Visitor<'_> for NumberVisitor<T> {
    type Value = Number<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        let refused = |_| E::invalid_value(Unexpected::Signed(number), &self);
        T::try_from(number).map(Number).map_err(refused)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        let refused = |_| E::invalid_value(Unexpected::Unsigned(number), &self);
        T::try_from(number).map(Number).map_err(refused)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(misplaced_text(&self))
    }
}

/// A text, borrowed where it has no escapes.
///
/// An escape of half a character (`\ud800`) is U+FFFD, as to programs in Go: others keep it as it
/// is, or refuse it, but none takes it for anything that a name, a type or a digest could have.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::manifest) struct Text<'a>(pub(in crate::manifest) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As bytes, since as a text serde refuses it with half a character in it.
        deserializer.deserialize_bytes(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Text<'de>, E> {
        let text = std::str::from_utf8(bytes).map(Cow::Borrowed);
        Ok(Text(text.unwrap_or_else(|_| Cow::Owned(mended(bytes)))))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(mended(bytes))))
    }
}

/// What bytes say, with U+FFFD for each half of a character (three bytes, as serde has them) and
/// for each other byte that is no UTF-8.
fn mended(bytes: &[u8]) -> String {
    let (mut text, mut rest) = (String::with_capacity(bytes.len()), bytes);
    loop {
        match std::str::from_utf8(rest) {
            Ok(end) => {
                text.push_str(end);
                return text;
            }
            Err(error) => {
                let (right, wrong) = rest.split_at(error.valid_up_to());
                text.push_str(std::str::from_utf8(right).unwrap_or_default());
                text.push(char::REPLACEMENT_CHARACTER);
                let is_half = matches!(wrong, [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..]);
                rest = &wrong[if is_half { 3 } else { 1 }..];
            }
        }
    }
}

/// The next value of an object, which is a text or `null`.
pub(super) fn text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Cow<'de, str>>, A::Error> {
    Ok(map.next_value::<Option<Text<'de>>>()?.map(|text| text.0))
}

/// The next value of an object, which is a whole number or `null`.
pub(super) fn number<'de, T, A>(map: &mut A) -> Result<Option<T>, A::Error>
where
    T: TryFrom<i64> + TryFrom<u64>,
    A: MapAccess<'de>,
{
    Ok(map.next_value::<Option<Number<T>>>()?.map(|number| number.0))
}
