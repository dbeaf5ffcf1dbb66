//! Reading the bytes of a manifest.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oci::Digest;
use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandError, Context};

/// Asks for the bytes of a manifest, whichever repository holds it or did.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadManifest {
    /// The manifest.
    pub digest: Digest,
}

impl ReadManifest {
    /// The bytes of a reply; `None` if it makes no sense.
    pub fn bytes(reply: &str) -> Option<Vec<u8>> {
        STANDARD.decode(reply).ok()
    }
}

impl Command for ReadManifest {
    /// The bytes as base64; none if they are gone or wrong.
    type Reply = Option<String>;

    const NAME: &'static str = "image-bytes";

    fn words(&self) -> &'static str {
        "export"
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<Option<String>, CommandError> {
        let bytes = context.store.kept_manifest(&self.digest)?;
        Ok(bytes.map(|bytes| STANDARD.encode(bytes)))
    }
}
