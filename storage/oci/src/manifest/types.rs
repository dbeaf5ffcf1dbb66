//! Which types a document may be served under: its bytes say, and no header says otherwise.

use super::document::Document;
use super::read::Rules;
use super::{ManifestError, MediaType};

/// The types that a document may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Types {
    /// The one that its `mediaType` says.
    Own(MediaType),
    /// One of these, by its fields and by the type of its config; the first if nobody says which.
    Shape(&'static [&'static str]),
    /// It says nothing, so whoever pushes it does.
    Any,
}

impl Types {
    /// What a document says.
    ///
    /// # Errors
    /// Those of a type that cannot be one of a manifest; none by the rules of what is stored.
    pub(super) fn of(document: &Document<'_>, rules: Rules) -> Result<Self, ManifestError> {
        let own = document.media_type.as_deref().filter(|own| !own.is_empty());
        match (own, rules) {
            (Some(own), Rules::Push) => {
                if let Some(known) = MediaType::known_as(own) {
                    return Err(ManifestError::LetterCase { text: own.to_owned(), known });
                }
                let own = MediaType::exactly(own)?;
                match own.is_json() || own.is_docker_schema1() {
                    true => Ok(Self::Own(own)),
                    false => Err(ManifestError::NotJsonType(own)),
                }
            }
            (Some(own), Rules::Stored) => Ok(own.parse().map_or(Self::Any, Self::Own)),
            (None, rules) => Ok(Self::of_shape(document, rules)),
        }
    }

    fn of_shape(document: &Document<'_>, rules: Rules) -> Self {
        let config = document.config.as_ref().map(|config| &*config.media_type);
        let is_image = config.is_some() || document.layers.is_some();
        match (is_image, document.manifests.is_some()) {
            (true, false) => Self::Shape(match config {
                Some(MediaType::OCI_CONFIG) => &[MediaType::OCI_MANIFEST],
                // Nobody reads it as Docker's, who must have a type of their own, but some have
                // pulled it as OCI's so far.
                Some(MediaType::DOCKER_CONFIG) if rules == Rules::Stored => {
                    &[MediaType::DOCKER_MANIFEST, MediaType::OCI_MANIFEST]
                }
                Some(MediaType::DOCKER_CONFIG) => &[MediaType::DOCKER_MANIFEST],
                // Without a type of its own it is OCI's by its specification.
                _ => &[MediaType::OCI_MANIFEST, MediaType::DOCKER_MANIFEST],
            }),
            (false, true) => Self::Shape(&[MediaType::OCI_INDEX, MediaType::DOCKER_LIST]),
            // Refused for that, whichever it is called.
            (true, true) => Self::Shape(&[
                MediaType::OCI_MANIFEST,
                MediaType::DOCKER_MANIFEST,
                MediaType::OCI_INDEX,
                MediaType::DOCKER_LIST,
            ]),
            (false, false) => Self::Any,
        }
    }

    /// The type of a push with this header, if it has one.
    ///
    /// # Errors
    /// [`ManifestError::NoMediaType`], [`ManifestError::TypeMismatch`],
    /// [`ManifestError::NotItsShape`].
    pub(super) fn of_push(&self, header: Option<MediaType>) -> Result<MediaType, ManifestError> {
        match (self, header) {
            (Self::Own(own), None) => Ok(own.clone()),
            (Self::Own(own), Some(header)) if header == *own => Ok(header),
            (Self::Own(own), Some(header)) => {
                Err(ManifestError::TypeMismatch { header, body: own.clone() })
            }
            (Self::Shape(types), None) => types[0].parse().map_err(ManifestError::MediaType),
            (Self::Shape(types), Some(header)) => match types.contains(&header.as_str()) {
                true => Ok(header),
                false => Err(ManifestError::NotItsShape { header, types }),
            },
            (Self::Any, Some(header)) => Ok(header),
            (Self::Any, None) => Err(ManifestError::NoMediaType),
        }
    }

    /// The type of what a repository keeps under `kept`, which an earlier program may have taken
    /// from a header that had nothing to do with the document.
    pub(super) fn of_stored(&self, kept: MediaType) -> MediaType {
        match self.may_be(&kept) || matches!(self, Self::Any) {
            true => kept,
            // Without a header there is nothing to contradict.
            false => self.of_push(None).unwrap_or(kept),
        }
    }

    /// Whether a document may have this type.
    pub(super) fn may_be(&self, media_type: &MediaType) -> bool {
        match self {
            Self::Own(own) => own == media_type,
            Self::Shape(types) => types.contains(&media_type.as_str()),
            Self::Any => media_type.is_json() && MediaType::known_as(media_type.as_str()).is_none(),
        }
    }
}
