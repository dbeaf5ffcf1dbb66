//! Protecting a tag, and ending that.

use oci::{ImageName, PastedImage};
use serde::{Deserialize, Serialize};

use crate::command::names::{named, tag_of};
use crate::command::{Command, CommandError, Context};

/// Protects a tag.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProtectTag {
    /// The tag.
    pub image: PastedImage,
}

/// Ends the protection of a tag.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnprotectTag {
    /// The tag.
    pub image: PastedImage,
}

/// A tag is as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    /// The tag.
    pub image: ImageName,
    /// Whether that is a change.
    pub is_change: bool,
}

impl Command for ProtectTag {
    type Reply = Protection;

    const NAME: &'static str = "tag-protect";

    fn words(&self) -> &'static str {
        "tag protect"
    }

    fn subject(&self) -> Option<String> {
        Some(self.image.to_string())
    }

    fn run(self, context: &mut Context<'_>) -> Result<Protection, CommandError> {
        let (repository, tag) = tag_of(context.store, &self.image)?;
        let is_change = context.store.protect_tag(&repository, &tag)?;
        Ok(Protection { image: named(&repository, &tag), is_change })
    }
}

impl Command for UnprotectTag {
    type Reply = Protection;

    const NAME: &'static str = "tag-unprotect";

    fn words(&self) -> &'static str {
        "tag unprotect"
    }

    fn subject(&self) -> Option<String> {
        Some(self.image.to_string())
    }

    fn run(self, context: &mut Context<'_>) -> Result<Protection, CommandError> {
        let (repository, tag) = tag_of(context.store, &self.image)?;
        let is_change = context.store.unprotect_tag(&repository, &tag)?;
        Ok(Protection { image: named(&repository, &tag), is_change })
    }
}
