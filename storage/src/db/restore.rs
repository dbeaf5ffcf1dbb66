//! Bringing back what a tag named: the tag, its manifest, and what was deleted with that.
//!
//! One transaction, and a change of its own in the tag's history, so that it can be undone like
//! any other. A deleted manifest is put again from the bytes that were kept: what a push checks is
//! checked here too.

use std::collections::HashSet;

use bytes::Bytes;
use oci::{Digest, Edge, EdgeKind, Manifest, RepoName, Tag};
use rusqlite::{OptionalExtension, params};

use super::column::{Text, parsed};
use super::history::Then;
use super::key::RepoId;
use super::transaction::{Reader, Transaction};
use crate::actor::Actor;
use crate::clock::BEGINNING;
use crate::error::{StorageError, Trouble};

/// What a tag is to name again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestorePoint {
    /// What it named before its last change. Twice in a row is nothing.
    LastChange,
    /// What it named before this time, in seconds since 1970.
    Before(i64),
    /// This manifest.
    Digest(Digest),
    /// This manifest, unless by now it names another.
    IfGone(Digest),
}

/// What a restoration did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the tag named before; none if it was not there.
    pub before: Option<Digest>,
    /// What it names now; none if it was not there before the change that was undone.
    pub after: Option<Digest>,
    /// The deleted manifests that are back.
    pub manifests: Vec<Digest>,
}

impl Transaction<'_> {
    /// Lets a tag name again what it named, and brings back what was deleted of that. `has_file`
    /// says whether the file of a blob is there and has this size.
    pub(crate) fn restore_tag(
        &self,
        name: &RepoName,
        tag: &Tag,
        point: RestorePoint,
        by: Option<&Actor>,
        has_file: &dyn Fn(&Digest, u64) -> Result<bool, StorageError>,
    ) -> Result<Restored, StorageError> {
        let unknown = || StorageError::NothingToUndo { repository: name.clone(), tag: tag.clone() };
        let Some(id) = self.repository_id(name)? else {
            return Err(match point {
                RestorePoint::Digest(digest) | RestorePoint::IfGone(digest) => {
                    collected(name, digest)
                }
                RestorePoint::LastChange | RestorePoint::Before(_) => unknown(),
            });
        };
        let before = self.tag_target(id, tag)?;
        let after = match point {
            RestorePoint::Digest(digest) => Some(digest),
            RestorePoint::IfGone(_) if before.is_some() => {
                return Ok(Restored { before, after: before, manifests: Vec::new() });
            }
            RestorePoint::IfGone(digest) => Some(digest),
            RestorePoint::LastChange => self.last_tag_change(id, tag)?.ok_or_else(unknown)?.before,
            RestorePoint::Before(time) => match self.tag_before(id, tag, time)? {
                Then::Named(Some(digest)) => Some(digest),
                Then::Named(None) => {
                    let (repository, tag) = (name.clone(), tag.clone());
                    return Err(StorageError::NotThereThen { repository, tag });
                }
                Then::Unknown => return Err(unknown()),
            },
        };
        let Some(digest) = after else {
            self.remove_tag_of(id, tag, by)?;
            return Ok(Restored { before, after, manifests: Vec::new() });
        };
        let manifests = put_all_again(self, id, &digest, has_file)?;
        if !self.holds_manifest(id, &digest)? {
            return Err(collected(name, digest));
        }
        self.set_tag(id, tag, &digest, by.into())?;
        Ok(Restored { before, after, manifests })
    }
}

