//! Values that travel as their text.

/// Lets types travel through `serde` as their text: they are written with `Display`, and reading
/// runs the parser, so nothing comes in that the parser refuses.
#[macro_export]
macro_rules! travels_as_text {
    ($($type:ty),+ $(,)?) => {$(
        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text: ::std::borrow::Cow<'de, str> = ::serde::Deserialize::deserialize(from)?;
                text.parse().map_err(::serde::de::Error::custom)
            }
        }
    )+};
}

use crate::{
    Digest, ImageName, MediaType, PastedImage, PastedPattern, Reference, RepoName, Tag, TagPattern,
};

travels_as_text!(
    Digest,
    ImageName,
    MediaType,
    PastedImage,
    PastedPattern,
    Reference,
    RepoName,
    Tag,
    TagPattern
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_is_parsed() {
        let tag: Tag = "v1".parse().unwrap();
        assert_eq!(serde_json::to_string(&tag).unwrap(), "\"v1\"");
        assert_eq!(serde_json::from_str::<Tag>("\"v1\"").unwrap(), tag);
        assert_eq!(serde_json::from_str::<Tag>("\"v\\u0031\"").unwrap(), tag);
        let error = serde_json::from_str::<Tag>("\"-v\"").unwrap_err().to_string();
        assert!(error.starts_with("a tag is at most 128 letters"), "{error}");
        assert!(serde_json::from_str::<RepoName>("\"A\"").is_err());
    }
}
