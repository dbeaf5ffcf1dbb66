//! What a store knows of one manifest, and whether what it names is there.

use oci::{Digest, Reference, RepoName, Tag};
use rusqlite::{OptionalExtension, params};

use super::column::{Text, parsed};
use super::transaction::Reader;
use crate::error::StorageError;

/// A manifest of a repository without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestInfo {
    /// Its digest.
    pub digest: Digest,
    /// The type it was pushed with.
    pub media_type: String,
    /// Its bytes.
    pub size: u64,
    /// When it was pushed last, in seconds since 1970.
    pub pushed_at: i64,
    /// Whether its bytes are gone or wrong.
    pub is_lost: bool,
    /// The tags that name it, as many as are asked for.
    pub tags: Vec<Tag>,
    /// The tags under which cosign keeps what belongs to it, with what they name.
    pub signatures: Vec<(Tag, Digest)>,
}

impl Reader<'_> {
    /// Looks at a manifest; `None` if the repository does not hold it.
    pub(crate) fn manifest_info(
        &self,
        name: &RepoName,
        reference: &Reference,
        tags: usize,
    ) -> Result<Option<ManifestInfo>, StorageError> {
        let Some(id) = self.repository_id(name)? else { return Ok(None) };
        let digest = match reference {
            Reference::Digest(digest) => Some(*digest),
            Reference::Tag(tag) => self.tag_target(id, tag)?,
        };
        let Some(digest) = digest else { return Ok(None) };
        let row = self
            .prepare_cached(
                "SELECT media_type, size, pushed_at FROM repository_manifests
                 WHERE repository_id = ?1 AND digest = ?2",
            )?
            .query_row(params![id, Text(&digest)], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let Some((media_type, size, pushed_at)) = row else { return Ok(None) };
        let mut named = self.prepare_cached(
            "SELECT name FROM tags WHERE repository_id = ?1 AND digest = ?2 LIMIT ?3",
        )?;
        let named = named.query_map(params![id, Text(&digest), tags], |row| parsed(row, 0))?;
        let tags = named.collect::<Result<_, _>>()?;
        let mut signatures = Vec::new();
        for tag in oci::signature_tags(&digest) {
            let named = self.tag_target(id, &tag)?;
            signatures.extend(named.map(|digest| (tag, digest)));
        }
        let is_lost = bytes_of(self, &digest)? == HeldBytes::Lost;
        Ok(Some(ManifestInfo { digest, media_type, size, pushed_at, is_lost, tags, signatures }))
    }
}

/// The bytes of a manifest that a repository holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeldBytes {
    /// They are what the digest names.
    Right(Vec<u8>),
    /// They are gone or wrong.
    Lost,
}

impl Reader<'_> {
    /// Reads a manifest for somebody on the host who looks at what is there: unlike
    /// [`Reader::manifest`], it hides none that needs something lost. `None` if the repository does
    /// not hold it.
    pub(crate) fn held_manifest_bytes(
        &self,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<Option<HeldBytes>, StorageError> {
        let Some(id) = self.repository_id(name)? else { return Ok(None) };
        match self.holds_manifest(id, digest)? {
            true => bytes_of(self, digest).map(Some),
            false => Ok(None),
        }
    }
}

fn bytes_of(reader: &Reader<'_>, digest: &Digest) -> Result<HeldBytes, StorageError> {
    let found = reader.manifest_bytes(digest)?;
    // No verification may have come by since the bytes went wrong.
    let is_right = |bytes: &[u8]| Digest::of(digest.algorithm(), bytes) == *digest;
    Ok(match found {
        Some((bytes, false)) if is_right(&bytes) => HeldBytes::Right(bytes),
        _ => HeldBytes::Lost,
    })
}