impl Reader<'_> {
    /// Manifests of a repository that were deleted at this time or later and can come back, after
    /// `after` in the order of their digests, `limit` at most.
    pub(crate) fn deleted_since(
        &self,
        name: &RepoName,
        time: i64,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<Digest>, StorageError> {
        let Some(id) = self.repository_id(name)? else { return Ok(Vec::new()) };
        let mut statement = self.prepare_cached(
            "SELECT digest FROM deleted_manifests
             WHERE repository_id = ?1 AND digest > ?2 AND deleted_tick > ?5 AND deleted_at >= ?3
             ORDER BY digest LIMIT ?4",
        )?;
        let after = after.map(Digest::to_string).unwrap_or_default();
        let rows = statement
            .query_map(params![id, after, time, limit, BEGINNING], |row| parsed(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Transaction<'_> {
    /// Brings back a manifest that was deleted, with what was deleted with it. Returns what is
    /// back; nothing if it was not deleted.
    pub(crate) fn restore_manifest(
        &self,
        name: &RepoName,
        digest: &Digest,
        has_file: &dyn Fn(&Digest, u64) -> Result<bool, StorageError>,
    ) -> Result<Vec<Digest>, StorageError> {
        match self.repository_id(name)? {
            Some(id) => put_all_again(self, id, digest, has_file),
            None => Ok(Vec::new()),
        }
    }
}

impl Reader<'_> {
    /// Tags that went with these manifests and are not there now, `limit` at most: those that named
    /// them, and those of their signatures.
    pub(crate) fn gone_tags(
        &self,
        name: &RepoName,
        manifests: &[Digest],
        limit: usize,
    ) -> Result<Vec<Tag>, StorageError> {
        let Some(id) = self.repository_id(name)? else { return Ok(Vec::new()) };
        let mut gone: Vec<Tag> = Vec::new();
        for digest in manifests {
            if gone.len() >= limit {
                break;
            }
            gone.extend(self.tags_gone_from(id, digest, limit - gone.len())?);
            for tag in oci::signature_tags(digest) {
                let last = self.last_tag_change(id, &tag)?;
                if last.is_some_and(|change| change.after.is_none()) && gone.len() < limit {
                    gone.push(tag);
                }
            }
        }
        let mut seen = HashSet::new();
        gone.retain(|tag| seen.insert(tag.clone()));
        Ok(gone)
    }
}

fn collected(repository: &RepoName, digest: Digest) -> StorageError {
    StorageError::Collected { repository: repository.clone(), digest }
}

/// A manifest that was deleted and not collected.
struct Deleted {
    digest: Digest,
    media_type: String,
    deleted_tick: i64,
}

/// Puts again a manifest, if it was deleted, and what was deleted with it: children of what it
/// lists, and referrers that went with their subject or after it. What somebody deleted for itself
/// stays deleted, as an index may lack children. Returns what is back.
fn put_all_again(
    transaction: &Transaction<'_>,
    repository: RepoId,
    digest: &Digest,
    has_file: &dyn Fn(&Digest, u64) -> Result<bool, StorageError>,
) -> Result<Vec<Digest>, StorageError> {
    let (mut seen, mut below) = (HashSet::from([*digest]), vec![*digest]);
    let mut back = Vec::new();
    while let Some(digest) = below.pop() {
        let Some(parent) = deleted(transaction, repository, &digest)? else { continue };
        put_again(transaction, repository, &parent, has_file)?;
        back.push(digest);
        let mut next = deleted_referrers(transaction, repository, &parent)?;
        // Collection may have begun to take the edges; now all of them are there again.
        for child in transaction.named_as(repository, &digest, EdgeKind::Child)? {
            let child = deleted(transaction, repository, &child)?;
            let went_with_it = |child: &Deleted| {
                child.deleted_tick.saturating_add(TOGETHER_TICKS) >= parent.deleted_tick
            };
            next.extend(child.filter(went_with_it).map(|child| child.digest));
        }
        below.extend(next.into_iter().filter(|digest| seen.insert(*digest)));
    }
    Ok(back)
}

fn deleted(
    reader: &Reader<'_>,
    repository: RepoId,
    digest: &Digest,
) -> Result<Option<Deleted>, StorageError> {
    let mut statement = reader.prepare_cached(
        "SELECT digest, media_type, deleted_tick FROM deleted_manifests
         WHERE repository_id = ?1 AND digest = ?2",
    )?;
    let row = statement.query_row(params![repository, Text(&digest)], |row| {
        Ok(Deleted { digest: parsed(row, 0)?, media_type: row.get(1)?, deleted_tick: row.get(2)? })
    });
    Ok(row.optional()?)
}

fn deleted_referrers(
    reader: &Reader<'_>,
    repository: RepoId,
    subject: &Deleted,
) -> Result<Vec<Digest>, StorageError> {
    let mut statement = reader.prepare_cached(
        "SELECT d.digest FROM edges e
         JOIN deleted_manifests d ON d.repository_id = e.repository_id AND d.digest = e.parent
         WHERE e.repository_id = ?1 AND e.child = ?2 AND e.kind = 'subject'
           AND d.deleted_tick >= ?3",
    )?;
    let key = params![repository, Text(&subject.digest), subject.deleted_tick];
    let rows = statement.query_map(key, |row| parsed(row, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Puts a deleted manifest again: what a push checks is checked.
fn put_again(
    transaction: &Transaction<'_>,
    repository: RepoId,
    deleted: &Deleted,
    has_file: &dyn Fn(&Digest, u64) -> Result<bool, StorageError>,
) -> Result<(), StorageError> {
    let digest = deleted.digest;
    let bytes: Vec<u8> = transaction
        .prepare_cached(
            "SELECT m.bytes FROM deleted_manifests d JOIN manifests m ON m.digest = d.digest
             WHERE d.repository_id = ?1 AND d.digest = ?2",
        )?
        .query_row(params![repository, Text(&digest)], |row| row.get(0))?;
    if Digest::of(digest.algorithm(), &bytes) != digest {
        return Err(StorageError::ManifestLost { manifest: digest, lost: digest });
    }
    let damaged = |what: String| {
        StorageError::Failed(Trouble::Database(format!("{digest} was kept wrong: {what}")))
    };
    let media_type = deleted.media_type.parse().map_err(|_| damaged("its type".to_owned()))?;
    let manifest = Manifest::of_stored(Bytes::from(bytes), media_type, digest.algorithm())
        .map_err(|error| damaged(error.to_string()))?;
    // These may come out of memory, and the disk hold others.
    transaction.rewrite_manifest(&manifest)?;
    // What was deleted after it, which for foreign layers need not be there, and what an index
    // lists may be a blob.
    let is_blob = |edge: &&Edge| edge.kind != EdgeKind::Subject;
    for edge in manifest.edges().iter().filter(is_blob) {
        transaction.bring_link_back(repository, &edge.child)?;
    }
    let mut lost = Vec::new();
    for blob in manifest.required_blobs() {
        let size = transaction.sound_size(blob)?;
        if !size.map_or(Ok(false), |size| has_file(blob, size))? {
            lost.push(*blob);
        }
    }
    transaction.put_manifest_back(repository, &manifest, &lost).map_err(|error| match error {
        StorageError::MissingBlobs(blobs) => StorageError::BlobsCollected { digest, blobs },
        error => error,
    })
}

/// How long before an index its children may have been deleted and still have gone with it: clients
/// that delete all of an image do so one request after the other.
const TOGETHER_TICKS: i64 = 3600;
